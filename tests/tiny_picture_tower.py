"""A tiny random CLIP in a folder, whose picture tower can be fine-tuned, and the colours of three variates."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1},
}
RGB = torch.tensor([[31, 119, 180], [214, 39, 40], [44, 160, 44]], dtype=torch.uint8)


def write_clip(folder, seed=0):
    """A tiny random CLIP as open_clip reads it from a folder; returns the encoder's name."""
    import open_clip

    folder.mkdir()
    torch.manual_seed(seed)
    save_file(open_clip.CLIP(**TINY_CLIP).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": {}}))
    return f"open_clip:tiny/{folder}"
