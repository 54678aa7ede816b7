"""A tower fine-tuned by `train.py --finetune-vision`: an encoder of its own, named by the run that holds it.

    <run>/tower/tower.json          the encoder before fine-tuning (name and namespace record), and its training rows
    <run>/tower/moved.safetensors   every tensor in which it differs from that encoder

The digest covers both weights, so its embeddings have their own namespace and never mix with others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from model.encoders.spec import BY_PATH, EncoderError, EncoderSpec, TunedOn, file_digest, weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIX = "tuned:"
FOLDER, RECORD, WEIGHTS = "tower", "tower.json", "moved.safetensors"


def resolve(name: str, resolve_base: Callable[[str], EncoderSpec]) -> EncoderSpec:
    """`tuned:<run folder>`. Raises EncoderError, also if the encoder before fine-tuning is no longer available."""
    folder = Path(name.removeprefix(PREFIX)).expanduser() / FOLDER
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        base_name, base_record = str(record["base"]), record["encoder"]
        tuned_on = tuple(TunedOn(**one) for one in record["tuned_on"])
        digest = file_digest(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"Encoder {name}: {folder} holds no tuned tower ({error}). Name the folder of a run that has one; "
            "`python train.py --stage 1 --finetune-vision 2` makes one."
        ) from error
    here = f'If its weights have moved, write their new path under "base" in {folder / RECORD}.'
    try:
        base = resolve_base(base_name)
    except EncoderError as error:
        raise EncoderError(
            f"Encoder {name} was fine-tuned from {base_name}, which is not available: {error} {here}"
        ) from error
    if base.to_dict() != base_record:
        raise EncoderError(
            f"Encoder {name} was fine-tuned from {base_name} with weights {base_record['weights_digest']}; that name "
            f"now has the weights {base.weights_digest}. {here}"
        )
    return replace(
        base,
        name=name,
        label=f"{PREFIX}{BY_PATH} of {base.label}",
        weights_digest=xxhash.xxh3_128_hexdigest(f"{base.weights_digest} {digest}".encode()),
        location=str(folder),
        reason=f"{name} was asked for.",
        tuned_on=tuned_on,
        base=base,
    )


def put_into(net: nn.Module, spec: EncoderSpec) -> nn.Module:
    """Load the fine-tuned weights into the tower of the encoder before fine-tuning."""
    from safetensors.torch import load_file

    with weights_of(spec.name, spec.location):
        unknown = net.load_state_dict(load_file(Path(spec.location) / WEIGHTS), strict=False).unexpected_keys
        if unknown:
            raise ValueError(f"the tower has no {unknown[0]}")
    return net


def save(run: Path, base: EncoderSpec, moved: Mapping[str, Tensor], tuned_on: Sequence[TunedOn]) -> None:
    """Save the tensors that fine-tuning changed in the tower of `base` to a run folder. `base` is not tuned itself."""
    from safetensors.torch import save_file

    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    save_file(dict(moved), folder / WEIGHTS)
    record = {"base": base.name, "encoder": base.to_dict(), "tuned_on": [asdict(one) for one in tuned_on]}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
