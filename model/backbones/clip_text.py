"""The text tower of a CLIP of open_clip, on continuous tokens.

Its blocks are pre-norm transformer layers, so their weights go into `Transformer`: a checkpoint needs no open_clip.

* **Causal mask: dropped.** CLIP's text token is the last one, which attends to all words before it. Here, as in the
  paper, the first output is the text class token; under that mask it would attend to itself alone. The variates of a
  sample also have no order that a mask could follow. Fine-tuning has to adapt the weights to bidirectional attention.
* **Positions: dropped**, as are the vocabulary and the projection. Our tokens carry their own positions, while CLIP's
  count words of a sentence. A sequence may therefore be longer than CLIP's 77 tokens.
* **Scale.** Nothing normalises the input of the first residual stream, so tokens are multiplied by the joint standard
  deviation of CLIP's word and position embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from model.backbones.backbone import Adapted
from model.backbones.transformer import Transformer
from model.encoders import EncoderError, openclip

KIND = "clip-text"
PARTS = {"ln_1": "norm1", "attn": "self_attn", "ln_2": "norm2", "mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}


def build(spec: str, width: int, dropout: float) -> Adapted:
    """`clip-text:<arch>/<tag, file or folder>` or `clip-text:<folder with open_clip_config.json>`.

    Raises EncoderError if the weights are unavailable, or are not a plain CLIP text tower.
    """
    where = spec.partition(":")[2]
    resolved = openclip.resolve(f"{KIND}:folder/{where}" if where and Path(where).expanduser().is_dir() else spec)
    model = openclip.model(resolved)
    text = getattr(
        model, "text", model
    )  # CLIP holds the parts of its text tower itself; other classes hold it as `text`
    tower = _transformer(spec, text)
    spread = sum(float(table.detach().var()) for table in (text.token_embedding.weight, text.positional_embedding))
    return rebuild(
        {"kind": KIND, "width": width, "dropout": dropout, "scale": round(spread**0.5, 6),
         "tower": tower.architecture, "weights_digest": resolved.weights_digest}, tower
    )  # fmt: skip


def rebuild(architecture: Mapping[str, Any], tower: Transformer | None = None) -> Adapted:
    """The backbone of an architecture, around `tower` or a new one with random weights."""
    sizes = {name: value for name, value in architecture["tower"].items() if name != "kind"}
    inner = sizes["width"]
    return Adapted(
        tower or Transformer(**sizes), inner, inner, width=architecture["width"], dropout=architecture["dropout"],
        scale=architecture["scale"], architecture=architecture,
    )  # fmt: skip


def _transformer(spec: str, text: nn.Module) -> Transformer:
    blocks = getattr(getattr(text, "transformer", None), "resblocks", None)
    if not blocks or not all(_is_plain(block) for block in blocks):
        raise EncoderError(
            f"Encoder {spec}: its text tower is not made of CLIP's plain transformer blocks (attention and feed-"
            "forward, each after one layer norm). A text encoder of the transformers library is bert:<folder or id>."
        )
    first = blocks[0]
    tower = Transformer(
        first.attn.embed_dim, first.attn.num_heads, len(blocks), feed_forward=first.mlp.c_fc.out_features,
        activation=_activation(first.mlp.gelu), norm_eps=first.ln_1.eps,
    )  # fmt: skip
    for block, layer in zip(blocks, tower.layers, strict=True):
        for clip_name, name in PARTS.items():
            layer.get_submodule(name).load_state_dict(block.get_submodule(clip_name).state_dict())
    tower.norm.load_state_dict(text.get_submodule("ln_final").state_dict())
    return tower


def _is_plain(block: nn.Module) -> bool:
    return isinstance(block.attn, nn.MultiheadAttention) and isinstance(block.ls_1, nn.Identity)


def _activation(layer: nn.Module) -> str:
    if isinstance(layer, nn.GELU):
        return "gelu_tanh" if layer.approximate == "tanh" else "gelu"
    return "quick_gelu"
