"""A trainable tower: ink in, embeddings with gradients out. The last blocks are trained, or the whole tower."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.encoders.backends import CPU_BATCH
from model.encoders.encoder import GPU_BATCH
from model.encoders.encoder_module import build_module, resized, tower
from model.encoders.spec import EncoderError, EncoderSpec

# Module names under which the libraries hold the blocks of a tower, in order of depth.
BLOCKS = (
    "blocks",  # timm: a ViT's blocks, or stages of blocks (EfficientNet)
    "stages",  # timm: ConvNeXt; a stage counts as one block
    "transformer.resblocks",  # open_clip's ViT
    "trunk.blocks",  # open_clip's towers from timm
    "model.vision_model.encoder.layers",  # transformers: CLIP
    "model.encoder.layers",
    "model.encoder.layer",
    "model.layers",
)


class Tower(nn.Module):
    """ink [b,V,H,W] uint8, variate v in the colour rgb[v] -> embeddings [b,V,D].

    Only the last `blocks` blocks are trained (None: the whole tower). The tower always runs in eval mode, without
    dropout and with fixed batch norms, so an embedding depends on its own picture alone. Raises EncoderError if the
    tower has fewer blocks.
    """

    rgb: Tensor

    def __init__(self, spec: EncoderSpec, rgb: Tensor, blocks: int | None) -> None:
        super().__init__()
        self.spec = spec
        self.sight = build_module(spec).to(memory_format=torch.channels_last)
        self.register_buffer("rgb", rgb, persistent=False)
        for part in [self.net] if blocks is None else last_blocks(self.net, spec, blocks):
            part.requires_grad_()
        self.eval()

    @property
    def net(self) -> nn.Module:
        """Normalised images to features."""
        return self.sight.tower

    def train(self, mode: bool = True) -> Tower:
        """Stays in eval mode, see the class."""
        return super().train(False)

    def forward(self, ink: Tensor) -> Tensor:
        """Embed in batches, so that the activations of frozen layers are those of a few pictures at a time."""
        pictures, rgb = ink.flatten(0, 1), self.rgb.float().repeat(len(ink), 1)
        size = CPU_BATCH if ink.device.type == "cpu" else GPU_BATCH
        pieces = zip(torch.split(pictures, size), torch.split(rgb, size), strict=True)
        vectors = torch.cat([self.sight(resized(plane.float(), self.spec.size), colour) for plane, colour in pieces])
        return vectors.view(*ink.shape[:2], -1)

    def moved(self, since: EncoderSpec) -> dict[str, Tensor]:
        """Every tensor in which the tower differs from that of `since`, on the CPU."""
        before = tower(since).state_dict()
        now = {name: tensor.detach().cpu() for name, tensor in self.net.state_dict().items()}
        return {name: t.clone().contiguous() for name, t in now.items() if not torch.equal(t, before[name])}


def blocks_of(net: nn.Module) -> list[nn.Module]:
    """The blocks of a tower in order of depth; empty if its library has no blocks (a ResNet)."""
    modules = dict(net.named_modules())
    container = next((modules[place] for place in BLOCKS if isinstance(modules.get(place), (nn.Sequential,
    nn.ModuleList))),
                 nn.ModuleList())  # fmt: skip
    parts = list(container.children())
    if all(isinstance(part, nn.Sequential) for part in parts):  # stages of blocks
        return [block for stage in parts for block in stage.children()]
    return parts


def last_blocks(net: nn.Module, spec: EncoderSpec, count: int) -> Sequence[nn.Module]:
    """The last `count` blocks. Raises EncoderError if the tower has fewer."""
    blocks = blocks_of(net)
    if not blocks:
        raise EncoderError(
            f"--finetune-vision {count}: the tower of {spec.name} ({type(net).__name__}) has no blocks that can be "
            "counted. Tune all of it with --finetune-vision all."
        )
    if count > len(blocks):
        raise EncoderError(
            f"--finetune-vision {count}: the tower of {spec.name} has {len(blocks)} blocks. Give at most {len(blocks)} "
            "or all."
        )
    return blocks[-count:]
