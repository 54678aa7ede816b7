"""The version of this project, which every program prints with `--version`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypeVar

import tyro

__version__ = "0.2.0"  # pyproject.toml, result.json and `--version` read it here

T = TypeVar("T")


def parse_flags(kind: type[T], arguments: Sequence[str] | None, description: str | None) -> T:
    """Read a program's flags into the dataclass `kind`. `--version` prints the version and exits with 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if "--version" in given:
        print(f"timesclip-harvest {__version__}")
        raise SystemExit(0)
    return tyro.cli(kind, args=given, description=f"{description or ''}\n\n--version prints the version.")
