"""Parse the flags in effect, from the command line, from `--config FILE`, or from a run to resume.

A file has the same names and values as flags and goes through the same parser. The command line takes precedence.
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
from pipeline.parser import parse_or_raise
from pipeline.style import Style
from stages.runs.flag_checks import require_consistent, require_unchanged
from stages.runs.flags import EVERY_YEAR, FIRST_FLAGS, GROUP_FLAGS, Arguments, flag_names

# Flags of earlier versions: their default, and advice if a file sets another value.
RETIRED = {
    "shrink": (True, "left-out rows always set the weights of the learners. Leave the key out."),
}


def parse(given: Sequence[str], description: str) -> Arguments:
    """The flags in effect. Raises InputError for a file that cannot be read, an unknown key, or conflicting flags."""
    given = list(given)
    named = names_of(given)
    resumed, config = value_of(given, "resume"), value_of(given, "config")
    if resumed is not None and config is not None:
        raise InputError("--resume and --config conflict: a resumed run has its own flags. Leave one out.")
    if resumed is not None and "seeds" in named:
        raise InputError("--resume and --seeds conflict: a folder of --seeds is resumed with all its runs. Leave out "
                         "--seeds.")  # fmt: skip
    path = Path(resumed) / "config.json" if resumed is not None else None if config is None else Path(config)
    from_file: dict[str, Any] = {} if path is None else read_flags(path)
    remaining = {name: value for name, value in from_file.items() if name not in named}
    args = parsed([*as_flags(remaining), *given], description)
    if resumed is not None:
        require_unchanged(args, parsed(as_flags(from_file), description), named)
    require_consistent(args, named | set(from_file))
    if args.input.folds == (EVERY_YEAR,):
        args = replace(args, input=replace(args.input, split="leave-year-out", folds=()))
    return args


def parsed(given: Sequence[str], description: str) -> Arguments:
    """The flags of a command line alone. Raises InputError for a flag or a value that train.py does not take."""
    return parse_or_raise(Arguments, given, description, "python train.py", short=FIRST_FLAGS)


def read_flags(path: Path) -> dict[str, Any]:
    """Flags by name (`batch-size`, `style.size`) from a TOML or JSON file. An unknown key raises InputError."""
    if not path.is_file():
        if runs := sorted(path.parent.glob("seed*/config.json")):
            raise InputError(
                f"{path.parent} holds {len(runs)} runs, one per seed. Resume each one that was stopped:\n"
                f"    python train.py --resume {runs[-1].parent}"
            )
        raise InputError(f"there is no {path}. `ls runs/*/config.json` lists the runs that can be resumed or repeated.")
    try:
        text = path.read_text()
        record = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as {'JSON' if path.suffix == '.json' else 'TOML'}: {error}."
        ) from error
    known, flags = flag_names(), {}
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
                raise InputError(
                    f"{path}: there is no flag {name}. The nearest is {near}; `python train.py --help-all` lists all."
                )
            if one is not None:
                flags[name] = one
    return flags


def accepts(name: str, value: str | None = None) -> bool:
    """Whether train.py has a flag of this name (without dashes) and, if the flag lists its values, accepts this one."""
    if name.removeprefix("no-") not in flag_names():
        return False
    part = name.partition(".")[2] or name
    for group in (Arguments, *GROUP_FLAGS, Style):
        kind = get_type_hints(group).get(part.replace("-", "_"))
        if kind is not None and get_origin(kind) is Literal:
            return value in [str(one) for one in get_args(kind)]
    return True


def as_flags(record: Mapping[str, Any]) -> list[str]:
    """Names and values as command-line arguments."""
    flags = []
    for name, value in record.items():
        if isinstance(value, bool) and name != "tensorboard":
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            flags += [f"--{name}", text]
    return flags


def names_of(given: Sequence[str]) -> set[str]:
    """The flags named on a command line; `--no-mixup` names mixup."""
    named = {flag[2:].partition("=")[0].replace("_", "-") for flag in given if flag.startswith("--")}
    return named | {name.removeprefix("no-") for name in named}


def value_of(given: Sequence[str], name: str) -> str | None:
    """The value after `--name` on the command line, or None."""
    for at, flag in enumerate(given):
        if flag == f"--{name}" and at + 1 < len(given):
            return given[at + 1]
        if flag.startswith(f"--{name}="):
            return flag.partition("=")[2]
    return None
