"""Parse the flags of a program into its dataclass. Every program has --version, --help and --help-all.

A program with many flags names those that most users need. `--help` then shows only these, and `--help-all` shows all.
"""

from __future__ import annotations

import ast
import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from pipeline.version import __version__

T = TypeVar("T")
FLAG_WIDTH = 26  # columns of the flags in the short help
METAVARS = {str: "TEXT", int: "N", float: "NUMBER", Path: "PATH", tuple: "A,B"}


def parse_flags(
    kind: type[T],
    arguments: Sequence[str] | None,
    description: str | None,
    program: str,
    *,
    short: Sequence[str] = (),
) -> T:
    """Parse a program's flags into the dataclass `kind`.

    arguments    the command line; None: that of this process
    program      its file or module, as in `train.py` or `report.data`
    short        the flags that `--help` shows; () for all

    `--version`, `--help` and `--help-all` print and exit with 0, an unknown flag exits with 2.
    """
    given = prepare(arguments, short != ())
    if short and ("--help" in given or "-h" in given):
        print(short_help(kind, description or "", program, short))
        raise SystemExit(0)
    given = ["--help" if one == "--help-all" else one for one in given]
    return tyro.cli(kind, args=given, description=description, prog=command_of(program))


def parse_command(
    commands: Mapping[str, type[Any]], arguments: Sequence[str] | None, program: str, description: str
) -> Any:
    """Parse the flags of a program with subcommands into the dataclass of the one that was named."""
    given = prepare(arguments, False)
    return tyro.extras.subcommand_cli_from_dict(
        dict(commands), args=given, prog=command_of(program), description=description
    )


def command_of(program: str) -> str:
    """The command that starts a program: `python train.py`, `python -m report.data`."""
    return f"python {program}" if program.endswith(".py") else f"python -m {program}"


def prepare(arguments: Sequence[str] | None, has_short_help: bool) -> list[str]:
    """The command line as tyro takes it. `--version` prints the version and exits with 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if "--version" in given:
        print(f"timesclip-harvest {__version__}")
        raise SystemExit(0)
    return given if has_short_help else ["--help" if one == "--help-all" else one for one in given]


def short_help(kind: type[Any], description: str, program: str, names: Sequence[str]) -> str:
    """The help of the flags `names` of a dataclass, in that order, below the first two paragraphs of `description`."""
    flags = {field.name.rstrip("_").replace("_", "-"): (owner, field) for owner, field in leaves(kind)}
    width = min(shutil.get_terminal_size((100, 40)).columns, 110)
    title, examples, *_ = description.strip().split("\n\n")
    lines = [f"usage: {command_of(program)} [FLAGS]", "", *title.splitlines(), "", *examples.splitlines(), ""]
    for name in names:
        owner, field = flags[name]
        label = f"  --{name} {metavar(get_type_hints(owner)[field.name])}".rstrip()
        text = documentation(owner)[field.name] + default_of(field)
        wrapped = textwrap.wrap(" ".join(text.split()), width - FLAG_WIDTH)
        if len(label) >= FLAG_WIDTH - 1:
            lines.append(label)
            label = ""
        lines += [f"{label:{FLAG_WIDTH}}{wrapped[0]}", *(" " * FLAG_WIDTH + line for line in wrapped[1:])]
    rest = len(flags) - len(names)
    return "\n".join(
        [*lines, "", f"--help-all shows these and {rest} more flags, in groups. --version prints the version."]
    )


def leaves(kind: type[Any]) -> Iterator[tuple[type[Any], Field[Any]]]:
    """Every flag of a dataclass and of the groups nested in it, with the class that holds it."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        inner = hints[field.name]
        if isinstance(inner, type) and is_dataclass(inner):
            yield from leaves(inner)
        else:
            yield kind, field


def documentation(kind: type[Any]) -> dict[str, str]:
    """The text below each field of a dataclass or pydantic model, also of inherited ones."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if "__annotations__" not in vars(owner):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for one, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(text, ast.Expr):
                found[one.target.id] = str(ast.literal_eval(text.value))
    return found


def metavar(hint: Any) -> str:
    """What a flag of this type takes: {a,b} for choices, else N, NUMBER, PATH, TEXT; empty for a switch."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = [one for one in get_args(hint) if one is not type(None)][:1]
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, get_args(hint))) + "}"
    return METAVARS.get(get_origin(hint) or hint, "")


def default_of(field: Field[Any]) -> str:
    """The default in brackets; empty if there is none, or if the text of the flag explains it."""
    shown = field.default is not MISSING and not isinstance(field.default, bool) and field.default not in (None, ())
    return f" [{field.default}]" if shown else ""
