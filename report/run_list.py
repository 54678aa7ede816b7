"""runs/index.html: a sortable list of the complete runs of a folder, which every run refreshes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.errors import InputError
from pipeline.plural import plural
from report.atomic_write import write_whole
from report.interactive import Cell, SortedTable, fill_template
from report.run import RunFolder, complete_runs
from report.run_page.sentences import number

HEAD = ("run", "date", "stage", "data", "split", "preset", "seed", "test samples", "RMSE, t/ha", "R2",
        "completion error", "best baseline", "its error")  # fmt: skip


def refresh_list(run: Path) -> Path | None:
    """Write index.html into the `runs` folder that contains a run, directly or as one of several seeds.

    Returns its path; None for a run elsewhere, whose folder is not this program's to fill.
    """
    run = run.resolve()
    folder = run.parents[1] if run.name.startswith("seed") and run.parents[0].name != "runs" else run.parents[0]
    return write_list(folder) if folder.name == "runs" else None


def write_list(folder: Path) -> Path:
    """Write index.html of the complete runs of a folder. Returns its path."""
    rows = []
    for run in complete_runs(folder):
        try:
            rows.append(_row(run, folder))
        except InputError as error:
            print(f"left out of {folder / 'index.html'}: {error}", file=sys.stderr)
    note = (
        "The newest first. Click a heading to sort. The completion error of stage 1 is its RMSE as a share of the "
        "range of each variate. Runs with other data or splits were scored on other rows: do not compare their errors."
    )
    table = SortedTable("runs", plural(len(rows), "run"), note, HEAD, rows)
    text = fill_template(Path(__file__).parent, "run_list.html", [], table=table)
    write_whole(folder / "index.html", lambda path: path.write_text(text, encoding="utf-8"))
    return folder / "index.html"


def _row(run: RunFolder, folder: Path) -> list[Cell]:
    result = run.read_json("result.json")
    metrics, baselines = result["metrics"], result["baselines"]
    name = "rmse" if result["stage"] > 1 else "rmse_over_range"
    best = min(baselines, key=lambda one: float(baselines[one][name]))
    finished = (run.path / "result.json").stat().st_mtime
    where = run.path.relative_to(folder)
    return [
        Cell(str(where), link=f"{quote(where.as_posix())}/report.html" if (run.path / "report.html").is_file() else ""),
        Cell(time.strftime("%Y-%m-%d %H:%M", time.localtime(finished)), finished),
        Cell(str(result["stage"]), result["stage"]),
        Cell(result["data"]),
        Cell(result["split"]),
        Cell(result["preset"] + (f" ({result['control']})" if result.get("control") else "")),
        Cell(str(result["seed"]), result["seed"]),
        Cell(f"{result['n_test']:,}", result["n_test"]),
        *(_score(metrics, one, result["stage"] > 1) for one in ("rmse", "r2")),
        _score(metrics, "rmse_over_range", result["stage"] == 1),
        Cell(best),
        _score(baselines[best], name, True),
    ]


def _score(metrics: dict[str, Any], name: str, shown: bool) -> Cell:
    return Cell(number(metrics[name]), metrics[name]) if shown else Cell("")
