"""What the programs print: tables of at most six rows, at most 80 columns, colours on a terminal only."""

import os
import pty
import re
import subprocess
import sys

import pytest

from report import progress, summary
from report.progress import say, stage_progress
from report.run import RunFolder
from report.run_list import write_list
from tests.conftest import CARD, ROOT, small_seasons

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def made(path, stage=2):
    """A run folder with a result of many baselines."""
    path.mkdir(parents=True)
    baselines = {"place mean": 0.9, "offset alone": 0.8, "ridge": 0.3, "GP on convolutions": 0.2, "random forest": 0.25,
                 "gradient boosting on residual": 0.4}  # fmt: skip
    scores = {name: {"rmse": rmse, "r2": 1 - rmse, "mae": rmse} for name, rmse in baselines.items()}
    if stage == 1:
        scores = {name: dict.fromkeys(summary.COLUMNS[1], 0.5) for name in ("persistence", "climatology")}
    metrics = dict.fromkeys(summary.COLUMNS[stage], 0.35)
    RunFolder(path).write_json("result.json", {
        "stage": stage, "data": "made", "split": "forward", "folds": ["2021", "2022"], "preset": "timesclip", "seed": 0,
        "n_test": 1200, "metrics": metrics, "baselines": scores, "control": None})  # fmt: skip
    return RunFolder(path)


def test_a_stage_ends_with_the_run_its_best_baselines_place_mean_and_offset(tmp_path, capsys):
    summary.print_scores(made(tmp_path / "run"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0] == "made, stage 2: 1,200 test samples, years 2021 and 2022"
    names = [re.split(r"\s{2,}", line.strip())[0] for line in lines[3:9]]
    assert names == ["timesclip (this run)", "GP on convolutions", "random forest", "ridge", "place mean",
                     "offset alone"]  # fmt: skip
    assert lines[9] == "3 of 6 baselines have a lower RMSE; the best is GP on convolutions (0.200 t/ha)."
    assert lines[10] == f"page: {tmp_path / 'run' / 'report.html'}"
    assert len(lines) == 11
    assert all(len(line) <= 80 for line in lines[:9])


def test_stage_1_has_both_baselines(tmp_path, capsys):
    summary.print_scores(made(tmp_path / "run", stage=1))
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith(" ")]
    assert names[2:] == ["timesclip", "persistence", "climatology"]


def test_the_demo_ends_with_three_lines(tmp_path, capsys):
    runs = tmp_path / "runs"
    made(runs / "one", stage=1)
    made(runs / "two")
    assert summary.main(["--runs", str(runs), "--short"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "RMSE, t/ha on 1,200 test samples: 0.350, best baseline (GP on convolutions): 0.200",
        f"pages of the runs: {runs / 'one' / 'report.html'} {runs / 'two' / 'report.html'}",
        f"all runs: {runs / 'index.html'}",
    ]
    assert (runs / "index.html").read_text() == write_list(runs).read_text()


def test_a_sentence_is_wrapped_on_a_terminal_only(capsys, monkeypatch):
    text = "word " * 40 + "end"
    say(text)
    assert capsys.readouterr().out == text + "\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    say(text)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines) == text


def test_a_part_that_ends_within_a_minute_has_one_line(capsys):
    with stage_progress("draw", 1000) as advance:
        for _ in range(10):
            advance(100)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("draw: 1000/1000, ")


def test_a_longer_part_has_a_line_a_minute_with_the_time_left(capsys, monkeypatch):
    clock = iter([0.0, 30.0, 61.0, 90.0, 120.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))  # type: ignore[attr-defined]
    with stage_progress("draw", 400) as advance:
        for _ in range(4):
            advance(100)
    assert capsys.readouterr().out.splitlines() == ["draw: 200/400, 3/s, 61 s left", "draw: 400/400, 3/s"]


def on_a_terminal(command, cwd, **environment):
    """What a command writes to a terminal of 80 columns."""
    main, second = pty.openpty()
    env = os.environ | {"COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(ROOT)} | environment
    env.pop("CI", None)
    started = subprocess.Popen(command, cwd=cwd, stdout=second, stderr=second, stdin=second, env=env)
    os.close(second)
    chunks = []
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(main)
    assert started.wait() == 0, b"".join(chunks).decode()
    return b"".join(chunks).decode()


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Both programs on a terminal, with colours and without, and through a pipe."""
    folder = tmp_path_factory.mktemp("terminal")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", "card.toml", "--cache", "cache"]
    render = [sys.executable, str(ROOT / "render_cache.py"), *flags, "--encoder", "none"]
    one = [sys.executable, str(ROOT / "train.py"), "--stage", "1", "--preset", "language-only", "--epochs", "3", *flags]
    return {
        "render": on_a_terminal(render, folder),
        "train": on_a_terminal(one, folder),
        "plain": on_a_terminal(one, folder, NO_COLOR="1"),
        "pipe": subprocess.run(one, cwd=folder, capture_output=True, text=True, check=True).stdout,
    }


@pytest.mark.slow
def test_a_terminal_of_80_columns_is_wide_enough(seen):
    for name in ("render", "train", "plain"):
        lines = re.split(r"[\r\n]+", ESCAPE.sub("", seen[name]))
        assert max(len(line.rstrip()) for line in lines if "/" not in line) <= 80, name  # a path cannot be wrapped


@pytest.mark.slow
def test_colours_are_for_terminals_and_stop_with_no_color(seen):
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m|\x1b\[38;")
    assert colour.search(seen["train"])
    assert not colour.search(seen["plain"])
    assert "\x1b" not in seen["pipe"]


@pytest.mark.slow
def test_the_first_line_says_what_was_read_and_the_last_what_was_done(seen):
    lines = [line for line in re.split(r"[\r\n]+", ESCAPE.sub("", seen["render"])) if line.strip()]
    assert lines[0].startswith("small: 84 samples x 2 variates x 12 steps.")
    assert any(line.startswith("done in ") for line in lines[-3:])


@pytest.mark.slow
def test_no_epoch_is_printed_without_verbose(seen):
    assert "epoch   1" not in seen["pipe"]
    assert re.search(
        r"^fold 2022: training, \d+ s, stopped after epoch 3; lowest validation error: ", seen["pipe"], re.M
    )
