"""The text tower of a CLIP of open_clip, on continuous tokens.

Its blocks are pre-norm transformer layers, so their weights go into `Transformer`: a checkpoint needs no open_clip.

* **Causal mask: dropped.** CLIP's text token is the last one, which sees all words before it. Here the first output is
  the text class token (as the paper takes it), which under that mask would see itself alone; and the variates of a
  sample come in no order that a mask could follow. Fine-tuning has to make up for attention that now looks both ways.
* **Positions: dropped**, as are the vocabulary and the projection. Our tokens carry positions of their own, CLIP's
  count words of a sentence; so a sequence may also be longer than CLIP's 77.
* **Scale.** Nothing normalises what enters the first residual stream, so tokens are multiplied by the spread that
  CLIP's word and position embeddings have together.
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

    Raises EncoderError where the weights cannot be had, or are no plain CLIP text tower.
    """
    where = spec.partition(":")[2]
    found = openclip.resolve(f"{KIND}:folder/{where}" if where and Path(where).expanduser().is_dir() else spec)
    model = openclip.model(found)
    text = getattr(model, "text", model)  # CLIP itself keeps the parts of its text tower; the other classes name it
    tower = _transformer(spec, text)
    spread = sum(float(table.detach().var()) for table in (text.token_embedding.weight, text.positional_embedding))
    return rebuild(
        {"kind": KIND, "width": width, "dropout": dropout, "scale": round(spread**0.5, 6),
         "tower": tower.architecture, "weights_digest": found.weights_digest}, tower
    )  # fmt: skip


def rebuild(architecture: Mapping[str, Any], tower: Transformer | None = None) -> Adapted:
    """The backbone of an architecture, around `tower` or one with random weights."""
    sizes = {name: value for name, value in architecture["tower"].items() if name != "kind"}
    inner = sizes["width"]
    return Adapted(
        tower or Transformer(**sizes), inner, inner, architecture["width"], architecture["dropout"],
        architecture["scale"], architecture,
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
        for theirs, ours in PARTS.items():
            layer.get_submodule(ours).load_state_dict(block.get_submodule(theirs).state_dict())
    tower.norm.load_state_dict(text.get_submodule("ln_final").state_dict())
    return tower


def _is_plain(block: nn.Module) -> bool:
    return isinstance(block.attn, nn.MultiheadAttention) and isinstance(block.ls_1, nn.Identity)


def _activation(layer: nn.Module) -> str:
    if isinstance(layer, nn.GELU):
        return "gelu_tanh" if layer.approximate == "tanh" else "gelu"
    return "quick_gelu"
