"""Every program has --version and --help, and names itself in its messages as a person starts it."""

import importlib

import pytest

from pipeline.version import __version__
from tests.programs import MODULES, code_of


def started_as(module):
    name = module.removesuffix(".__main__")
    return f"python -m {name}" if "." in module else f"python {name}.py"


@pytest.mark.parametrize("module", MODULES)
def test_version_help_and_the_message_of_an_unknown_flag(module, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    program = importlib.import_module(module)
    for flag, shown in (("--version", __version__), ("--help", started_as(module)), ("--help-all", started_as(module))):
        assert code_of(program, [flag]) == 0
        assert shown in capsys.readouterr().out
    assert code_of(program, ["--no-such-flag"]) == 2
    assert f"{started_as(module)} --help" in capsys.readouterr().err
