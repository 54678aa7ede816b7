"""The matrix: arms that train knows, runs that are taken, resumed, waited for, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

import ablate
import render_cache
import train
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.splits import make_folds
from stages.runs.command_line import accepts, parse
from tests.conftest import ROOT
from tests.jobs import WRITES, job
from verdict import kernel_baselines
from verdict.arms import ARMS, CONTROLS, CONVOLUTIONS, DECIDE, MAPS, WITH, WITHOUT, Arm, choose, lacking
from verdict.kernel_baselines import inner_parts, kernel_ridge, linear_kernel, maps_of, ridge_path
from verdict.runner import Runner, Step, claim, costs_of, plan, typed

FAST = ("--encoder", "efficientnet-lite0")


def test_every_arm_has_a_name_of_its_own_and_is_compared_with_one_that_is_there():
    names = [arm.name for arm in (*ARMS, *MAPS)]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    for arm in (*ARMS, *MAPS):
        assert arm.against in {*names, "offset alone"} - {arm.name}  # type: ignore[attr-defined]
        assert arm.question.endswith(("?", "."))  # type: ignore[attr-defined]
    assert set(CONTROLS) == {"shuffled", "noise", "random encoder", "more kernels"}
    assert set(DECIDE) <= set(names)


@pytest.mark.slow
def test_an_arm_whose_flags_train_lacks_is_told_by_its_parser(monkeypatch):
    able = [arm for arm in ARMS if lacking(arm, accepts) is None]
    assert {WITH, WITHOUT, *CONTROLS} <= {arm.name for arm in able}
    for arm in able:
        for stage, flags in (("1", arm.flags), ("2", (*arm.flags, *arm.second))):
            parse(["--stage", stage, *flags], "")
    assert (
        lacking(Arm("a", "b", "c", ("--mixup", "--preset", "no-such")), accepts) == "train.py has no --preset no-such"
    )
    assert lacking(Arm("a", "b", "c", second=("--no-such", "1")), accepts) == "train.py has no --no-such 1"


def test_arms_are_chosen_by_name_or_group_and_the_two_that_decide_are_always_there():
    assert [arm.name for arm in choose(ARMS, ["controls"])] == [WITH, WITHOUT, *CONTROLS[:3], CONVOLUTIONS, CONTROLS[3]]
    assert choose(ARMS, ()) == ARMS
    with pytest.raises(InputError, match="'shufled'; the arms are timesclip"):
        choose(ARMS, ["shufled"])


def test_finished_runs_are_taken_and_a_failure_ends_its_job_only(tmp_path):
    good = job(tmp_path / "good", WRITES, WRITES)
    bad = job(tmp_path / "bad", "print('the last line\\n'); raise SystemExit(3)", WRITES)
    (failure,) = Runner().run_all([bad, good], 2)
    assert (failure.code, failure.line, failure.step.name) == (3, "the last line", "stage1")
    assert good.done
    assert not (tmp_path / "bad" / "stage2").exists()
    assert [cost["step"] for cost in costs_of(good)] == ["stage1", "stage2"]
    assert all(cost["seconds"] > 0 and cost["peak_mb"] > 1 for cost in costs_of(good))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "good").rglob("*.json*")}
    assert len(Runner().run_all([bad, good], 1)) == 1
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "good").rglob("*.json*")}


def test_a_process_reads_relative_paths_as_the_matrix_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.csv").write_text("")
    one = job(Path("arm"), "assert pathlib.Path('here.csv').exists(); " + WRITES)
    assert Runner().run_all([one], 1) == []
    assert (tmp_path / "arm" / "stage1" / "result.json").exists()


def test_printed_commands_name_the_programs_as_seen_from_the_folder_of_the_user(tmp_path):
    elsewhere = Path(os.path.relpath(ROOT, tmp_path))
    train_it, maps = ("train.py", "--data", "my card.toml"), ("-m", "verdict.kernel_baselines", "--seed", "0")
    assert typed(train_it, Path(ROOT)) == "python train.py --data 'my card.toml'"
    assert typed(train_it, tmp_path) == f"python {elsewhere}/train.py --data 'my card.toml'"
    assert typed(maps, Path(ROOT)) == "python -m verdict.kernel_baselines --seed 0"
    assert typed(maps, tmp_path) == f"PYTHONPATH={elsewhere} python -m verdict.kernel_baselines --seed 0"


@pytest.mark.slow
def test_a_matrix_runs_in_another_folder_with_relative_paths(small_card, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(small_card.parent)
    Path("report.py").write_text("raise SystemExit('a file of the user, not of the project')")
    monkeypatch.setattr(ablate, "ARMS", ARMS[:2])
    flags = ["--data", small_card.name, "--cache", "pictures", "--out", "matrix", "--split", "year", *FAST]
    assert ablate.main([*flags, "--seeds", "1", "--epochs", "1", "--workers", "2"]) == 0, capfd.readouterr().err
    record = json.loads(Path("matrix/verdict.json").read_text())
    assert record["command"].startswith(f"python {os.path.relpath(ROOT)}/ablate.py --data {small_card.name}")
    log = Path("matrix/timesclip/seed0/log.txt").read_text()
    assert log.startswith(f"$ python {os.path.relpath(ROOT)}/train.py --stage 1 --data {small_card.name}")


def test_an_interrupted_run_is_not_done_and_goes_on_and_one_that_never_began_is_begun(tmp_path):
    folder = tmp_path / "stage1"
    step = Step("stage1", folder, ("train.py", "--stage", "1"))
    (folder / "checkpoints").mkdir(parents=True)
    assert (step.done, step.to_run) == (False, step.command)
    (folder / "checkpoints" / "started.json").write_text("{}")
    (folder / "result.json").write_text('{"interrupted": true}')
    assert (step.done, step.to_run) == (False, ("train.py", "--resume", str(folder)))
    one = job(tmp_path / "left", "assert not (out / 'half').exists(); " + WRITES)
    one.steps[0].folder.mkdir(parents=True)
    (one.steps[0].folder / "half").write_text("of a file")
    assert Runner().run_all([one], 1) == []


@pytest.mark.slow
def test_what_a_killed_matrix_left_running_is_waited_for(tmp_path, capfd):
    folder = tmp_path / "arm"
    text = f"import time; (out / 'began').write_text(''); time.sleep(3); {WRITES}"
    code = (
        "import pathlib; from tests.jobs import job; from verdict.runner import Runner; "
        f"Runner().run_all([job(pathlib.Path({str(folder)!r}), {text!r})], 1)"
    )
    matrix = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for(folder / "stage1" / "began")
    matrix.kill()
    matrix.wait()
    assert Runner().run_all([job(folder, "raise SystemExit('begun a second time')")], 1) == []
    assert "waiting for another matrix" in capfd.readouterr().out
    assert not (folder / "costs.jsonl").exists()


def wait_for(path, seconds=60):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_matrix_that_is_killed_with_its_process_resumes_to_the_same_bytes(small_card, tmp_path):
    """Real training, SIGKILL once the first checkpoint is there."""
    (arm,) = (arm for arm in ARMS if arm.name == WITHOUT)
    common = ("--data", str(small_card), "--epochs", "3")
    planned, whole = (
        plan(tmp_path / name, [arm], [0], common, "efficientnet-lite0")[0] for name in ("killed", "whole")
    )
    killed = replace(planned, steps=planned.steps[:1])
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *killed.steps[0].command], cwd=ROOT, env=environment)
    wait_for(killed.steps[0].folder / "checkpoints" / "started.json")
    process.kill()
    process.wait()
    assert not killed.done
    assert Runner().run_all([killed], 1) == []
    assert [cost["resumed"] for cost in costs_of(killed)] == [True]
    assert train.main(whole.steps[0].command[1:]) == 0
    for name in ("model.safetensors", "predictions.parquet"):
        assert (killed.steps[0].folder / name).read_bytes() == (whole.steps[0].folder / name).read_bytes()


@pytest.mark.slow
def test_sigterm_ends_the_processes_and_says_how_to_go_on(tmp_path):
    folder = tmp_path / "arm"
    text = "import time, os; (out / 'pid').write_text(str(os.getpid())); time.sleep(60)"
    code = (
        "import ablate, pathlib; from tests.jobs import job; from verdict.runner import Runner; "
        f"one = job(pathlib.Path({str(folder)!r}), {text!r}); "
        "ablate.ablate = lambda *_: Runner().run_all([one], 1); raise SystemExit(ablate.main([]))"
    )
    matrix = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for(folder / "stage1" / "pid")
    time.sleep(0.3)
    began = time.monotonic()
    matrix.send_signal(signal.SIGTERM)
    message = matrix.communicate(timeout=30)[1]
    assert time.monotonic() - began < 20
    assert matrix.returncode == 143
    assert "The same command resumes" in message
    pid = int((folder / "stage1" / "pid").read_text())
    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def test_another_matrix_refuses_the_folder(tmp_path):
    out = tmp_path / "m"
    claim(out, {"data": "a", "split": "place", "epochs": None})
    claim(out, {"data": "a", "split": "place", "epochs": None})
    with pytest.raises(InputError, match="with split place, but this one has forward"):
        claim(out, {"data": "a", "split": "forward", "epochs": None})
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="is not a matrix"):
        claim(tmp_path, {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--workers", "0"], "--workers is 0"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--split", "random"], "holds out rows"),
        (["--arms", "nothing"], "--arms names 'nothing'"),
        (["--encoder", "none-such"], "'none-such' is unknown"),
        (["--folds", "1492"], "--folds names '1492'"),
        (["--data", "no-such-file.csv"], "no-such-file.csv"),
    ],
)
def test_bad_input_is_one_paragraph_and_exit_2_and_writes_nothing(small_card, tmp_path, capsys, flags, message):
    given = ["--data", str(small_card), *FAST, "--cache", str(tmp_path / "c"), "--out", str(tmp_path / "m"), *flags]
    assert ablate.main(given) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "c").exists()


def test_a_dry_run_says_what_would_be_done_and_what_is_left_out(small_card, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    absent = Arm("later", "presets", "Not yet?", ("--preset", "of-next-year"))
    monkeypatch.setattr(ablate, "ARMS", (*ARMS[:2], absent))
    assert ablate.main(["--data", str(small_card), *FAST, "--dry-run", "--seeds", "3"]) == 0
    said = capsys.readouterr().out
    assert "left out       later                    train.py has no --preset of-next-year" in said
    assert "1 rendering, 9 jobs, 9 to do" in said
    assert list(tmp_path.iterdir()) == [small_card.parent]


@given(st.integers(0, 999), st.integers(5, 30), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_kernel_ridge_is_that_of_scikit_learn(seed, count, columns):
    rng = np.random.default_rng(seed)
    x, y, new = rng.normal(size=(count, columns)), rng.normal(size=count), rng.normal(size=(4, columns))
    path = ridge_path(x @ x.T, new @ x.T, y, np.array([0.1, 3.0]))
    for penalty, row in zip((0.1, 3.0), path, strict=True):
        expected = KernelRidge(alpha=penalty).fit(x, y - y.mean()).predict(new) + y.mean()
        np.testing.assert_allclose(row, expected, atol=1e-8)
    centred = x - x.mean(0)
    straight = Ridge(alpha=3.0).fit(centred, y).predict(new)
    np.testing.assert_allclose(
        ridge_path(centred @ centred.T, new @ centred.T, y, np.array([3.0]))[0], straight, atol=1e-8
    )


def test_the_kernel_that_knows_is_chosen():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(90, 1)), rng.normal(size=(90, 5))
    kernels = [linear_kernel([noise], 60), np.exp(-0.3 * (x - x.T) ** 2), linear_kernel([x], 60)]
    y = np.sin(2 * x[:, 0])
    forecast = kernel_ridge(kernels, y[:60], inner_parts(np.arange(60).astype(str), rng))
    assert np.mean((forecast - y[60:]) ** 2) < 0.05 * y.var()


def test_maps_read_no_test_label_and_no_test_row_moves_another(small_card):
    table = read(small_card)
    fold = make_folds(table.year, table.place, table.sample_id, split="year")[0]
    vectors = np.random.default_rng(0).normal(size=(2, len(table), 2, 8)).astype(np.float16)
    said = maps_of(table, fold, vectors, 0)
    assert set(said) == {one.name for one in MAPS}
    target, values = table.target.copy(), table.values.copy()
    target[fold.test] = 99.0
    values[fold.test[1:]] += np.float32(3.0)
    spoiled = vectors.copy()
    spoiled[:, fold.test[1:]] = 7
    other = maps_of(replace(table, target=target, values=values), fold, spoiled, 0)
    for name, forecast in said.items():
        assert np.isfinite(forecast).all()
        assert forecast[0] == pytest.approx(other[name][0], abs=1e-9), name


@pytest.mark.slow
def test_maps_run_as_a_command(small_card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data", str(small_card), "--cache", "cache"]
    assert kernel_baselines.main([*flags, "--out", "maps"]) == 2
    assert render_cache.main([*flags, "--workers", "1", "--encoder", "efficientnet-lite0"]) == 0
    assert kernel_baselines.main([*flags, "--out", "maps"]) == 0
    result = json.loads((tmp_path / "maps" / "result.json").read_text())
    assert set(result["baselines"]) == {one.name for one in MAPS}
