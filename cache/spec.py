"""Specs: the definition of a cached row. Any change of pixels or embeddings changes the spec, and so the namespace."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import xxhash

from cache.json_record import FORMAT, parse_versioned
from pipeline.style import PALETTE, RENDERER_VERSION, Style

Kind = Literal["images", "embeddings"]
SIDES: dict[str, int] = {"images": 2, "embeddings": 1}  # dimensions of one row
MOST_NUMBERS = 1 << 20  # per row, a picture of 1024 x 1024; a spec with more is invalid


@dataclass(frozen=True)
class Spec:
    """A kind of row with its shape and everything that determines its content."""

    kind: Kind
    shape: tuple[int, ...]  # of one row: (size, size) or (D,)
    content: str  # canonical JSON

    @property
    def id(self) -> str:
        """16 hex digits: the name of the namespace folder."""
        return xxhash.xxh3_64_hexdigest(self.to_json().encode())

    def to_json(self) -> str:
        """The text of spec.json; equal specs have equal bytes."""
        record = {
            "format": FORMAT,
            "kind": self.kind,
            "shape": self.shape,
            "content": json.loads(self.content),
        }
        return json.dumps(record, sort_keys=True, indent=1)

    @staticmethod
    def from_json(text: str) -> Spec:
        """Inverse of `to_json`. Raises ValueError if the text is not a spec of this format."""
        record = parse_versioned(text)
        kind, shape = record["kind"], tuple(record["shape"])
        if not all(type(side) is int and side > 0 for side in shape) or len(shape) != SIDES.get(kind):
            raise ValueError(f"{kind} of shape {shape}: not a kind of row")
        if math.prod(shape) > MOST_NUMBERS:
            raise ValueError(f"rows of shape {shape}: more than {MOST_NUMBERS} numbers")
        return Spec(kind, shape, _canonical(record["content"]))


def image_spec(style: Style) -> Spec:
    """Ink planes [size, size] uint8 of one style and renderer version."""
    content = {"style": asdict(style), "renderer_version": RENDERER_VERSION}
    return Spec("images", (style.size, style.size), _canonical(content))


def embedding_spec(style: Style, encoder: Mapping[str, Any]) -> Spec:
    """Embeddings [D] float16 of pictures in one style by one encoder (name, weights digest, preprocessing, `dim`)."""
    content = {"images": image_spec(style).id, "palette": PALETTE.tolist(), "encoder": dict(encoder)}
    return Spec("embeddings", (int(encoder["dim"]),), _canonical(content))


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)
