"""The engine that runs an image tower: chosen openly, and the same vectors whichever it is."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

import render_cache
from cache.catalog import entries
from cache.spec import embedding_spec
from cache.store import Store
from model.encoders import EncoderError, choose, load, resolve
from model.encoders.backends import CPU_BATCH, converted
from model.encoders.openvino_cache import is_whole, keep, place
from pipeline.keys import colour_keys
from pipeline.style import PALETTE, Style
from tests.inks import colours, sine_ink

ROOT = Path(__file__).resolve().parents[1]
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="OpenVINO has no wheel for this platform")


@pytest.mark.slow
@needs_openvino
def test_both_engines_give_the_same_vectors_in_whole_and_partial_batches():
    spec = resolve("efficientnet-lite0")
    ink, rgb = sine_ink(CPU_BATCH + 3), colours(CPU_BATCH + 3)
    by_torch, by_openvino = (load(spec, engine).encode(ink, rgb) for engine in ("torch", "openvino"))
    np.testing.assert_allclose(by_openvino.astype(np.float32), by_torch.astype(np.float32), atol=1e-3, rtol=1e-3)
    assert np.abs(by_torch.astype(np.float32)).max() > 0.1


@pytest.mark.slow
@needs_openvino
def test_pictures_of_another_size_are_seen_alike_by_both_engines():
    spec = resolve("efficientnet-lite0")
    ink, rgb = np.ascontiguousarray(sine_ink(3)[:, ::2, ::2]), colours(3)
    by_torch, by_openvino = (load(spec, engine).encode(ink, rgb) for engine in ("torch", "openvino"))
    np.testing.assert_allclose(by_openvino.astype(np.float32), by_torch.astype(np.float32), atol=1e-3, rtol=1e-3)


@needs_openvino
def test_a_tower_that_openvino_cannot_convert_is_an_error_that_names_the_way_out():
    class Odd(torch.nn.Module):
        def forward(self, plane, rgb):
            return torch.linalg.eigvals(plane).real

    with pytest.raises(EncoderError, match="--engine torch"):
        converted(Odd().eval(), 8)


SEE = """
import sys
import numpy as np
from model.encoders import choose, encode, resolve
spec, ink = resolve("efficientnet-lite0"), np.zeros((2, 224, 224), np.uint8)
engine, _, why = choose("auto", 2, spec)
rows = encode(spec, ink, np.zeros((2, 3), np.uint8), "openvino")
print("torch" in sys.modules, engine, "takes some seconds" in why, rows[0, :4].tolist())
"""


def seen(home):
    """What a process with its own home says: whether it loaded torch, what auto chose, the first numbers."""
    environment = os.environ | {"XDG_CACHE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", SEE]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split(" ", 2)


@pytest.mark.slow
@needs_openvino
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU embeds with torch")
def test_a_converted_network_is_kept_and_the_next_process_loads_no_torch(tmp_path):
    torch_there, engine, first = seen(tmp_path)
    assert (torch_there, engine) == ("True", "torch")  # two pictures are not worth a conversion
    assert seen(tmp_path) == ["False", "openvino", first]


def write(file):
    file.write_text("network")
    file.with_suffix(".bin").write_text("weights")


def test_two_runs_may_keep_a_network_at_once_and_one_that_fails_leaves_nothing(tmp_path):
    folder = tmp_path / "weights-rest"

    def write_second(file):
        write(file)
        keep(folder, write)  # the other run is first

    def full(file):
        file.write_text("half")
        raise OSError("No space left on device")

    keep(folder, write_second)
    assert is_whole(folder)
    with pytest.warns(RuntimeWarning, match="No space left"):
        keep(tmp_path / "other", full)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", ["network.xml", "network.bin", "digest"])
def test_a_damaged_network_is_none_and_is_written_again(tmp_path, name):
    folder = tmp_path / "weights-rest"
    keep(folder, write)
    (folder / name).write_text("of something else")
    assert not is_whole(folder)
    keep(folder, write)
    assert is_whole(folder)


def test_what_decides_the_network_is_in_its_place(monkeypatch):
    spec = resolve("efficientnet-lite0")
    places = {place(spec), place(replace(spec, size=128)), place(replace(spec, weights_digest="0" * 32))}
    monkeypatch.setattr("model.encoders.openvino_cache.version", lambda package: "0.0")
    assert len(places | {place(spec)}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("blocked", [False, True])
def test_rendering_embeds_alike_with_openvino_and_with_its_import_blocked(monkeypatch, small_card, capsys, blocked):
    if not blocked and not HAS_OPENVINO:
        pytest.skip("OpenVINO has no wheel for this platform")
    monkeypatch.setattr("model.encoders.backends.GPU_FILES", ())
    monkeypatch.setattr("model.encoders.backends.WORTH_IT", 1)
    if blocked:
        monkeypatch.setitem(sys.modules, "openvino", None)
    cache, spec = small_card.parent / "cache", resolve("efficientnet-lite0")
    given = ["--data", str(small_card), "--cache", str(cache), "--workers", "1", "--encoder", "efficientnet-lite0"]
    assert render_cache.main(given) == 0
    said = capsys.readouterr().out
    assert f"engine: {'torch' if blocked else 'OpenVINO'}" in said
    assert ("pip install -r requirements.txt" in said) == blocked
    (pictures,), (vectors,) = Store.open_all(cache, "images"), Store.open_all(cache, "embeddings")
    (entry,) = entries(cache)
    keys = entry.keys[:2].reshape(-1)
    rgb = np.ascontiguousarray(np.broadcast_to(PALETTE[: entry.keys.shape[1], None], (2, *entry.keys.shape[1:], 3)))
    rgb = rgb.reshape(-1, 3)
    assert vectors.spec == embedding_spec(Style(), spec.to_dict())  # one namespace, whichever engine runs
    expected = load(spec, "torch").encode(pictures.reader().read(keys), rgb).astype(np.float32)
    found = vectors.reader().read(colour_keys(keys, rgb)).astype(np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)


@needs_openvino
def test_openvino_is_imported_without_its_telemetry(tmp_path):
    """With it the import leaves the folder ~/intel, with an identifier."""
    code = "from model.encoders.backends import silent_openvino; silent_openvino().Core()"
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=True)
    assert list(tmp_path.iterdir()) == []


def test_openvino_without_its_package_is_an_error_and_auto_reports_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EncoderError, match=r"pip install -r requirements\.txt.*--engine torch"):
        choose("openvino")
    engine, _, why = choose("auto")
    assert engine == "torch"
    assert torch.cuda.is_available() or "pip install -r requirements.txt" in why


def test_openvino_is_a_requirement_wherever_it_has_a_wheel():
    (line,) = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("openvino")]
    requirement = Requirement(line)
    platforms = {("linux", "x86_64"): True, ("darwin", "arm64"): True, ("win32", "AMD64"): True,
                 ("linux", "aarch64"): False, ("darwin", "x86_64"): False}  # fmt: skip
    for (system, machine), expected in platforms.items():
        assert requirement.marker.evaluate({"sys_platform": system, "platform_machine": machine}) == expected


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr("model.encoders.backends.GPU_FILES", ("/dev/null",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert choose("auto") == ("torch", "cuda", "torch on a GPU")
