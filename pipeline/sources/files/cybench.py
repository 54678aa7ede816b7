"""The folder layout of CY-Bench, one file per source, crop and country, which is recognised without a card."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pipeline.card import DatasetCard

TEMPLATE = Path(__file__).resolve().parents[3] / "cards" / "cybench.toml"
_FILE = re.compile(r"(yield|crop_calendar|ndvi|fpar)_(.+)\.csv")


def cybench_card(files: Sequence[Path]) -> DatasetCard | None:
    """The card that this project ships for CY-Bench, if the files are those of a CY-Bench folder; else None.

    Such a folder has yields, a calendar, and NDVI or FPAR, all of the same crop and country.
    """
    matches = [match for path in files if (match := _FILE.fullmatch(path.name))]
    kinds, names = {match[1] for match in matches}, {match[2] for match in matches}
    if not {"yield", "crop_calendar"} < kinds or len(names) != 1 or len({path.parent for path in files}) != 1:
        return None
    name = names.pop()
    keys = tomllib.loads(TEMPLATE.read_text(encoding="utf-8"))
    return DatasetCard.from_keys({**keys, "name": name, "crop": name.split("_")[0]}, files[0].parent / TEMPLATE.name)
