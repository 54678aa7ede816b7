"""Run an entry point: exit codes, error messages, Ctrl-C and SIGTERM."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from pipeline import loading
from pipeline.errors import InputError

DONE, FAILED, REFUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143  # exit codes

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = re.compile(r"\bpython (\w+\.py)\b")

Errors = tuple[type[Exception], ...]


class Terminated(BaseException):
    """SIGTERM, which cluster schedulers send seconds before they kill a job.

    It is not a KeyboardInterrupt, because training answers that by stopping and keeping the best weights.
    """


class Stopped(BaseException):
    """Ctrl-C or SIGTERM during a run that can be resumed. `advice` is the sentence that explains how."""

    def __init__(self, code: int, advice: str) -> None:
        super().__init__(advice)
        self.code, self.advice = code, advice


def run_program(
    name: str,
    work: Callable[[], int],
    *,
    refused: Errors = (),
    failed: Errors = (),
    after_failure: str = "",
    after_stop: str = "Nothing was written.",
    report: Callable[[str], object] = lambda message: None,
) -> int:
    """Run `work` and return its exit code, or 1 (failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM).

    name           name of the program, printed before every message
    refused        errors that exit with 2, in addition to `InputError`
    failed         errors that exit with 1, in addition to `OSError` and `MemoryError`
    after_failure  sentence printed after such an error: what is safe, and what to run next
    after_stop     sentence printed after Ctrl-C or SIGTERM, unless the run gives its own (`Stopped`)
    report         also receives the message of every error
    """
    bad_input: Errors = (InputError, *refused)
    failure: Errors = (OSError, MemoryError, *failed)
    loading.restore()
    try:
        with sigterm_raises():
            return work()
    except bad_input as error:
        print(f"{name}: {from_here(str(error))}", file=sys.stderr)
        report(str(error))
        return REFUSED
    except failure as error:
        message = f"out of memory ({error})" if isinstance(error, MemoryError) else str(error)
        print(from_here(f"{name}: {message}" + (f"\n{after_failure}" if after_failure else "")), file=sys.stderr)
        report(message)
        return FAILED
    except (KeyboardInterrupt, Terminated, Stopped) as stop:
        advice = stop.advice if isinstance(stop, Stopped) else after_stop
        print(from_here(f"{name}: stopped. {advice}"), file=sys.stderr)
        return code_of(stop)
    except SystemExit as ended:
        if ended.code == REFUSED:  # of wrong flags, whose message is printed
            return REFUSED
        raise
    except Exception as error:
        report(f"{type(error).__name__}: {error}")
        raise


def from_here(message: str) -> str:
    """The message with commands that work in the current folder: `python train.py` with the path of train.py."""

    def located(found: re.Match[str]) -> str:
        program = ROOT / found[1]
        return found[0] if Path(found[1]).is_file() or not program.is_file() else f"python {shlex.quote(str(program))}"

    return PROGRAM.sub(located, message)


def code_of(stop: BaseException) -> int:
    """The exit code of a program that was stopped from outside."""
    if isinstance(stop, Stopped):
        return stop.code
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Make SIGTERM raise `Terminated` in the block. Outside the main thread this is impossible and nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(signum: int, frame: object) -> NoReturn:
    raise Terminated
