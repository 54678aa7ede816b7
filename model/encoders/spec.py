"""The identity of a frozen encoder, and the error that users see."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import xxhash

# Raise this when the computation from ink to input tensor changes. Old embeddings then stay in another namespace.
PREPROCESSING_VERSION = 1

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

# Replaces a path of the machine that made the embeddings in a label.
BY_PATH = "<path>"

Channels = tuple[float, float, float]


class EncoderError(Exception):
    """An encoder is not available as named. The message is one complete paragraph; entry points exit 2 with it."""


@dataclass(frozen=True)
class TunedOn:
    """Rows that a tower was trained on: the training rows of one fold, in a table with this fingerprint."""

    data: str
    split: str
    fold: str
    seed: int


@dataclass(frozen=True)
class EncoderSpec:
    """A frozen image encoder, fixed down to the bytes of its weights.

    name            the argument of `resolve` for this encoder ("auto" is replaced by the encoder it chose)
    label           the name without any folder of this machine; the digest distinguishes equal labels
    dim             D, the length of one embedding
    size            side in pixels of the tower's input; ink of another size is resized (bicubic, anti-aliased)
    mean, std       the encoder's own channel statistics, for pixels in 0..1
    weights_digest  xxh3-128, hex, of the weight file (for a folder: of its weight files and configuration)
    location        path of the weights on this machine
    reason          one line: why this encoder was chosen
    tuned_on        training rows of its tower in runs of this project, in order
    base            for a fine-tuned tower: the encoder before, whose weights are replaced in part
    """

    name: str
    label: str
    dim: int
    size: int
    mean: Channels
    std: Channels
    weights_digest: str
    precision: str = "float32"
    location: str = field(default="", compare=False, repr=False)
    reason: str = field(default="", compare=False)
    tuned_on: tuple[TunedOn, ...] = ()
    base: EncoderSpec | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, object]:
        """The cache namespace: equal on every machine for equal embeddings. Holds neither path nor reason."""
        record: dict[str, object] = {
            "name": self.label,
            "dim": self.dim,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "weights_digest": self.weights_digest,
            "precision": self.precision,
            "preprocessing": PREPROCESSING_VERSION,
        }
        return record | ({"tuned_on": [asdict(one) for one in self.tuned_on]} if self.tuned_on else {})


def channels(values: Sequence[float]) -> Channels:
    """Three numbers as a tuple, from the list of any library."""
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def file_digest(path: Path) -> str:
    """xxh3-128 of the file's bytes, hex."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def folder_digest(files: Sequence[Path]) -> str:
    """xxh3-128 over name and bytes of the files, in name order. It covers the configuration, which sets activations."""
    lines = sorted(f"{path.name} {file_digest(path)}\n" for path in files)
    return xxhash.xxh3_128_hexdigest("".join(lines).encode())


@contextmanager
def weights_of(name: str, location: str) -> Iterator[None]:
    """Raise one EncoderError in place of the exceptions of libraries for weights that do not fit."""
    from safetensors import SafetensorError

    try:
        yield
    except (RuntimeError, OSError, ValueError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        raise EncoderError(
            f"Encoder {name}: the weights at {location} cannot be loaded ({str(error).strip()[:400]}). Give weights "
            "that belong to this architecture, as safetensors or a plain state dict; pickled models are refused."
        ) from error
