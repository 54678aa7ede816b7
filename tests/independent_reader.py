"""A reader of the cache written from docs/cache-format.md alone: the test of that page.

It imports nothing of ours. A cache is a mapping of names to bytes, so that a folder and a bucket are read alike.
"""

import io
import json
import math
import re
import struct
import zipfile
from pathlib import Path

import google_crc32c
import numpy as np
import xxhash
from numcodecs import zstd
from numpy.lib import format as npy

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "cache-format.md").read_text()


class Refused(Exception):
    """A file that the page says a reader refuses; the message names it."""


NAMES = [
    r"(images|embeddings)/[0-9a-f]{16}/spec\.json",
    r"images/[0-9a-f]{16}/slabs/[0-9a-f]{32}(/[0-9a-f]{32})?/(zarr\.json|c/0/0/0|rows\.bin|commit\.json)",
    r"embeddings/[0-9a-f]{16}/slabs/[0-9a-f]{32}(/[0-9a-f]{32})?/(zarr\.json|c/0/0|rows\.bin|commit\.json)",
    r"datasets/[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{16}\.npz",
    r"history/[0-9]{8}-[0-9]{6}-[0-9a-f]{16}\.json",
    r"quarantine/.*",
]
COMMIT = {"format": int, "spec": str, "rows": int, "rows_digest": str, "data_bytes": int}
META = {"name": str, "fingerprint": str, "images": str, "embeddings": str, "variates": list, "windows": list,
        "seconds": dict}  # fmt: skip


def files_of(root):
    """Every visible file of a folder by its name, with its bytes."""
    files = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file() or p.is_symlink()):
        name = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if not path.resolve().is_relative_to(root.resolve()):
            raise Refused(f"{name}: a link that leads out of the cache")
        files[name] = path.read_bytes()
    return files


def refuse(name, **reasons):
    """Raise for the first reason that holds."""
    for reason, holds in reasons.items():
        if holds:
            raise Refused(f"{name}: {reason.replace('_', ' ')}")


def object_of(name, data):
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name}: {error}") from error
    refuse(name, not_an_object=type(record) is not dict)
    return record


def of_this_format(name, data):
    record = object_of(name, data)
    if record.get("format") != 1:
        raise Refused(f"{name}: format {record.get('format')}, this reader reads 1")
    return record


def read_spec(files, namespace):
    """The spec of `<kind>/<spec id>`."""
    name, (kind, spec_id) = f"{namespace}/spec.json", namespace.split("/")
    spec = of_this_format(name, files[name])
    shape = spec["shape"]
    refuse(name, another_kind=spec["kind"] != kind, not_a_shape=type(shape) is not list)
    refuse(
        name,
        not_a_shape=len(shape) != {"images": 2, "embeddings": 1}[kind]
        or not all(type(side) is int and side > 0 for side in shape)
        or math.prod(shape) > 1 << 20,
        another_digest=xxhash.xxh3_64_hexdigest(files[name]) != spec_id,
    )
    return spec


def read_namespace(files, namespace):
    """Slab -> (keys [n], digests [n], rows [n, *shape]) of every committed slab, each row checked; by name."""
    spec = read_spec(files, namespace)
    commits = sorted(name for name in files if re.fullmatch(rf"{namespace}/slabs/.*/commit\.json", name))
    return {name.rpartition("/")[0]: read_slab(files, name.rpartition("/")[0], spec) for name in commits}


def read_slab(files, slab, spec):
    _, spec_id, _, slab_name = slab.split("/")[:4]
    name = f"{slab}/commit.json"
    commit = of_this_format(name, files[name])
    refuse(
        name,
        other_fields={field: type(value) for field, value in commit.items()} != COMMIT,
        another_spec=commit.get("spec") != spec_id,
    )
    n = commit["rows"]
    refuse(name, not_a_size=not 1 <= n <= 1 << 20 or commit["data_bytes"] < 1)

    name = f"{slab}/rows.bin"
    table = files.get(name, b"")
    refuse(
        name,
        another_size=len(table) != 24 * n,
        another_digest=xxhash.xxh3_128_hexdigest(table) != commit["rows_digest"],
    )
    keys, digests = zip(*struct.iter_unpack("<16sQ", table), strict=True)
    refuse(name, other_keys_than_its_name_says=xxhash.xxh3_128_hexdigest(b"".join(keys)) != slab_name)

    image = spec["kind"] == "images"
    name = f"{slab}/c/0/0/0" if image else f"{slab}/c/0/0"
    data = files.get(name, b"")
    refuse(name, another_size=len(data) != commit["data_bytes"])
    raw = (chunks_of if image else vectors_of)(name, data, n, spec["shape"])
    for row, digest in zip(raw, digests, strict=True):
        refuse(name, another_row=xxhash.xxh3_64_intdigest(row) != digest)
    rows = np.frombuffer(b"".join(raw), "u1" if image else "<f2").reshape(n, *spec["shape"])
    return list(keys), list(digests), rows


def without_crc(name, data):
    body, crc = data[:-4], data[-4:]
    refuse(name, wrong_crc32c=struct.pack("<I", google_crc32c.value(body)) != crc)
    return body


def chunks_of(name, data, n, shape):
    refuse(name, no_room_for_the_index=len(data) < 16 * n + 4)
    index = without_crc(name, data[-(16 * n + 4) :])
    rows = []
    for offset, size in struct.iter_unpack("<QQ", index):
        refuse(name, chunk_outside=offset + size > len(data))
        frame = without_crc(name, data[offset : offset + size])
        refuse(name, another_content_size=content_size(frame) != math.prod(shape))
        rows.append(bytes(zstd.decompress(frame)))
    return rows


