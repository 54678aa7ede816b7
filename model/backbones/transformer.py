"""Pre-norm transformer layers: the small backbone trained from scratch, and the tower for CLIP's text weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.backbones.backbone import Backbone
from model.dropout import Dropout


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), the activation of OpenAI's CLIP."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
}


class Transformer(Backbone):
    """`layers` times x + attention(norm(x)), x + feed-forward(norm(x)), then a layer norm.

    Numbers and parameter names are those of torch's TransformerEncoder(norm_first=True), which this class can replace.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        dropout: float = 0.0,
        feed_forward: int | None = None,
        activation: str = "gelu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        feed_forward = feed_forward or 2 * width
        self.architecture = {
            "kind": "transformer", "width": width, "heads": heads, "layers": layers, "dropout": dropout,
            "feed_forward": feed_forward, "activation": activation, "norm_eps": norm_eps,
        }  # fmt: skip
        layer = nn.TransformerEncoderLayer(
            width, heads, feed_forward, dropout, ACTIVATIONS[activation], norm_eps, batch_first=True, norm_first=True
        )
        layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(dropout) for _ in range(3))
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(layers))
        self.norm = nn.LayerNorm(width, norm_eps)

    def forward(self, tokens: Tensor, empty: Tensor | None = None) -> Tensor:
        """tokens [n,L,E], empty [n,L] bool or None -> [n,L,E]."""
        for layer in self.layers:
            tokens = layer(tokens, src_key_padding_mask=empty)
        mixed: Tensor = self.norm(tokens)
        return mixed
