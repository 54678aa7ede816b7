"""The bytes of a slab's data file, in the layout of the Zarr v3 specification.

images      sharding codec: outer chunk (n,224,224), inner chunks (1,224,224) as zstd + crc32c, index at the end
embeddings  one chunk (n,D): little-endian float16 + crc32c, so that the rows can be memory-mapped

This module writes the bytes itself because zarr-python 3.1 takes milliseconds per chunk, and reads them itself because
its random access does too (docs/performance.md). The tests read every kind of file with zarr-python and tensorstore.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from cache.spec import Kind

DTYPE: dict[Kind, np.dtype[Any]] = {"images": np.dtype("u1"), "embeddings": np.dtype("<f2")}
ZSTD_LEVEL = 1  # 20 % faster than level 3, and no larger on plots
CRC_BYTES = 4


def data_path(kind: Kind) -> str:
    """The path at which Zarr expects the only chunk of the array."""
    return "c/0/0/0" if kind == "images" else "c/0/0"


def metadata(kind: Kind, shape: tuple[int, ...]) -> str:
    """The text of zarr.json for an array [n, *row shape]."""
    bytes_codec: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    crc: dict[str, Any] = {"name": "crc32c"}
    if kind == "images":
        compress = {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}
        sharding = {
            "chunk_shape": [1, *shape[1:]],
            "codecs": [{"name": "bytes"}, compress, crc],
            "index_codecs": [bytes_codec, crc],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    else:
        codecs = [bytes_codec, crc]
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "uint8" if kind == "images" else "float16",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": codecs,
            "attributes": {},
        }
    )


def pack(kind: Kind, rows: NDArray[Any]) -> list[bytes]:
    """The bytes of rows [n, *row shape] in the data file: one compressed chunk per row, or plain numbers."""
    rows = np.ascontiguousarray(rows, DTYPE[kind])
    if kind == "embeddings":
        return [rows.tobytes()]
    return [_with_crc(zstd.compress(row, ZSTD_LEVEL)) for row in rows]


def data_file(kind: Kind, packed: Sequence[bytes]) -> bytes:
    """The data file of all packed rows."""
    if kind == "embeddings":
        return _with_crc(b"".join(packed))
    sizes = np.array([len(chunk) for chunk in packed], np.uint64)
    offsets = np.concatenate([np.zeros(1, np.uint64), np.cumsum(sizes)[:-1]]).astype(np.uint64)
    return b"".join([*packed, _with_crc(np.stack([offsets, sizes], 1).astype("<u8").tobytes())])


class OpenShard:
    """A data file (mapped or in memory) opened for random access, without locks or threads."""

    def __init__(self, data: mmap.mmap | bytes, kind: Kind, shape: tuple[int, ...]) -> None:
        self.shape, self.kind, self._data = shape, kind, data
        if kind == "images":
            self._chunks = _shard_index(data, shape[0])
        else:
            self._rows = np.frombuffer(data, DTYPE[kind], int(np.prod(shape))).reshape(shape)

    def read(self, rows: NDArray[np.integer[Any]], out: NDArray[Any], at: NDArray[np.integer[Any]]) -> None:
        """Read row `rows[i]` into `out[at[i]]` for all i. The caller checks digests. Raises ValueError."""
        if self.kind == "embeddings":
            out[at] = self._rows[rows]
            return
        for row, i in zip(rows.tolist(), at.tolist(), strict=True):
            offset, size = self._chunks[row]
            _unpack(self._data[offset : offset + size - CRC_BYTES], out[i])

    def check(self) -> None:
        """Raise ValueError if a checksum does not match.

        Other readers rely on them; this program also has row digests.
        """
        if self.kind == "embeddings":
            _without_crc(self._data[:])
            return
        for offset, size in self._chunks:
            _without_crc(self._data[offset : offset + size])


def _shard_index(data: bytes | mmap.mmap, rows: int) -> list[list[int]]:
    raw = _without_crc(data[-(16 * rows + CRC_BYTES) :])
    index = np.frombuffer(raw, "<u8").reshape(-1, 2)
    if len(index) != rows or (index.sum(1) > len(data)).any():
        raise ValueError(f"the shard index does not describe {rows} rows")
    return index.tolist()


def _unpack(compressed: bytes, row: NDArray[Any]) -> None:
    size = _content_size(compressed)
    if size != row.nbytes:  # before decompression: this stops a decompression bomb
        raise ValueError(f"a row of {size} bytes, {row.nbytes} expected")
    zstd.decompress(compressed, row)


def _content_size(frame: bytes) -> int:
    """Decompressed size of a zstd frame in bytes (RFC 8878, 3.1.1.1).

    Raises ValueError if the frame does not hold it.
    """
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError("not a zstd frame")
    flags = frame[4]
    single_segment, dictionary = flags >> 5 & 1, (0, 1, 2, 4)[flags & 3]
    width = (single_segment, 2, 4, 8)[flags >> 6]
    at = 5 + (not single_segment) + dictionary
    if not width or len(frame) < at + width:
        raise ValueError("a zstd frame without its size")
    return int.from_bytes(frame[at : at + width], "little") + (256 if width == 2 else 0)


def _with_crc(data: bytes) -> bytes:
    return data + int(google_crc32c.value(data)).to_bytes(CRC_BYTES, "little")


def _without_crc(data: bytes) -> bytes:
    body, crc = data[:-CRC_BYTES], int.from_bytes(data[-CRC_BYTES:], "little")
    if google_crc32c.value(body) != crc:
        raise ValueError("checksum does not match")
    return body
