"""The files that a season table is read from, and what each of them contributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.card import DatasetCard, SourceCard, is_there
from pipeline.sources.files.locate_files import files_of, locate
from pipeline.sources.yield_history import history_files


@dataclass(frozen=True)
class FileRead:
    """A file (or the folder of a Zarr cube), what is read from it in words, and whether that includes series."""

    path: Path
    gives: str
    gives_series: bool = False

    @property
    def bytes(self) -> int:
        """Its size on disk; 0 for a card that this project ships."""
        files = self.path.rglob("*") if self.path.is_dir() else (self.path,)
        return sum(path.stat().st_size for path in files if path.is_file())


def files_read(data: str | Path) -> tuple[FileRead, ...]:
    """Every file behind `data`, in the order of the card. Raises `InputError` as `locate` does."""
    found = locate(data)
    if found.card is None:
        return tuple(FileRead(path, "series and yields", True) for path in found.files)
    return tuple(_of_card(found.card, found.files))


def _of_card(card: DatasetCard, files: tuple[Path, ...]) -> Iterator[FileRead]:
    yield FileRead(
        card.path, "dataset card" if card.path.exists() else "dataset card of the project, recognised by the file names"
    )
    gives = "series and yields" if card.target else "series"
    yield from (FileRead(path, gives, True) for path in files)
    for source in card.sources:
        there = [pattern for pattern in source.files if is_there(card.path, pattern)]
        yield from (FileRead(path, _given(source), bool(source.series)) for path in files_of(card, there))
    yield from (FileRead(path, "known yields of earlier years") for path in history_files(card))
    if card.geometry is not None:
        yield from (FileRead(path, "positions") for path in files_of(card, [card.geometry], "geometry"))


def _given(source: SourceCard) -> str:
    """What is read from a source of a join: names of variates and static columns, yield, calendar, positions."""
    parts = [variate.name for variate in source.series]
    parts += ["yield"] if source.target else []
    parts += source.static
    parts += ["calendar"] if source.calendar else []
    parts += ["positions"] if source.latitude else []
    return ", ".join(parts)
