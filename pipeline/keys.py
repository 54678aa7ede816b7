"""Keys of pictures: a 128-bit hash of exactly what the renderer draws. Equal keys mean equal pixels on any machine."""

from __future__ import annotations

from itertools import starmap
from struct import iter_unpack

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from pipeline.render import vertices
from pipeline.style import Style

KEY_DTYPE = np.dtype("V16")
_CHUNK = 1 << 16  # rows hashed at a time, which bounds the memory of their byte strings


def series_keys(values: NDArray[np.float32], observed: NDArray[np.bool_], style: Style) -> NDArray[np.void]:
    """[n] keys of 16 bytes for series with values [n,T] and observed [n,T]. Units and errors as `render.vertices`."""
    return vertex_keys(vertices(values, observed, style), style)


def vertex_keys(prepared: NDArray[np.int16], style: Style) -> NDArray[np.void]:
    """[n] keys of vertices [n,T] that `render.vertices` prepared with the same style.

    xxh3-128 over the style's digest (16 bytes), T (2 bytes) and the T vertices (2 bytes each), all little-endian.
    """
    n, steps = prepared.shape
    header = np.frombuffer(bytes.fromhex(style.digest) + steps.to_bytes(2, "little"), "<i2")
    keys = np.empty(n, KEY_DTYPE)
    for start in range(0, n, _CHUNK):
        block = prepared[start : start + _CHUNK]
        message = np.empty((len(block), len(header) + steps), "<i2")
        message[:, : len(header)] = header
        message[:, len(header) :] = block
        rows = iter_unpack(f"{message.itemsize * message.shape[1]}s", message.data)
        keys[start : start + _CHUNK] = np.frombuffer(b"".join(starmap(xxh3_128_digest, rows)), KEY_DTYPE)
    return keys


def colour_keys(keys: NDArray[np.void], rgb: NDArray[np.uint8]) -> NDArray[np.void]:
    """[n] keys of (picture, colour) from keys [n] and rgb [3] or [n,3]. They name embeddings of coloured pictures.

    A key is the picture's key xor xxh3-128 of the three bytes, so different pictures of one colour have different keys.
    """
    if rgb.dtype != np.uint8 or rgb.shape not in ((3,), (len(keys), 3)):
        raise ValueError(f"rgb is {rgb.shape} {rgb.dtype}; needed: uint8 [3] or [{len(keys)},3]")
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, which = np.unique(packed, return_inverse=True)
    digests = b"".join(xxh3_128_digest(int(colour).to_bytes(3, "big")) for colour in colours)
    mixed = _words(keys) ^ np.frombuffer(digests, np.uint64).reshape(-1, 2)[which]
    return mixed.view(KEY_DTYPE).reshape(-1)


def _words(keys: NDArray[np.void]) -> NDArray[np.uint64]:
    """Keys [n] as [n,2] uint64, byte for byte, so that xor does not depend on the byte order."""
    return np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)
