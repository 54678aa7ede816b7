"""Imports point one way, and heavy libraries have one home each."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FIRST_PARTY = {pattern.removesuffix("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
# What a package may import of the others. Entry points (`__main__.py` too) may import everything.
ARROWS = {
    "pipeline": set(),
    "model": set(),
    "cache": {"pipeline"},
    "report": {"pipeline"},
    "stages": {"pipeline", "cache", "model", "report"},
    "verdict": {"pipeline", "cache", "model", "report", "stages"},
}
# What folders may import of the others beside them. The modules beside the folders of `pipeline/sources` build the
# table from all of them but `joins`, which only the entrance, `__init__.py`, imports.
FOLDERS = {
    "pipeline/sources": {"names": set(), "times": set(), "files": {"names"}, "checks": {"names", "files"}},
    "stages": {
        "inputs": set(),
        "completion": {"inputs", "stage"},
        "yields": {"inputs", "stage", "completion"},
        "runs": {"inputs", "stage", "completion", "yields"},
    },
}
# Which packages (or single modules) may name a heavy library at all, even inside a function.
HOMES = {
    "torch": {"model", "stages", "report"},
    "matplotlib": {"pipeline/matplotlib_renderer.py"},
    "zarr": {"pipeline/sources"},  # cubes of users; the cache writes and reads its own shards
    "xarray": {"pipeline/sources"},
    "open_clip": {"model/encoders"},
    "transformers": {"model/encoders", "model/backbones/bert.py"},
    "timm": {"model/encoders"},
    "openvino": {"model/encoders/backends.py"},
    "aquacrop": {"pipeline/simulate.py"},
    "sklearn": {"model"},
    "joblib": {"cache", "pipeline/simulate.py", "verdict/runner.py"},
    "plotly": {"report/interactive.py"},
}


@cache
def imports(path):
    """Every top-level package that a file names in an import statement."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return frozenset(found)


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def test_every_folder_of_modules_is_a_package_of_the_wheel_or_no_part_of_it():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - {"benchmarks"} == FIRST_PARTY == set(ARROWS)


def test_mypy_checks_every_package_and_program():
    programs = {path.name for path in ROOT.glob("*.py")}
    assert FIRST_PARTY | programs | {"tests", "benchmarks"} <= set(PROJECT["tool"]["mypy"]["files"])


def test_no_test_imports_another_test():
    wrong = [
        path.name
        for path in (ROOT / "tests").glob("*.py")
        if re.search(r"(from|import) tests\.test_", path.read_text())
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(FIRST_PARTY))
def test_packages_import_only_along_the_arrows(package):
    assert modules(package)
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        if path.name != "__main__.py"
        for name in imports(path)
        if name in FIRST_PARTY - {package} - ARROWS[package]
    ]
    assert wrong == []


def imported_modules(path):
    """The modules of the project that a file imports, even inside a function, as paths."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            module = ROOT.joinpath(*node.module.split("."))
            for name in node.names:
                candidates = (module / f"{name.name}.py", module / name.name / "__init__.py", module.with_suffix(".py"))
                found |= {one for one in candidates if one.is_file()}
    return found - {path}


def test_no_modules_import_each_other():
    graph = {path: imported_modules(path) for package in FIRST_PARTY for path in modules(package)}
    assert sum(map(len, graph.values())) > 500
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle
    assert order.index(ROOT / "pipeline" / "style.py") < order.index(ROOT / "pipeline" / "render.py")


def parts_of(package, path):
    """The folders and modules of a package that a file imports, by their names in the package."""
    inside = [one.relative_to(ROOT / package) for one in imported_modules(path) if one.is_relative_to(ROOT / package)]
    return {one.parts[0].removesuffix(".py") for one in inside}


@pytest.mark.parametrize(("package", "folder"), [(one, folder) for one, arrows in FOLDERS.items() for folder in arrows])
def test_folders_import_only_along_the_arrows(package, folder):
    files = modules(f"{package}/{folder}")
    assert files
    wrong = {path.name: parts_of(package, path) - {folder} - FOLDERS[package][folder] for path in files}
    assert {name: parts for name, parts in wrong.items() if parts} == {}


def test_only_the_entrance_of_sources_imports_the_joins():
    beside = [path for path in (ROOT / "pipeline" / "sources").glob("*.py") if path.name != "__init__.py"]
    assert len(beside) > 10
    assert [path.name for path in beside if "joins" in parts_of("pipeline/sources", path)] == []


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_heavy_library_has_one_home(library):
    wrong = [
        str(path.relative_to(ROOT))
        for package in FIRST_PARTY
        for path in modules(package)
        if library in imports(path) and not any(str(path.relative_to(ROOT)).startswith(home) for home in HOMES[library])
    ]
    assert wrong == []


def test_no_module_is_named_after_nothing():
    names = {path.stem for package in FIRST_PARTY for path in modules(package)}
    assert not names & {"utils", "helpers", "common", "base", "manager", "misc"}


def test_no_function_takes_more_than_five_positional_arguments():
    many = []
    for path in (*(path for package in FIRST_PARTY for path in modules(package)), *ROOT.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not any("compiled" in ast.unparse(d) for d in node.decorator_list):
                taken = [one.arg for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")]
                if len(taken) > 5:
                    many.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert many == []


def test_workers_import_neither_torch_nor_zarr_nor_encoders():
    code = "import sys, cache.fill; print([m for m in ('torch', 'zarr', 'open_clip', 'pandas') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
