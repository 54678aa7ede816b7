"""Find the files that `--data` names: a dataset card, a file, a folder, a glob, or several of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline import demo
from pipeline.card import DatasetCard, safe_name
from pipeline.errors import InputError
from pipeline.sources.files.cybench import cybench_card

TABLES = (".csv", ".csv.gz", ".parquet")
CUBES = (".nc", ".zarr")
_KINDS = ", ".join((*TABLES, *CUBES))


@dataclass(frozen=True)
class Located:
    """Files to read, with the card that describes them; without one they are wide tables.

    A card with several sources finds the files of each when it reads them.
    """

    name: str
    files: tuple[Path, ...]
    card: DatasetCard | None = None


def locate(data: str | Path | Sequence[str | Path]) -> Located:
    """Find the files. Raises `InputError` if something is missing or invalid."""
    if isinstance(data, str | Path):
        found = _expand(data)
        name = _name(Path(data))
    else:
        found = list(dict.fromkeys(path for item in data for path in _expand(item)))
        name = safe_name("+".join(_stem(path) for path in found[:3]))
    if not found:
        raise InputError(f"{data}: no data file is named; give a card (.toml), a file ({_KINDS}), a folder or a glob.")
    for path in found:
        refuse_unreadable(path)
    cards = [path for path in found if path.suffix == ".toml"]
    if not cards and (card := cybench_card(found)) is not None:
        return Located(card.name, (), card)
    if not cards:
        return Located(name, tuple(found))
    if len(found) > 1:
        raise InputError(
            f"{cards[0]}: a dataset card is read alone, but {len(found)} files are named; give one card, which lists "
            "its files itself."
        )
    card = DatasetCard.load(cards[0])
    return Located(card.name, () if card.sources else files_of(card, card.files), card)


def files_of(card: DatasetCard, patterns: Iterable[str], key: str = "files") -> tuple[Path, ...]:
    """The files that a key of a card lists, relative to the card; each entry is a file or a glob."""
    found: list[Path] = []
    for pattern in patterns:
        path = card.path.parent / pattern
        matches = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(str(path)))]
        if not matches:
            origin = f" It comes from {card.source}." if card.source else ""
            raise InputError(
                f"{path}: the file that the dataset card {card.path} lists as {pattern!r} is not there.{origin} Put it "
                f"in that place, or correct `{key}` in the card (paths start from the card's folder)."
            )
        found += matches
    for path in found:
        refuse_unreadable(path)
    return tuple(dict.fromkeys(found))


def refuse_unreadable(path: Path) -> None:
    """Raise `InputError` if this user may not read the file or folder."""
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: you may not read this file. Change its permission (chmod u+r) or copy it.")


def kind_of(path: Path) -> str | None:
    """The ending that says how a file is read, or None."""
    return next((kind for kind in (*TABLES, *CUBES, ".toml") if path.name.lower().endswith(kind)), None)


def advice_on_ending(path: Path) -> str:
    """What to do with a table whose ending is not read, with a blank in front; empty for any other file."""
    ending = path.suffix.lower()
    if ending in (".tsv", ".tab", ".txt", ".dat"):
        return (
            f" If it is a table in text, name it {path.stem}.csv; the sign between its columns is read from the file."
        )
    return " Save the spreadsheet as CSV in UTF-8." if ending in (".xlsx", ".xls", ".ods") else ""


def _expand(item: str | Path) -> list[Path]:
    if not str(item).strip():
        raise InputError(
            f"--data is empty; give a card (.toml), a file ({_KINDS}), a folder or a glob (. is the folder you are in)."
        )
    path = demo.from_here(item)
    if path.is_dir() and path.suffix != ".zarr":
        return _in_folder(path)
    if path.exists():
        if kind_of(path) is None:
            raise InputError(
                f"{path}: a file with this ending is not read; the endings are {_KINDS} and .toml."
                f"{advice_on_ending(path)}"
            )
        return [path]
    if glob.has_magic(str(item)):
        matches = [Path(p) for p in sorted(glob.glob(str(item), recursive=True)) if kind_of(Path(p))]
        if not matches:
            raise InputError(f"{item}: no file matches this pattern; the endings that are read are {_KINDS}.")
        return matches
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = _near(path, beside)
    start = "." if path.is_absolute() else f", which starts in the current folder, {Path.cwd()}."
    hint = f"; did you mean {path.parent / near[0]}?" if near else f"; check the path{start}"
    raise InputError(f"{path}: there is no such file or folder{hint}")


def _near(path: Path, names: Sequence[str]) -> list[str]:
    """The nearest of some names; empty if none is near. Endings such as .toml are not compared."""
    stems: dict[str, str] = {}
    for name in sorted(names, key=lambda name: Path(name).suffix != path.suffix):
        stems.setdefault(Path(name).stem, name)
    return [stems[stem] for stem in get_close_matches(path.stem, stems, n=1)]


def _in_folder(folder: Path) -> list[Path]:
    """Its one card, or its data files; anything else that lies there is left alone."""
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    cards = [p for p in entries if p.suffix == ".toml"]
    if len(cards) > 1:
        raise InputError(f"{folder}: holds {len(cards)} cards ({', '.join(p.name for p in cards)}); name one of them.")
    files = cards or [p for p in entries if kind_of(p)]
    if not files:
        raise InputError(f"{folder}: the folder holds no data file and no card; the endings read are {_KINDS}.")
    return files


def _name(path: Path) -> str:
    """A short name for reports and run folders: the file's or the folder's, or that of the folder a glob looks in."""
    return safe_name(_stem((path if path.exists() else path.parent).resolve()))


def _stem(path: Path) -> str:
    kind = kind_of(path)
    return path.name[: -len(kind)] if kind else path.name
