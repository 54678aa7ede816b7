"""Tiny random text towers as CLIP and the transformers library save them, and sequences of tokens for a backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, HEADS, LAYERS = 16, 2, 2
TINY_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 5, "vocab_size": 32, "width": 32, "heads": 4, "layers": 2},
}
TINY_BERT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40,
    "max_position_embeddings": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def clip_folder(folder: Path, **changes: Any) -> Path:
    """A tiny random CLIP, with changes to its text tower (`embed_dim` and the like aside) and its weights."""
    import open_clip

    config = {**TINY_CLIP, "text_cfg": {**TINY_CLIP["text_cfg"], **changes.pop("text_cfg", {})}, **changes}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


def transformers_folder(folder: Path, kind: str = "bert", **changes: Any) -> Path:
    """A tiny random model of one kind of the transformers library, as save_pretrained writes it."""
    import transformers

    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(kind, **{**TINY_BERT, **changes})
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


def sequences() -> tuple[Tensor, Tensor]:
    """Random tokens [n,L,E] and which of them are empty [n,L]: none, some, and all but the first."""
    tokens = torch.randn(3, 7, WIDTH, generator=torch.Generator().manual_seed(3))
    empty = torch.zeros(3, 7, dtype=torch.bool)
    empty[1, 2:4] = True
    empty[2, 1:] = True
    return tokens, empty
