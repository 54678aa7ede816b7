"""One version, and requirements that agree: ranges in pyproject.toml, what is tested together in requirements*.txt."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
UNPINNED = {"ray"}  # its tests run where it is installed; `make test` does not install it


def by_name(requirements):
    return {canonicalize_name(one.name): one for one in map(Requirement, requirements)}


def pinned(name):
    """The requirements of a file, by name, without the files that it includes."""
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
    return by_name(line for line in lines if line and not line.startswith(("#", "-r")))


@pytest.mark.parametrize(
    ("name", "ranges"),
    [
        ("requirements.txt", PROJECT["dependencies"] + EXTRAS["fast"]),
        ("requirements-dev.txt", EXTRAS["dev"] + EXTRAS["docs"] + EXTRAS["cluster"]),
    ],
)
def test_what_is_tested_together_is_in_the_ranges_of_the_package(name, ranges):
    pins, ranges = pinned(name), by_name(ranges)
    assert set(pins) == set(ranges) - UNPINNED
    for name, pin in pins.items():
        (equal,) = pin.specifier
        assert equal.operator == "=="
        assert equal.version in ranges[name].specifier, f"{pin} is outside {ranges[name]}"


def test_torch_is_pinned_in_both():
    pins, ranges = pinned("requirements.txt"), by_name(PROJECT["dependencies"])
    for name in ("torch", "torchvision"):
        assert pins[name].specifier == ranges[name].specifier


def test_the_changelog_and_the_citation_have_the_version_that_is_open():
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == __version__
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_tag_of_typed_packages_is_in_each():
    for init in ROOT.glob("*/__init__.py"):
        if init.parent.name != "benchmarks":
            assert (init.parent / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("program", ["train.py", "render_cache.py", "predict.py", "explain.py", "ablate.py"])
def test_every_program_prints_the_version(program, tmp_path):
    printed = subprocess.run(
        [sys.executable, ROOT / program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert printed.stdout == f"{PROJECT['name']} {__version__}\n"
    assert list(tmp_path.iterdir()) == []
