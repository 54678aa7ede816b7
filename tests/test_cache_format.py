"""docs/cache-format.md is enough: a reader written from the page alone reads a cache, and the page's examples run."""

import ast
import json
import re
import shutil
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import xxhash
import zarr
from PIL import Image

from cache.__main__ import collect
from cache.catalog import entries
from cache.embeddings import embeddings
from cache.fsck import check
from cache.run_log import past_runs
from cache.spec import image_spec
from cache.storage import open_storage
from cache.store import Store, content_digest, slab_id
from pipeline.keys import colour_keys, series_keys
from pipeline.render import vertices
from pipeline.style import PALETTE, Style
from tests.cached_series import STYLE, block, fill
from tests.independent_reader import (
    COMMIT,
    NAMES,
    PAGE,
    Refused,
    digest_of_content,
    files_of,
    key_of_vector,
    message_of,
    read_entry,
    read_namespace,
    read_run,
    read_spec,
    style_digest,
    vertices_of,
    zarr_json,
)
from tests.servers import s3_server, s3_settings
from tests.written_cache import KINDS, SIZE, blocks_of, encode, namespace_of, write_cache


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A card and its cache."""
    return write_cache(tmp_path_factory.mktemp("made"))


@pytest.fixture
def whole(made, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(made / "image_cache", tmp_path / "image_cache"))


def test_the_reader_uses_nothing_of_ours():
    tree = ast.parse((Path(__file__).parent / "independent_reader.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes for alias in node.names} | {getattr(node, "module", None) for node in nodes}
    assert {"struct", "xxhash"} < names
    assert not {str(name).split(".")[0] for name in names} & {"cache", "pipeline", "model", "stages", "tests"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_written_from_the_page_reads_the_same_rows_keys_and_digests(made, kind):
    root = made / "image_cache"
    read = read_namespace(files_of(root), namespace_of(root, kind))
    store = Store.open(root, namespace_of(root, kind))
    slabs, reader = store.slabs(), store.reader()
    assert list(read) == [slab.folder for slab in slabs]
    assert len(slabs) == 2
    for number, (slab, (keys, digests, rows)) in enumerate(zip(slabs, read.values(), strict=True)):
        assert keys == slab.keys.tolist()
        assert digests == slab.digests.tolist()
        np.testing.assert_array_equal(rows, reader.read_slab(number, np.arange(slab.commit.rows)))
        np.testing.assert_array_equal(rows, reader.read(slab.keys))
        assert rows.dtype == reader.read(slab.keys).dtype


@pytest.mark.parametrize("kind", KINDS)
def test_its_ids_and_texts_are_ours(made, kind):
    root = made / "image_cache"
    files, namespace = files_of(root), namespace_of(root, kind)
    store = Store.open(root, namespace)
    assert xxhash.xxh3_64_hexdigest(files[f"{namespace}/spec.json"]) == store.spec.id
    spec = read_spec(files, namespace)
    assert files[f"{namespace}/spec.json"] == json.dumps(spec, sort_keys=True, indent=1).encode()
    assert (spec["kind"], tuple(spec["shape"])) == (store.spec.kind, store.spec.shape)
    for slab, (keys, _, rows) in read_namespace(files, namespace).items():
        assert slab.endswith(f"/{slab_id(np.array(keys, 'V16'))}")
        assert files[f"{slab}/zarr.json"] == zarr_json(kind, len(rows), spec["shape"])
        assert set(json.loads(files[f"{slab}/commit.json"])) == set(COMMIT)


def test_its_content_digest_is_ours(made, tmp_path):
    root = made / "image_cache"
    slabs = [slab for store in Store.open_all(root, "images") for slab in store.slabs()]
    assert digest_of_content(files_of(root)) == content_digest(slabs) == collect(root)["content_digest"]
    twice = [fill(tmp_path, [block(samples=n, seed=seed)])[0] for n, seed in ((8, 0), (20, 1))]
    fill(tmp_path, [block(samples=4)], slab_rows=12)
    assert digest_of_content(files_of(tmp_path)) == content_digest(twice[0].store.slabs())
    assert digest_of_content({}) == content_digest([])


def test_a_record_that_two_slabs_hold_counts_once(tmp_path):
    store = Store(tmp_path, image_spec(STYLE))
    store.create()
    keys, rows = block().keys.reshape(-1)[:5], np.zeros((5, SIZE, SIZE), np.uint8)
    store.write(keys, rows)
    store.write(keys[:3], rows[:3])
    assert len(read_namespace(files_of(tmp_path), store.namespace)) == 2
    assert digest_of_content(files_of(tmp_path)) == content_digest(store.slabs()) == content_digest(store.slabs()[:2])


def test_every_file_of_a_cache_has_a_name_that_the_page_knows(made):
    names = list(files_of(made / "image_cache"))
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern in NAMES)] == []
    assert all(any(re.fullmatch(pattern, name) for name in names) for pattern in NAMES[:-1])


def test_it_finds_the_picture_and_the_vector_of_every_series_of_an_entry(made):
    root = made / "image_cache"
    files = files_of(root)
    (name,) = (name for name in files if name.startswith("datasets/"))
    meta, samples, keys = read_entry(files, name)
    (ours,) = entries(root)
    assert (meta["name"], meta["fingerprint"], meta["seconds"]) == (ours.name, ours.fingerprint, ours.seconds)
    assert (meta["variates"], meta["windows"]) == (list(ours.variates), list(ours.windows))
    assert samples == ours.sample_id.tolist()
    assert keys == ours.keys.tolist()
    pictures, vectors = {}, {}
    for kind, found in (("images", pictures), ("embeddings", vectors)):
        for slab_keys, _, rows in read_namespace(files, f"{kind}/{meta[kind]}").values():
            found |= dict(zip(slab_keys, rows, strict=True))
    palette = read_spec(files, f"embeddings/{meta['embeddings']}")["content"]["palette"]
    assert read_spec(files, f"embeddings/{meta['embeddings']}")["content"]["images"] == meta["images"]
    expected = embeddings(Store.open(root, f"embeddings/{meta['embeddings']}").reader(), blocks_of(made))
    for n, sample in enumerate(keys):
        for v, variate in enumerate(sample):
            colour = palette[v % len(palette)]
            for w, key in enumerate(variate):
                vector = vectors[key_of_vector(key, colour)]
                np.testing.assert_array_equal(vector, expected[w, n, v])
                np.testing.assert_array_equal(vector, encode(pictures[key][None], np.array([colour], "u1"))[0])


def test_it_reads_the_runs(made):
    root = made / "image_cache"
    files = files_of(root)
    runs = [read_run(files, name) for name in sorted(files) if name.startswith("history/")]
    assert [run["stages"] for run in runs] == [run.stages for run in past_runs(open_storage(str(root)))]
    assert {"stages", "embeddings", "errors", "by", "at"} == set(runs[0])
    assert set(runs[0]["stages"]["draw"]) == {"wanted", "distinct", "reused", "written", "bytes", "seconds"}


@pytest.mark.parametrize("style", [
    STYLE, Style(), Style(y_range="window"), Style(size=100, margin=5.3, line_width=1e-5, dot_diameter=9)
])  # fmt: skip
def test_a_key_computed_from_the_numbers_by_the_page_is_ours(style):
    rng = np.random.default_rng(0)
    nearly = [0.3 + spread * rng.normal(size=(3, 17)) for spread in (0, 1e-8, 1e-4)]  # on both sides of 1e-6
    values = np.concatenate([rng.normal(0.5, 0.5, (60, 17)), *nearly]).astype(np.float32)
    observed = rng.random(values.shape) > 0.2
    observed[:2] = False
    spec = json.loads(image_spec(style).to_json())
    vertices_here = [vertices_of(*series, spec["content"]["style"]) for series in zip(values, observed, strict=True)]
    assert vertices_here == vertices(values, observed, style).tolist()
    keys = [xxhash.xxh3_128_digest(message_of(one, style_digest(spec)[1])) for one in vertices_here]
    ours = series_keys(values, observed, style)
    assert keys == ours.tolist()
    assert [key_of_vector(key, PALETTE[3].tolist()) for key in keys] == colour_keys(ours, PALETTE[3]).tolist()


def test_the_keys_of_agg_pictures_need_the_version_of_matplotlib():
    from importlib.metadata import version

    style = Style(renderer="agg")
    spec = json.loads(image_spec(style).to_json())
    assert "matplotlib" not in json.dumps(spec)
    assert style_digest(spec, f"matplotlib {version('matplotlib')}")[1].hex() == style.digest


def test_the_numbers_for_checking_an_implementation_are_right():
    section = PAGE.partition("| to check an implementation |")[2].partition("\n\n")[0]
    table = dict(re.findall(r"^\| (.*?) \| (.*) \|$", section, re.M))
    spec = json.loads(image_spec(Style()).to_json())
    text, digest = style_digest(spec)
    vertices_here = vertices_of(np.array([0, 9, 0.5, 1], "f4"), np.array([1, 0, 1, 1], bool), spec["content"]["style"])
    message = message_of(vertices_here, digest)
    key = xxhash.xxh3_128_digest(message)
    crc = google_crc32c.value(b"123456789")
    assert table == {
        "xxh3-64, xxh3-128 of no bytes": f"`{xxhash.xxh3_64_hexdigest(b'')}`, `{xxhash.xxh3_128_hexdigest(b'')}`",
        "crc32c of `123456789`": f"`{crc:#x}`, stored as `{struct.pack('<I', crc).hex()}`",
        "style text": f"`{text}`",
        "values 0, not observed, 0.5, 1": f"vertices {', '.join(map(str, vertices_here))}",
        "message": f"`{message.hex()}`",
        "key": f"`{key.hex()}`",
        "key of its vector in (0, 90, 181)": f"`{key_of_vector(key, (0, 90, 181)).hex()}`",
    }
    assert PALETTE[0].tolist() == [0, 90, 181]


def test_the_examples_of_the_page_show_a_picture_and_a_vector_of_the_cache(whole, monkeypatch, capsys):
    monkeypatch.chdir(whole.parent)
    names = {}
    for example in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S):
        exec(compile(example, "docs/cache-format.md", "exec"), names)
    pictures, vectors = (Store.open(whole, namespace_of(whole, kind)) for kind in KINDS)
    first, other = pictures.slabs()[0], vectors.slabs()[0]
    assert capsys.readouterr().out.splitlines() == [
        f"({first.commit.rows}, {SIZE}, {SIZE}) uint8",
        f"({other.commit.rows}, 5) float16 {other.keys[0].tobytes().hex()}",
        "True",
    ]
    (ink,) = pictures.reader().read(first.keys[:1])
    assert ink.max() == 255
    with Image.open("picture.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), 255 - ink)
    np.testing.assert_array_equal(names["vector"], vectors.reader().read(other.keys[:1])[0])


def test_zarr_alone_shows_a_slab_without_its_data_as_blank(whole):
    slab = min(whole.glob("images/*/slabs/*"))
    (slab / "c/0/0/0").unlink()
    assert zarr.open(slab, mode="r")[:].max() == 0
    with pytest.raises(Refused, match="another size"):
        read_namespace(files_of(whole), namespace_of(whole, "images"))


def test_a_bucket_is_read_alike_and_a_folder_copied_into_one_is_a_cache(made, tmp_path, monkeypatch):
    pytest.importorskip("moto")
    store_module = pytest.importorskip("obstore.store")
    with s3_server(tmp_path) as (endpoint, _):
        for name, value in s3_settings(endpoint).items():
            monkeypatch.setenv(name, value)
        bucket(endpoint, "shelf")
        root = "s3://shelf/written"
        work, _ = fill(root, [block()], slab_rows=60)
        keys, rows = block(seed=1).keys.reshape(-1)[:9], np.full((9, SIZE, SIZE), 7, np.uint8)
        work.store.write(keys, rows, lambda step: work.store.write(keys, rows) if step == "commit.json" else None)
        files = objects(store_module, root)
        assert all(re.fullmatch(NAMES[0], name) or re.fullmatch(NAMES[1], name) for name in files)
        assert {len(name.split("/")) for name in files if name.endswith("commit.json")} == {6}
        read = read_namespace(files, work.store.namespace)
        assert list(read) == [slab.folder for slab in work.store.slabs()]
        assert [slab.split("/")[3] for slab in read].count(slab_id(keys)) == 2
        assert digest_of_content(files) == content_digest(work.store.slabs())
        for number, (_, _, rows) in enumerate(read.values()):
            np.testing.assert_array_equal(rows, work.store.reader().read_slab(number, np.arange(len(rows))))

        copied = store_module.from_url("s3://shelf/copied")
        for name, data in files_of(made / "image_cache").items():
            copied.put(name, data)
        assert check("s3://shelf/copied", full=True) == []
        there, here = collect("s3://shelf/copied"), collect(made / "image_cache")
        assert there == here

        for name, data in files.items():  # the other way, no slab is seen
            (tmp_path / "down" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "down" / name).write_bytes(data)
        assert Store(tmp_path / "down", image_spec(STYLE)).slabs() == []


def bucket(endpoint, name):
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=10)


def objects(store_module, root):
    store = store_module.from_url(root)
    names = [one["path"] for page in store.list() for one in page]
    return {name: bytes(store.get(name).bytes()) for name in names}
