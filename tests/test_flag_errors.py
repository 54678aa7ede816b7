"""A wrong command line is one paragraph with the flag, its value, what is allowed and where to read on; exit code 2."""

import contextlib
import importlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import tyro
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.flag_errors import require_valid
from pipeline.flag_table import flags_of
from pipeline.parser import parse_flags
from tests.programs import MODULES, code_of


@dataclass(frozen=True)
class Inner:
    """A group."""

    size: int = 224
    """Size."""


@dataclass(frozen=True)
class Every:
    """A flag of every kind that the programs have."""

    whole: int = 1
    number: float | None = None
    text: str = "a"
    maybe: str | None = None
    fast: bool = False
    plain: bool = True
    board: bool | None = None
    choice: Literal["year", "place"] = "year"
    offset: Literal["auto"] | Literal["none", "mean"] = "auto"
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (1,)
    path: Path = Path("x")
    style: Inner = field(default_factory=Inner)
    group: tyro.conf.OmitArgPrefixes[Inner] = field(default_factory=Inner)


WORDS = st.sampled_from(
    ["--whole", "--number", "--text", "--maybe", "--fast", "--no-fast", "--no-plain", "--board", "--no-board",
     "--choice", "--offset", "--names", "--sizes", "--path", "--style.size", "--size", "--no-size", "--wholes"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["3", "1.5", "-3", "-.5", "nan", "-inf", "None", "True", "true", "year", "none", "mean", "a=b", "-x", "-", "",
     " 3"]
)  # fmt: skip
LINES = st.lists(st.one_of(WORDS, VALUES, st.builds("{}={}".format, WORDS, VALUES)), max_size=5)


@settings(max_examples=400, deadline=None)
@example(line=["--board=3", "--board=None"])
@given(line=LINES)
def test_a_command_line_is_refused_if_and_only_if_it_cannot_be_parsed(line):
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            tyro.cli(Every, args=line)
            parsed = True
        except SystemExit:
            parsed = False
    allowed = contextlib.nullcontext() if parsed else pytest.raises(InputError, match=r"`python p\.py --help`")
    with allowed:
        require_valid(flags_of(Every), line, "python p.py --help")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--whole", "1.5"], "--whole is '1.5'; it must be a whole number."),
        (["--number", "much"], "--number is 'much'; it must be a number."),
        (["--hole", "3"], "there is no flag --hole. The nearest is --whole."),
        (["--no-whole"], "there is no flag --no-whole. The nearest is --whole."),
        (["-fast"], "there is no flag -fast. The nearest is --fast."),
        (["--zzz"], "there is no flag --zzz. `python p.py --help` lists all flags."),
        (["--choice", "yearr"], "--choice is 'yearr'; it must be year or place. The nearest is year."),
        (["--whole"], "--whole has no value; it must be a whole number."),
        (["--choice=yearr", "--choice=year"], "--choice is 'yearr'; it must be year or place. The nearest is year."),
        (["--fast=True"], "--fast is a switch and takes no value: write --fast or --no-fast."),
        (["--fast", "True"], "'True' stands without a flag. --fast is a switch and takes no value"),
        (["--text", "a.csv", "b.csv"], "'b.csv' stands without a flag. --text takes one value: separate a list with"),
        (["a.csv"], "'a.csv' stands without a flag. Every value follows its flag."),
    ],
)
def test_the_message_names_flag_value_and_what_is_allowed(line, says, capsys):
    with pytest.raises(SystemExit) as ended:
        parse_flags(Every, line, None, "p.py")
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"p.py: {says}")
    assert message.count("\n") == 1


def test_every_required_flag_that_is_missing_is_named_with_an_example(capsys):
    predict, compare, cache = (importlib.import_module(name) for name in ("predict", "report.compare.__main__",
                                                                          "cache.__main__"))  # fmt: skip
    assert code_of(predict, []) == 2
    assert (
        "--run PATH and --data TEXT must be given, as in `python predict.py --run runs/x --data new.csv --out "
        in capsys.readouterr().err
    )
    assert code_of(compare, ["--out", "page.html"]) == 2
    assert "RUNS ... must be given" in capsys.readouterr().err
    assert code_of(cache, []) == 2
    assert "a command must be given; the commands are stats, show, fsck, gc." in capsys.readouterr().err
    assert code_of(cache, ["stat"]) == 2
    assert "there is no command 'stat'; the commands are stats, show, fsck, gc. The nearest is stats." in (
        capsys.readouterr().err
    )
    assert code_of(cache, ["gc", "--min-age", "old"]) == 2
    assert (
        "--min-age is 'old'; it must be a number. `python -m cache gc --help` describes it." in capsys.readouterr().err
    )


@pytest.mark.parametrize("module", MODULES)
def test_no_program_shows_the_boxes_of_the_parser(module, capsys):
    program = importlib.import_module(module)
    for line in (["--help"], ["--help-all"], ["--no-such-flag", "3"], ["stray", "--no-such-flag"]):
        code_of(program, line)
        printed = capsys.readouterr()
        assert "╭" not in printed.out + printed.err
        if "--help" not in line[0]:
            assert printed.err.count("\n") == 1