def content_size(frame):
    """As RFC 8878 lays out the header of a frame."""
    if frame[:4] != b"\x28\xb5\x2f\xfd":
        return None
    single, width = frame[4] >> 5 & 1, frame[4] >> 6
    at = 5 + (not single) + (0, 1, 2, 4)[frame[4] & 3]
    if width == 0:
        return frame[at] if single else None
    return int.from_bytes(frame[at : at + (1 << width)], "little") + (256 if width == 1 else 0)


def vectors_of(name, data, n, shape):
    width = 2 * shape[0]
    refuse(name, another_size=len(data) != n * width + 4)
    body = without_crc(name, data)
    return [body[i * width : (i + 1) * width] for i in range(n)]


def zarr_json(kind, n, shape):
    """The text of zarr.json, from the one on the page."""
    template = re.search(r'^    \{"zarr_format".*?\n\n', PAGE, re.M | re.S).group()
    size = shape[0] if kind == "images" else 0
    numbers = re.sub(r"\bn\b(?=[,\]])", str(n), re.sub(r"\bsize\b(?=[,\]])", str(size), template))
    metadata = json.loads(numbers)
    if kind == "embeddings":
        metadata["shape"] = metadata["chunk_grid"]["configuration"]["chunk_shape"] = [n, *shape]
        metadata["data_type"] = "float16"
        metadata["codecs"] = metadata["codecs"][0]["configuration"]["index_codecs"]
    return json.dumps(metadata).encode()


def read_entry(files, name):
    """meta, sample_id [N] and keys [N][V][W] of 16 bytes."""
    data = files[name]
    refuse(name, does_not_end_in_its_end_record=data[-22:-18] != b"PK\5\6")
    members = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            refuse(name, a_compressed_member=member.compress_type != 0)
            members[member.filename] = plain_array(name, archive.read(member))
    meta, sample_id, keys = (members[f"{member}.npy"] for member in ("meta", "sample_id", "keys"))
    meta = object_of(name, str(meta))
    refuse(
        name,
        other_fields={field: type(value) for field, value in meta.items()} != META,
        other_members=len(members) != 3,
    )
    refuse(
        name,
        not_its_shape=keys.dtype != np.uint8
        or keys.shape != (len(sample_id), len(meta["variates"]), len(meta["windows"]), 16),
        another_name=name
        != f"datasets/{meta['fingerprint']}-{meta['images']}-{xxhash.xxh3_64_hexdigest(keys.tobytes())}.npz",
    )
    return meta, sample_id.tolist(), [[[w.tobytes() for w in v] for v in sample] for sample in keys]


def plain_array(name, data):
    """An array of numbers or text from the bytes of a .npy of version 1.0."""
    file = io.BytesIO(data)
    refuse(name, not_version_1_of_npy=npy.read_magic(file) != (1, 0))
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    body = data[file.tell() :]
    refuse(
        name,
        holds_objects=dtype.hasobject,
        not_in_c_order=fortran,
        another_size=len(body) != math.prod(shape) * dtype.itemsize,
    )
    return np.frombuffer(body, dtype).reshape(shape)


def read_run(files, name):
    refuse(name, another_digest=not name.endswith(f"-{xxhash.xxh3_64_hexdigest(files[name])}.json"))
    return object_of(name, files[name])


def digest_of_content(files):
    records = {
        record
        for name, data in files.items()
        if name.startswith("images/") and name.endswith("/rows.bin")
        for record in struct.iter_unpack("<QQQ", data)
    }
    return xxhash.xxh3_128_hexdigest(b"".join(struct.pack("<QQQ", *record) for record in sorted(records)))


def style_digest(spec, drawer="kernel"):
    style = spec["content"]["style"]
    numbers = tuple(style[name] for name in ("renderer", "y_range", "size", "line_width", "dot_diameter", "margin"))
    text = repr((spec["content"]["renderer_version"], drawer, 16, *numbers))
    return text, xxhash.xxh3_128_digest(text.encode())


def vertices_of(values, observed, style):
    first = math.ceil(16 * style["margin"])
    last = 16 * style["size"] - first
    seen = [float(value) for value, is_seen in zip(values, observed, strict=True) if is_seen]
    low, scale, flat = 0.0, 1.0, False
    if style["y_range"] == "window" and seen:
        mean = in_order(seen) / len(seen)
        spread = math.sqrt(in_order([(value - mean) * (value - mean) for value in seen]) / len(seen))
        flat = spread <= 1e-6 * max(abs(value) for value in seen)
        low, scale = mean - 3 * spread, 0.0 if flat else 1 / (6 * spread)
    heights = [
        0.5 if flat else min(max((float(value) - low) * scale, 0.0), 1.0) for value in np.where(observed, values, 0)
    ]
    return [
        last - math.floor(height * (last - first) + 0.5) if is_seen else -32768
        for height, is_seen in zip(heights, observed, strict=True)
    ]


def in_order(numbers):
    total = 0.0
    for number in numbers:
        total += number
    return total


def message_of(vertices, digest):
    return digest + struct.pack(f"<H{len(vertices)}h", len(vertices), *vertices)


def key_of_vector(key, rgb):
    return bytes(a ^ b for a, b in zip(key, xxhash.xxh3_128_digest(bytes(rgb)), strict=True))
