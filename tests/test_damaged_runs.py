"""A run of which a file is not whole, and commands that name the wrong thing: one paragraph, exit 2, nothing lost."""

import json
import shutil

import pandas as pd
import pytest

import ablate
import explain
import predict
import train
from model.export.__main__ import main as export
from pipeline.errors import InputError
from report import summary
from report.map import main as draw_map
from tests.conftest import CARD, small_seasons
from verdict.runner import require_same_matrix

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with small data and a run of each stage, `one` and `two`."""
    folder = tmp_path_factory.mktemp("damaged")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    where = 'place = "place"\nlatitude = "lat"\nlongitude = "lon"\n'
    (folder / "card.toml").write_text(CARD)
    table = small_seasons().assign(lat=10.0, lon=20.0)
    table.to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD.replace('place = "place"\n', where))
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--epochs", "1"]
    assert train.main(["--stage", "1", *flags, "--out", str(folder / "one")]) == 0
    assert train.main(["--stage", "2", *flags, "--from", str(folder / "one"), "--out", str(folder / "two")]) == 0
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """The same in a place of its own."""
    return shutil.copytree(made, tmp_path / "copy")


def cut(path, size=100):
    path.write_bytes(path.read_bytes()[:size])


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(capsys, *words):
    said = capsys.readouterr().err
    assert "Traceback" not in said
    for word in words:
        assert word in said


@pytest.mark.parametrize("file", ["model.safetensors", "fitted.json", "result.json"])
def test_a_run_whose_file_is_cut_short_is_refused_by_name_everywhere(copy, capsys, file):
    cut(copy / "two" / file)
    before = files(copy)
    data = ["--data", str(copy / "card.toml")]
    for program, arguments in (
        (predict.main, ["--run", str(copy / "two"), *data, "--out", str(copy / "new.csv")]),
        (explain.main, ["--run", str(copy / "two"), *data]),
        (export, ["--run", str(copy / "two"), "--out", str(copy / "export"), "--no-onnx"]),
    ):
        assert program(arguments) == 2
        refused(capsys, f"two/{file} cannot be read", "run its command again")
    assert files(copy) == before


def test_a_later_stage_on_weights_that_are_cut_short_begins_no_run(copy, capsys):
    cut(copy / "one" / "model.safetensors")
    before = files(copy)
    flags = ["--data", str(copy / "card.toml"), "--preset", "language-only"]
    assert train.main(["--stage", "2", *flags, "--from", str(copy / "one"), "--out", str(copy / "three")]) == 2
    refused(capsys, "one/model.safetensors cannot be read")
    assert files(copy) == before


def test_forecasts_that_are_cut_short_or_not_there_are_refused(copy, capsys):
    data = ["--data", str(copy / "card.toml")]
    commands = ((explain.main, data), (draw_map, [*data, "--out", str(copy / "map.geojson")]))
    assert draw_map(["--run", str(copy / "two"), *commands[1][1]]) == 0
    (copy / "map.geojson").unlink()
    capsys.readouterr()
    for damage, words in ((cut, "cannot be read"), (lambda path: path.unlink(), "an exported model has no test")):
        damage(copy / "two" / "predictions.parquet")
        for program, arguments in commands:
            assert program(["--run", str(copy / "two"), *arguments]) == 2
            refused(capsys, "predictions.parquet", words)


def test_a_map_is_drawn_of_the_run_s_own_data_only(copy, capsys):
    table = pd.read_csv(copy / "seasons.csv")
    table.assign(lat=-40.0, yield_t_ha=table["yield_t_ha"] + 1).to_csv(copy / "seasons.csv", index=False)
    out = copy / "map.geojson"
    assert draw_map(["--run", str(copy / "two"), "--data", str(copy / "card.toml"), "--out", str(out)]) == 2
    refused(capsys, "their fingerprints differ")
    assert not out.exists()


def test_forecasts_and_their_means_by_place_do_not_go_into_one_file(copy, capsys):
    out = str(copy / "new.csv")
    data = ["--data", str(copy / "card.toml"), "--out", out, "--by-place", out]
    assert predict.main(["--run", str(copy / "two"), *data]) == 2
    refused(capsys, "--out and --by-place both name")
    assert not (copy / "new.csv").exists()


def test_a_summary_leaves_a_damaged_run_out_and_shows_the_others(copy, capsys, monkeypatch):
    shutil.copytree(copy / "two", copy / "later")
    cut(copy / "later" / "result.json")
    monkeypatch.setattr("sys.argv", ["report.summary", "--runs", str(copy)])
    assert summary.main() == 0
    said = capsys.readouterr()
    assert "later/result.json cannot be read" in said.err
    assert "small, stage 2: " in said.out


def test_a_dry_run_refuses_a_folder_that_the_run_would_refuse(tmp_path, copy, capsys):
    out = tmp_path / "matrix"
    flags = ["--data", str(copy / "card.toml"), "--seeds", "1", "--encoder", "efficientnet-lite0", "--dry-run"]
    assert ablate.main([*flags, "--out", str(out)]) == 0
    assert not out.exists()
    assert ablate.main([*flags, "--out", str(copy / "card.toml")]) == 2
    refused(capsys, "is not a matrix")
    out.mkdir()
    (out / "matrix.json").write_text(json.dumps({"data": "another 0123"}))
    assert ablate.main([*flags, "--out", str(out)]) == 2
    refused(capsys, "holds a matrix with data another 0123, but this one has small")
    (out / "matrix.json").write_text("{")
    with pytest.raises(InputError, match=r"matrix.json cannot be read"):
        require_same_matrix(out, {})


def test_a_run_of_a_matrix_that_is_cut_short_is_named(tmp_path, copy, capsys):
    out = tmp_path / "matrix"
    arm = out / "timesclip" / "seed0" / "stage1"
    shutil.copytree(copy / "one", arm)
    cut(arm / "result.json")
    flags = ["--data", str(copy / "card.toml"), "--seeds", "1", "--encoder", "efficientnet-lite0"]
    (out / "matrix.json").write_text("{}")
    assert ablate.main([*flags, "--out", str(out), "--dry-run"]) == 2
    refused(capsys, "timesclip/seed0/stage1/result.json cannot be read")


def test_a_run_that_is_not_there_is_said_to_be_not_there(tmp_path, capsys):
    for flag in (["--resume", str(tmp_path / "nope")], ["--config", str(tmp_path / "none.toml")]):
        assert train.main(flag) == 2
        refused(capsys, "there is no ", "ls runs/*/config.json")
