"""Runs whose picture tower learns in stage 1, through stage 3: the tuned tower is an encoder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import predict
import render_cache
import train
from cache.store import Store
from model.encoders import EncoderError, TunedOn, finetuned, load, resolve
from model.encoders.encoder_module import tower as tower_of
from model.encoders.trainable import Tower
from pipeline.program import Terminated
from report.run import RunFolder
from tests.conftest import CARD, ROOT, small_seasons
from tests.tiny_picture_tower import RGB, write_clip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny")


def run(main, *given):
    return main(list(map(str, given)))


@pytest.fixture(scope="module")
def chain(tmp_path_factory, clip):
    """render, stage 1 with a tower that learns, render with the tuned tower, stage 2, predict, on the small table."""
    folder = tmp_path_factory.mktemp("tuned")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    data = ["--data", folder / "card.toml", "--cache", folder / "cache", "--style.size", 64]
    assert run(render_cache.main, *data, "--encoder", clip) == 0
    one = [*data, "--encoder", clip, "--stage", 1, "--epochs", 3, "--lr-pretrained", 1e-2, "--out", folder / "one"]
    assert run(train.main, *one, "--finetune-vision", 1) == 0
    assert run(render_cache.main, *data, "--encoder", f"tuned:{folder / 'one'}") == 0
    two = [*data, "--stage", 2, "--epochs", 3, "--from", folder / "one", "--out", folder / "two"]
    assert run(train.main, *two) == 0
    return folder, data


def test_the_tuned_tower_is_an_encoder_of_its_own(chain, clip):
    folder, _ = chain
    moved = load_file(folder / "one" / "tower" / "moved.safetensors")
    assert moved
    assert all(name.startswith("transformer.resblocks.2.") for name in moved)
    base, spec = resolve(clip), resolve(f"tuned:{folder / 'one'}")
    assert spec.weights_digest != base.weights_digest
    assert spec.label == "tuned:<path> of open_clip:tiny/<path>"
    assert str(folder) not in json.dumps(spec.to_dict())
    stores = {store.spec.id: store for store in Store.open_all(folder / "cache", "embeddings")}
    results = {name: RunFolder.open(folder / name).read_json("result.json") for name in ("one", "two")}
    assert results["one"]["encoder"] == results["two"]["encoder"] == spec.label
    assert results["one"]["cache_spec"] == results["two"]["cache_spec"]
    mine = stores.pop(results["one"]["cache_spec"])
    (others,) = stores.values()
    keys = mine.slabs()[0].keys
    assert np.abs(mine.reader().read(keys).astype(float) - others.reader().read(keys)).max() > 1e-2


def test_stage_1_was_judged_by_the_vectors_that_the_tuned_tower_gives(chain):
    """The cached vectors of the tuned tower give the very completion that the run wrote down."""
    from pipeline.sources import read
    from pipeline.splits import make_folds
    from pipeline.style import Style
    from stages.completion.completion_stage import load_model
    from stages.inputs.fold_data import Pictures, prepare

    folder, _ = chain
    table = read(str(folder / "card.toml"))
    (fold,) = make_folds(table.year, table.place, table.sample_id, split="year", seed=0)
    pictures = Pictures.find(
        folder / "cache", Style(size=64), table, encoder=resolve(f"tuned:{folder / 'one'}"), command=""
    )
    season = prepare(table, fold, "halves", pictures=pictures).seasons[0]
    model = load_model(RunFolder.open(folder / "one"), fold.name)
    with torch.inference_mode():
        completed = model(*season.first.rows(torch.from_numpy(fold.test)).inputs()).completion
    scaler = prepare(table, fold, "halves", pictures=pictures).scales.scaler
    native = scaler.inverse(completed.numpy().astype(np.float64))
    written = pd.read_parquet(folder / "one" / "predictions.parquet")
    at = {name: i for i, name in enumerate(table.sample_id[fold.test])}
    rows = written["sample_id"].map(at).to_numpy()
    variates = written["variate"].map({name: v for v, name in enumerate(table.variate_names)}).to_numpy()
    found = native[rows, variates, written["step"].to_numpy() - table.cut]
    np.testing.assert_allclose(found, written["y_pred"], atol=5e-3)


def test_predict_forecasts_with_the_tower_that_the_run_keeps(chain, tmp_path):
    folder, _ = chain
    kept = tmp_path / "kept"
    shutil.copytree(folder / "two", kept)
    out = tmp_path / "forecast.csv"
    given = ["--run", kept, "--data", folder / "card.toml", "--cache", tmp_path / "cache", "--out", out]
    assert run(predict.main, *given) == 0
    forecast = pd.read_csv(out).set_index("sample_id")["y_pred"]
    test = pd.read_parquet(kept / "predictions.parquet").query("split == 'test'").set_index("sample_id")["y_pred"]
    np.testing.assert_allclose(forecast[test.index], test, atol=2e-3)


def test_stage_3_and_an_export_go_on_with_the_tuned_tower(chain, tmp_path):
    from model.export.__main__ import main as export_main

    folder, data = chain
    given = [*data, "--stage", 3, "--epochs", 1, "--from", folder / "two", "--out", tmp_path / "three"]
    assert run(train.main, *given) == 0
    assert run(export_main, "--run", tmp_path / "three", "--out", tmp_path / "mine", "--no-onnx") == 0
    assert resolve(f"tuned:{tmp_path / 'mine'}") == replace(
        resolve(f"tuned:{folder / 'one'}"), name=f"tuned:{tmp_path / 'mine'}"
    )


def test_without_the_tuned_vectors_stage_2_names_the_command_that_makes_them(
    chain, clip, tmp_path, capsys, monkeypatch
):
    folder, data = chain
    cache = tmp_path / "cache"
    data = [*data[:3], cache, *data[4:]]
    assert run(render_cache.main, *data, "--encoder", clip) == 0
    capsys.readouterr()
    assert run(train.main, *data, "--stage", 2, "--from", folder / "one", "--out", tmp_path / "two") == 2
    said = capsys.readouterr().err
    assert f"holds no embeddings of tuned:{folder / 'one'}" in said
    assert f"python render_cache.py --data {folder / 'card.toml'}" in said
    assert f"--encoder tuned:{folder / 'one'}" in said
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "one", tmp_path / "runs" / "one")
    assert run(train.main, *data, "--stage", 2) == 2
    assert "runs/one, which fine-tuned its own tower, fits: --from runs/one" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_a_tuned_tower_tests_no_rows_that_it_has_learnt_from(chain, capsys):
    folder, data = chain
    given = [*data, "--stage", 1, "--encoder", f"tuned:{folder / 'one'}", "--split", "leave-year-out"]
    assert run(train.main, *given, "--folds", "2018") == 2
    said = capsys.readouterr().err
    assert "was fine-tuned on the training rows of fold 2022 of split year" in said
    assert "--split year --folds 2022" in said


def test_a_tower_can_be_tuned_again_and_remembers_both(chain, tmp_path):
    folder, data = chain
    given = [*data, "--stage", 1, "--epochs", 1, "--encoder", f"tuned:{folder / 'one'}", "--lr-pretrained", 1e-2]
    assert run(train.main, *given, "--finetune-vision", 2, "--out", tmp_path / "again") == 0
    spec = resolve(f"tuned:{tmp_path / 'again'}")
    assert (len(spec.tuned_on), spec.base.name[:9]) == (2, "open_clip")
    loaded = Tower(spec, RGB, 1)
    assert set(loaded.moved(spec.base)) == set(load_file(tmp_path / "again" / "tower" / "moved.safetensors"))


def test_a_stopped_run_goes_on_to_the_same_bytes(chain, clip, tmp_path, monkeypatch):
    _, data = chain
    given = [*data, "--stage", 1, "--encoder", clip, "--epochs", 4, "--finetune-vision", "all", "--lr-pretrained", 1e-3,
             "--checkpoint-seconds", 1e-9]  # fmt: skip
    assert run(train.main, *given, "--out", tmp_path / "whole") == 0
    from stages.runs.epoch_log import EpochLog

    told = EpochLog.on_epoch

    def stop(self, phase, epoch):
        told(self, phase, epoch)
        if epoch.epoch == 3:
            raise Terminated  # as its handler of SIGTERM does (tests/test_resume.py sends a real one)

    monkeypatch.setattr(EpochLog, "on_epoch", stop)
    assert run(train.main, *given, "--out", tmp_path / "stopped") == 143
    monkeypatch.undo()
    assert run(train.main, "--resume", tmp_path / "stopped") == 0
    for name in ("model.safetensors", "tower/moved.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_two_processes_tune_the_tower_as_one_does(chain, clip, tmp_path):
    data = chain[1]
    given = [*data, "--stage", 1, "--encoder", clip, "--epochs", 2, "--finetune-vision", 1, "--dropout", 0,
             "--batch-size", 25]  # fmt: skip
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    command = [*launcher, *map(str, given), "--out", str(tmp_path / "both")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert run(train.main, *given, "--out", tmp_path / "alone") == 0
    both, alone = (RunFolder.open(tmp_path / name) for name in ("both", "alone"))
    for one, other in zip(both.metrics(), alone.metrics(), strict=True):
        assert one["train"] == pytest.approx(other["train"], rel=1e-4)
        assert one["valid"] == pytest.approx(other["valid"], rel=1e-4)
    assert (both.path / "tower" / "moved.safetensors").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stage", 1, "--finetune-vision", 0], "must be a number of blocks, at least 1"),
        (["--stage", 1, "--finetune-vision", "some"], "must be a number of blocks, at least 1"),
        (["--stage", 2, "--finetune-vision", 1], "is for stage 1, but this is stage 2"),
        (["--stage", 1, "--finetune-vision", 1, "--preset", "language-only"], "reads no pictures"),
        (["--stage", 1, "--finetune-vision", 1, "--split", "forward"], "Choose one, as in --folds 2022"),
        (["--stage", 1, "--finetune-vision", 1, "--control", "noise"], "Leave one of the two out"),
        (["--stage", 1, "--finetune-vision", 9], "has 3 blocks"),
        (["--stage", 1, "--finetune-vision", 1, "--encoder", "tuned:/nowhere"], "holds no tuned tower"),
    ],
)
def test_what_cannot_be_tuned_is_refused_and_nothing_is_written(chain, clip, tmp_path, capsys, flags, message):
    given = [*chain[1], *([] if "--encoder" in flags else ["--encoder", clip]), *flags, "--out", tmp_path / "run"]
    assert run(train.main, *given) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_pictures_that_are_gone_are_named_with_the_command(chain, clip, tmp_path, capsys):
    folder, data = chain
    cache = tmp_path / "cache"
    shutil.copytree(folder / "cache", cache)
    shutil.rmtree(cache / "images")
    given = [*data[:3], cache, *data[4:], "--encoder", clip, "--stage", 1, "--finetune-vision", 1]
    assert run(train.main, *given, "--out", tmp_path / "run") == 2
    assert "168 of 168 plots are not in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_tuned_tower_without_the_weights_it_was_tuned_from_says_where_to_name_them(clip, tmp_path):
    where = tmp_path / "base"
    name = write_clip(where, seed=1)
    spec = resolve(name)
    net = tower_of(spec)
    changed = {"ln_post.bias": net.ln_post.bias.detach() + 1}
    finetuned.save(tmp_path, spec, changed, [TunedOn("x", "year", "2022", 0)])
    mine = resolve(f"tuned:{tmp_path}")
    rgb, ink = RGB.numpy(), np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    vectors = [load(one, "torch").encode(ink, rgb) for one in (mine, spec)]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1
    where.rename(tmp_path / "elsewhere")
    with pytest.raises(EncoderError, match=r'which is not available.*write their new path under "base"'):
        resolve(f"tuned:{tmp_path}")
    shutil.copytree(tmp_path / "elsewhere", where)
    write_clip(tmp_path / "other", seed=2)
    shutil.copy(tmp_path / "other" / "open_clip_model.safetensors", where)
    with pytest.raises(EncoderError, match=r"with weights .* that name now has the weights"):
        resolve(f"tuned:{tmp_path}")
    finetuned.save(tmp_path, spec, {"no.such": torch.zeros(1)}, [])
    shutil.rmtree(where)
    (tmp_path / "elsewhere").rename(where)
    with pytest.raises(EncoderError, match=r"the tower has no no.such"):
        load(resolve(f"tuned:{tmp_path}"), "torch")
