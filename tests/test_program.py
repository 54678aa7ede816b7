"""Entry points end with the same codes and paragraphs, from the main thread and from any other."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import render_cache
from pipeline import demo
from pipeline.errors import InputError
from pipeline.program import Stopped, Terminated, code_of, run_program

ROOT = Path(__file__).resolve().parents[1]


class Broken(Exception):
    """An error of one program."""


def ends(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("file.csv: no."), 2, "p.py: file.csv: no."),
        (Broken("refused here"), 2, "p.py: refused here"),
        (OSError(28, "No space left"), 1, "p.py: [Errno 28] No space left\nSafe."),
        (MemoryError("3 GB"), 1, "p.py: out of memory (3 GB)\nSafe."),
        (KeyboardInterrupt(), 130, "p.py: stopped. Nothing was written."),
        (Terminated(), 143, "p.py: stopped. Nothing was written."),
        (Stopped(143, "Go on with x."), 143, "p.py: stopped. Go on with x."),
    ],
)
def test_each_end_has_its_code_and_its_paragraph(error, code, message, capsys):
    reported = []
    ended = run_program("p.py", ends(error), refused=(Broken,), after_failure="Safe.", report=reported.append)
    assert ended == code
    assert capsys.readouterr().err.strip() == message
    assert bool(reported) == (code in (1, 2))


def test_what_nobody_expected_is_reported_and_raised():
    reported = []
    with pytest.raises(ZeroDivisionError):
        run_program("p.py", lambda: 1 // 0, report=reported.append)
    assert reported == ["ZeroDivisionError: integer division or modulo by zero"]


def test_a_recommended_command_names_the_program_where_it_lies(monkeypatch, tmp_path, capsys):
    advice = InputError("Run:\n    python train.py --stage 1\nnot `python other.py`.")
    assert run_program("train.py", ends(advice)) == 2
    assert "    python train.py --stage 1" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert run_program("train.py", ends(advice)) == 2
    said = capsys.readouterr().err
    assert f"    python {ROOT / 'train.py'} --stage 1" in said
    assert "`python other.py`" in said


@pytest.mark.parametrize("program", ["train.py", "render_cache.py", "predict.py"])
def test_a_python_without_the_packages_is_told_what_to_do(program, tmp_path):
    (tmp_path / "xxhash.py").write_text("raise ModuleNotFoundError(\"No module named 'xxhash'\", name='xxhash')\n")
    ended = subprocess.run(
        [sys.executable, str(ROOT / program), "--help"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{program}: {sys.executable} has no package xxhash. ")
    assert f"-m pip install -r {ROOT / 'requirements.txt'}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_any_other_error_while_loading_keeps_its_traceback(tmp_path):
    (tmp_path / "xxhash.py").write_text("1 / 0\n")
    ended = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--help"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


@pytest.mark.slow
def test_a_recommended_command_runs_in_another_folder(small_card, tmp_path):
    def run(*words):
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    flags = ["--data", str(small_card), "--stage", "1", "--epochs", "1"]
    refused = run(sys.executable, str(ROOT / "train.py"), *flags)
    assert refused.returncode == 2
    command = next(line.strip() for line in refused.stderr.splitlines() if "render_cache.py" in line)
    program, *given = shlex.split(command)
    assert program == "python"
    assert run(sys.executable, *given, "--encoder", "none", "--dry-run").returncode == 0


ENDED = """
import os, signal, time
from pipeline.program import run_program

def work():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

before = signal.getsignal(signal.SIGTERM)
print(run_program("p.py", work), signal.getsignal(signal.SIGTERM) is before)
"""


def test_sigterm_ends_the_work_and_the_handler_of_before_is_back():
    """In a process of its own, since the signal would end that of the tests if it were not caught."""
    ended = subprocess.run([sys.executable, "-c", ENDED], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert ended.stdout == "143 True\n"
    assert ended.stderr == "p.py: stopped. Nothing was written.\n"
    assert (code_of(Terminated()), code_of(KeyboardInterrupt())) == (143, 130)


def test_a_program_runs_in_a_thread_as_in_a_notebook_server(tmp_path, capsys):
    codes = []
    arguments = ["--data", str(tmp_path / "none.csv"), "--cache", str(tmp_path / "cache")]
    thread = threading.Thread(target=lambda: codes.append(render_cache.main(arguments)))
    thread.start()
    thread.join()
    assert codes == [2]
    assert "none.csv" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("program", sorted(path.name for path in ROOT.glob("*.py") if path.name != "harvest.py"))
def test_ctrl_c_while_modules_load_ends_with_130_and_one_line(program, tmp_path):
    """The module numpy of this folder stands for a long import."""
    (tmp_path / "numpy.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    started = subprocess.Popen([sys.executable, str(ROOT / program), "--help"], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert started.stdout is not None
    while started.stdout.readline() != "loading\n":
        assert started.poll() is None
    started.send_signal(signal.SIGINT)
    _, shown = started.communicate(timeout=30)
    assert (started.returncode, shown) == (130, f"{program}: stopped. Nothing was written.\n")


def test_the_demo_is_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert demo.from_here(demo.CARD) == ROOT / "demo" / "card.toml"
    assert demo.from_here("other.toml") == Path("other.toml")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "card.toml").write_text("")
    assert demo.from_here(demo.CARD) == Path(demo.CARD)
