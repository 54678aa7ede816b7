"""The pages name files, modules, links and commands that exist, and the README stays short."""

import importlib.util
import re
import shlex

import pytest
import tyro

import ablate
import complete
import explain
import predict
import pretrain
import render_cache
from stages.runs import flags
from tests.conftest import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "demo/README.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS = {
    "render_cache.py": render_cache.Arguments,
    "train.py": flags.Arguments,
    "predict.py": predict.Arguments,
    "pretrain.py": pretrain.Arguments,
    "complete.py": complete.Arguments,
    "explain.py": explain.Arguments,
    "ablate.py": ablate.Arguments,
}
OURS = ("pipeline", "cache", "model", "report", "stages", "verdict", "benchmarks", "tests", "docs", "cards", "demo")
NOT_OURS = {"examples/tutorial.py", "start_workers.py", "path/to/cybench/maize/ES"}


def commands(page):
    """Commands of the page's code blocks and tables, without the comment behind them."""
    text = page.read_text()
    found = re.findall(r"^    (?:torchrun --nproc-per-node \d )?((?:python )?\S+\.py .*|python .*)$", text, re.M)
    found += re.findall(r"`(python (?:\S+\.py|-m) [^`\n]*)`", text)
    return [re.split(r"\s{2,}|\s#", one)[0].removeprefix("python ") for one in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_has_flags_that_exist(page):
    for command in commands(page):
        name, *given = shlex.split(command.replace("[", "").replace("]", ""))
        if name in PROGRAMS and "--help" not in given and not {"--resume", "--config"} & set(given):
            given = [one for one in given if one not in ("(the", "same", "flags)")]
            tyro.cli(PROGRAMS[name], args=given)
        elif name == "-m":
            assert importlib.util.find_spec(given[0]) is not None, command
        else:
            assert name in PROGRAMS or name in NOT_OURS, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_link_that_a_page_names_exists(page):
    text = page.read_text()
    named = re.findall(rf"`((?:{'|'.join(OURS)})/[\w./-]+\.(?:py|md|toml|html))`", text)
    missing = [name for name in named if not (ROOT / name).is_file()]
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert missing + [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_starts_at_once_and_has_at_most_1000_words():
    text = (ROOT / "README.md").read_text()
    first = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith("    "))
    assert first <= 25
    assert len(text.split()) <= 1000
