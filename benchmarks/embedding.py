"""python -m benchmarks.embedding: embedding engines on a CPU, compared with a plain float32 loop in torch."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.drawing import Row, fastest, row, seasons
from cache.fill import colours
from model.encoders import EncoderSpec, EngineName, resolve
from model.encoders.encoder import load
from model.encoders.encoder_module import EncoderModule
from pipeline.render import draw
from pipeline.style import Style

PICTURES, ROUNDS, PLAIN_BATCHES = 64, 4, (16, 64)


def measure() -> list[Row]:
    """Takes about three minutes on two cores. CLIP's shape has random weights here, as its own may be unavailable."""
    ink = draw(*seasons(PICTURES), Style())
    rgb = np.ascontiguousarray(colours((PICTURES, 1)).reshape(-1, 3))
    with tempfile.TemporaryDirectory() as folder:
        towers: list[tuple[EncoderSpec, Callable[[], torch.nn.Module]]] = [
            (resolve("efficientnet-lite0"), efficientnet_as_published),
            _vit_b_32(Path(folder)),
        ]
        return [one for spec, tower in towers for one in _rows(spec, tower().eval(), ink, rgb)]


def _rows(spec: EncoderSpec, plain: torch.nn.Module, ink: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> list[Row]:
    name = spec.label.removesuffix("/<path>")
    images = (
        EncoderModule(spec, plain).images(torch.from_numpy(ink).float(), torch.from_numpy(rgb).float()).contiguous()
    )
    reference = {size: PICTURES / fastest(partial(eager_loop, plain, images, size), ROUNDS)
                 for size in PLAIN_BATCHES}  # fmt: skip
    size = max(reference, key=lambda size: reference[size])
    expected = eager_loop(plain, images, size).numpy()
    engines: list[EngineName] = ["torch", "openvino"] if importlib.util.find_spec("openvino") else ["torch"]
    rows = []
    for engine in engines:
        encoder = load(spec, engine)
        rate = PICTURES / fastest(partial(encoder.encode, ink, rgb), ROUNDS)
        apart = float(np.abs(encoder.encode(ink, rgb).astype(np.float32) - expected).max() / np.abs(expected).max())
        label = f"embed with {name} by {engine}, {torch.get_num_threads()} threads, {apart:.0e} from the reference"
        rows.append(row(label, rate, "pictures/s", f"eager float32 torch, batches of {size}", reference[size]))
    return rows


@torch.inference_mode()
def eager_loop(tower: torch.nn.Module, images: torch.Tensor, size: int) -> torch.Tensor:
    return torch.cat([tower(batch) for batch in torch.split(images, size)])


def efficientnet_as_published() -> torch.nn.Module:
    """The network with its batch norms, as timm builds it: no folding, no channels_last."""
    import timm

    from model.encoders.efficientnet import timm_key

    net: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    places = [(s, i) for s, stage in enumerate(net.blocks) for i, _ in enumerate(stage)]
    state = torch.load(resolve("efficientnet-lite0").location, map_location="cpu", weights_only=True)
    net.load_state_dict({timm_key(key, places): value for key, value in state.items() if not key.startswith("_fc.")})
    published: torch.nn.Module = net
    return published


def _vit_b_32(folder: Path) -> tuple[EncoderSpec, Callable[[], torch.nn.Module]]:
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model: Any = open_clip.create_model("ViT-B-32")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "random.safetensors")
    return resolve(f"open_clip:ViT-B-32/{folder / 'random.safetensors'}"), lambda: model.visual


if __name__ == "__main__":
    for line in measure():
        print(line)
