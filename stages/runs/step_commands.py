"""The commands that train a run again so that it also forecasts after some steps of the season."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from report.run import RunFolder
from stages.runs.command_line import parse
from stages.runs.commands import render_command
from stages.runs.flags import preset_of


def commands_with_steps(run: Path, result: Mapping[str, Any], steps: Sequence[int]) -> list[str]:
    """Draw and embed the seasons up to `steps`, then train the run and those that it started from; the new run is last.

    result   the run's result.json
    Each new run is beside the old one and named after it. A run it started from that is gone is not trained again.
    """
    text = ",".join(map(str, steps))
    args = parse(["--config", str(run / "config.json"), "--steps", text], "")
    commands = []
    if result["cache_spec"]:
        commands.append(render_command(args, preset_of(args), args.input.encoder or result["encoder"]))
    before: list[str] = []
    for folder in chain(run, result):
        out = new_run(folder)
        command = [
            "python",
            "train.py",
            "--config",
            f"{folder}/config.json",
            "--steps",
            text,
            *before,
            "--out",
            str(out),
        ]
        commands.append(shlex.join(command))
        before = ["--from", str(out)]
    return commands


def new_run(run: Path) -> Path:
    """The folder of the run that takes the place of `run`."""
    return run.with_name(f"{run.name}-steps")


def chain(run: Path, result: Mapping[str, Any]) -> list[Path]:
    """The runs that led to a run, the first one first, and the run itself."""
    source = result["from"] and Path(result["from"])
    if not source or not (source / "result.json").is_file():
        return [run]
    return [*chain(source, RunFolder(source).read_json("result.json")), run]
