"""Parse the flags of a program into its dataclass. Every program has --version, --help and --help-all.

A program with many flags names those that most users need. `--help` then shows only these, and `--help-all` shows all.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import tyro

from pipeline.errors import InputError
from pipeline.flag_errors import require_valid
from pipeline.flag_table import flags_of
from pipeline.help_text import commands_help, full_help, short_help
from pipeline.version import __version__

T = TypeVar("T")
HELP = {"-h", "--help", "--help-all"}
_EXAMPLE = re.compile(r"^ {4}(python .*?)(?: {2,}.*)?$", re.MULTILINE)


def parse_flags(
    kind: type[T],
    arguments: Sequence[str] | None,
    description: str | None,
    program: str,
    *,
    short: Sequence[str] = (),
) -> T:
    """As `parse_or_raise`, but prints the message of a wrong command line and exits with 2."""
    try:
        return parse_or_raise(kind, arguments, description, command_of(program), short=short)
    except InputError as error:
        raise refused(program, error) from None


def parse_command(
    commands: Mapping[str, type[Any]], arguments: Sequence[str] | None, program: str, description: str
) -> Any:
    """Parse the flags of a program with subcommands into the dataclass of the one that was named."""
    given, command = command_line(arguments), command_of(program)
    name, *flags = given or [""]
    if name in HELP:
        print(commands_help(commands, description, command))
        raise SystemExit(0)
    try:
        if name not in commands:
            near = difflib.get_close_matches(name, commands, 1)
            raise InputError(
                (f"there is no command {name!r}" if name else "a command must be given")
                + f"; the commands are {', '.join(commands)}."
                + (f" The nearest is {near[0]}." if near else "")
                + f" `{command} --help` describes them."
            )
        return parse_or_raise(commands[name], flags, commands[name].__doc__, f"{command} {name}")
    except InputError as error:
        raise refused(program, error) from None


def parse_or_raise(
    kind: type[T],
    arguments: Sequence[str] | None,
    description: str | None,
    command: str,
    *,
    short: Sequence[str] = (),
) -> T:
    """Parse a program's flags into the dataclass `kind`.

    arguments    the command line; None: that of this process
    command      how the program is started, as in `python train.py` or `python -m report.data`
    short        the flags that `--help` shows; () for all

    `--version`, `--help` and `--help-all` print and exit with 0. Raises InputError for a wrong command line.
    """
    given, flags, text = command_line(arguments), flags_of(kind), description or ""
    asked = HELP & set(given)
    if asked:
        brief = short and "--help-all" not in asked
        print(short_help(flags, text, command, short) if brief else full_help(flags, text, command))
        raise SystemExit(0)
    example = _EXAMPLE.search(text)
    require_valid(flags, given, f"{command} {'--help-all' if short else '--help'}", example[1] if example else "")
    return tyro.cli(kind, args=given, prog=command)


def command_of(program: str) -> str:
    """The command that starts a program: `python train.py`, `python -m report.data`."""
    return f"python {program}" if program.endswith(".py") else f"python -m {program}"


def command_line(arguments: Sequence[str] | None) -> list[str]:
    """The words of the command line. `--version` prints the version and exits with 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if "--version" in given:
        print(f"timesclip-harvest {__version__}")
        raise SystemExit(0)
    return given


def refused(program: str, error: InputError) -> SystemExit:
    """Print a message as `run_program` does; the exception that ends the program with 2."""
    print(f"{program}: {error}", file=sys.stderr)
    return SystemExit(2)
