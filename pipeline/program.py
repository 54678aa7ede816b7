"""Run an entry point: its exit code, the paragraph that a person reads when it fails, and what ends it from outside."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from pipeline.errors import InputError

DONE, FAILED, REFUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143  # exit codes

Errors = tuple[type[Exception], ...]


class Terminated(BaseException):
    """SIGTERM, as the schedulers of clusters send it: seconds remain.

    It is no KeyboardInterrupt, which training takes as "stop here and keep the best weights".
    """


class Stopped(BaseException):
    """Ctrl-C or SIGTERM during a run that can be resumed; `advice` is the sentence that says how."""

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
    """The exit code of `work`: its own, or 1 (failed), 2 (bad input), 130 (Ctrl-C), 143 (SIGTERM).

    name           of the program, in front of every message
    refused        errors beside `InputError` that end in 2
    failed         errors beside `OSError` and `MemoryError` that end in 1
    after_failure  the sentence after such an error: what is safe, and what to run next
    after_stop     the sentence after Ctrl-C or SIGTERM, unless the run gives its own (`Stopped`)
    report         also receives the message of an error, whatever it is
    """
    bad_input: Errors = (InputError, *refused)
    failure: Errors = (OSError, MemoryError, *failed)
    try:
        with sigterm_raises():
            return work()
    except bad_input as error:
        print(f"{name}: {error}", file=sys.stderr)
        report(str(error))
        return REFUSED
    except failure as error:
        message = f"out of memory ({error})" if isinstance(error, MemoryError) else str(error)
        print(f"{name}: {message}" + (f"\n{after_failure}" if after_failure else ""), file=sys.stderr)
        report(message)
        return FAILED
    except (KeyboardInterrupt, Terminated, Stopped) as stop:
        print(f"{name}: stopped. {stop.advice if isinstance(stop, Stopped) else after_stop}", file=sys.stderr)
        return code_of(stop)
    except Exception as error:
        report(f"{type(error).__name__}: {error}")
        raise


def code_of(stop: BaseException) -> int:
    """The exit code of a program that was stopped from outside."""
    if isinstance(stop, Stopped):
        return stop.code
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the block. Only a main thread may set that; in others it ends the process."""
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
