"""The results: one JSON object per (data, look-back, horizon, model, seed), appended as soon as it is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).resolve().parents[1] / "results" / "forecasting"
PAPER = "arXiv 2506.24124v2, as printed there: none of it was measured here"
PAPER_FILE = "paper"


class Cell(NamedTuple):
    """The identity of one result."""

    data: str
    look_back: int
    horizon: int
    model: str
    seed: int


def read(data: str, folder: Path | None = None) -> dict[Cell, dict[str, Any]]:
    """Finished cells of a data set, from `folder` or RESULTS; for a cell that was run twice, the last one."""
    path = (folder or RESULTS) / f"{data}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return {Cell(*(row[name] for name in Cell._fields)): row for row in rows}


def data_sets(folder: Path | None = None) -> list[str]:
    """The data sets that have results, by name."""
    return sorted(path.stem for path in (folder or RESULTS).glob("*.jsonl") if path.stem != PAPER_FILE)


def append(cell: Cell, record: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Append one result to the file, and return it."""
    row = cell._asdict() | dict(record)
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{cell.data}.jsonl").open("a") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")
    return row


def of_paper() -> list[dict[str, Any]]:
    """Figures of the TimesCLIP paper on ILI (one seed, 2024); horizon None is the mean of all four."""
    printed = [
        ("TimesCLIP", 24, 2.007, 0.869),
        ("TimesCLIP", 36, 2.160, 0.910),
        ("TimesCLIP", 48, 1.849, 0.845),
        ("TimesCLIP", 60, 1.927, 0.889),
        ("TimesCLIP", None, 1.986, 0.878),
        ("iTransformer", None, 2.261, 0.961),
        ("PatchTST", None, 2.137, 0.892),
    ]
    return [
        {
            "data": "ili",
            "look_back": 36,
            "horizon": horizon,
            "model": f"{model}, paper",
            "mse": mse,
            "mae": mae,
            "source": PAPER,
        }
        for model, horizon, mse, mae in printed
    ]


def write_paper(folder: Path | None = None) -> None:
    """Write paper.jsonl, beside the measured results."""
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{PAPER_FILE}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_paper()))
