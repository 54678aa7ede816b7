"""Progress of a stage: on a terminal a live bar with rate and remaining time, elsewhere plain lines."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_EVERY = 60.0  # seconds between plain lines; a short part has one line
WIDTH = 80  # columns where the terminal does not say how many it has


def say(text: str) -> None:
    """Print a sentence or paragraph: wrapped at words on a terminal, one line elsewhere."""
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size((WIDTH, 24)).columns, 20)
        lines = text.splitlines() or [""]
        text = "\n".join(
            textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False, subsequent_indent=_indent(line))
            for line in lines
        )
    print(text, flush=True)


def _indent(line: str) -> str:
    return " " * (len(line) - len(line.lstrip()))


@contextmanager
def stage_progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of rows just finished. Prints nothing when there is nothing to do."""
    if total == 0:
        yield lambda rows: None
        return
    if not is_terminal():
        yield _plain_lines(name, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    started, done = time.perf_counter(), 0
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task(name, total=total, rate="")

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            bar.update(task, advance=rows, rate=f"{done / (time.perf_counter() - started):.0f}/s")

        yield advance


def is_terminal() -> bool:
    """Whether a live bar can be shown.

    rich decides, but takes 0.1 s to import. So it is not imported for a pipe, unless FORCE_COLOR or the like is set.
    """
    if not sys.stdout.isatty() and not {"FORCE_COLOR", "TTY_COMPATIBLE"} & set(os.environ):
        return False
    from rich.console import Console

    return Console().is_terminal


def _plain_lines(name: str, total: int) -> Callable[[int], None]:
    started = last = time.perf_counter()
    done = 0

    def advance(rows: int) -> None:
        nonlocal done, last
        done += rows
        now = time.perf_counter()
        if done < total and now - last < LINE_EVERY:
            return
        last, rate = now, done / (now - started)
        left = f", {(total - done) / rate:.0f} s left" if done < total else ""
        print(f"{name}: {done}/{total}, {rate:.0f}/s{left}", flush=True)

    return advance
