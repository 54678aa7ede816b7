"""From the command line, from `--config FILE`, or from a run that is resumed, to the flags in effect.

A file says what flags say, by the same names, and goes through the same parser; what the command line says wins.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.version import parse_flags
from stages.contradictions import refuse_changes, refuse_contradictions
from stages.flags import Arguments, DataFlags, LearningFlags, ModelFlags, RunFlags, SamplingFlags, flag_names

# Flags of runs made before, their default, and what to do where they had another value.
RETIRED = {
    "shrink": (True, "forecasts are always weighed on rows that were left out. Leave the key out."),
}


def parse(given: Sequence[str], description: str) -> Arguments:
    """The flags in effect. Raises InputError for a file that cannot be, an unknown key, or flags that contradict."""
    given = list(given)
    named = names_of(given)
    resumed, config = value_of(given, "resume"), value_of(given, "config")
    if resumed is not None and config is not None:
        raise InputError("--resume and --config contradict each other: a resumed run has its own flags. Leave one out.")
    path = Path(resumed) / "config.json" if resumed is not None else None if config is None else Path(config)
    from_file: dict[str, Any] = {} if path is None else read_flags(path)
    kept = {name: value for name, value in from_file.items() if name not in named}
    args = parse_flags(Arguments, [*as_flags(kept), *given], description)
    if resumed is not None:
        refuse_changes(args, from_file, named)
    refuse_contradictions(args, named | set(from_file))
    if args.input.folds == "year":
        args = replace(args, input=replace(args.input, split="leave-year-out", folds=None))
    return args


def read_flags(path: Path) -> dict[str, Any]:
    """Flags by name (`batch-size`, `style.size`) from a TOML or JSON file; a key that is no flag is an InputError."""
    if not path.is_file():
        if runs := sorted(path.parent.glob("seed*/config.json")):
            raise InputError(
                f"{path.parent} holds {len(runs)} runs, of a seed each. Go on with each that was stopped:\n"
                f"    python train.py --resume {runs[-1].parent}"
            )
        raise InputError(f"there is no {path}. Runs that can be resumed or repeated have one: `ls runs/*/config.json`.")
    try:
        text = path.read_text()
        record = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as {'JSON' if path.suffix == '.json' else 'TOML'}: {error}."
        ) from error
    known, found = flag_names(), {}
    for key, value in record.items():
        inner = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, Mapping) else {key: value}
        for name, one in inner.items():
            name = name.replace("_", "-")
            if name in RETIRED:
                if one != RETIRED[name][0]:
                    raise InputError(f"{path}: {name} = {json.dumps(one)}: {RETIRED[name][1]}")
                continue
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.0)[0]
                raise InputError(f"{path}: there is no flag {name}. The nearest is {near}; `python train.py --help` "
                                 "lists all.")  # fmt: skip
            if one is not None:
                found[name] = one
    return found


def accepts(name: str, value: str | None = None) -> bool:
    """Whether train.py has a flag of this name (no dashes) and, where its values are listed, this value among them."""
    if name.removeprefix("no-") not in flag_names():
        return False
    part = name.partition(".")[2] or name
    for group in (Arguments, DataFlags, ModelFlags, LearningFlags, SamplingFlags, RunFlags, Style):
        kind = get_type_hints(group).get(part.replace("-", "_"))
        if kind is not None and get_origin(kind) is Literal:
            return value in [str(one) for one in get_args(kind)]
    return True


def as_flags(record: Mapping[str, Any]) -> list[str]:
    """Names and values as a command line would give them."""
    flags = []
    for name, value in record.items():
        if isinstance(value, bool) and name != "tensorboard":
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            flags += [f"--{name}", text]
    return flags


def names_of(given: Sequence[str]) -> set[str]:
    """The flags that a command line names: `--no-mixup` is mixup."""
    named = {flag[2:].partition("=")[0].replace("_", "-") for flag in given if flag.startswith("--")}
    return named | {name.removeprefix("no-") for name in named}


def value_of(given: Sequence[str], name: str) -> str | None:
    """What the command line says after `--name`, if it does."""
    for at, flag in enumerate(given):
        if flag == f"--{name}" and at + 1 < len(given):
            return given[at + 1]
        if flag.startswith(f"--{name}="):
            return flag.partition("=")[2]
    return None
