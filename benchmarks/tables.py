"""make tables: docs/results.md, from the verdicts on the real data sets and the demo.

Each section is one matrix of `ablate.py`, by the command shown in it. Complete runs are not made again. Sections of a
missing data set are left out, and the page lists them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ablate
from benchmarks.runs import CARDS, ROOT, command
from pipeline.parser import parse_flags
from report.run import hardware
from verdict.arms import WITH, WITHOUT
from verdict.runner import slug

PAIR = ("timesclip", "language-only")
LEAST = (*PAIR, "convolutions")
MARKS = "<!-- made by make tables: begin -->", "<!-- end -->"


@dataclass(frozen=True)
class Matrix:
    """One verdict."""

    data: str
    split: str
    arms: tuple[str, ...] = LEAST
    encoders: tuple[str, ...] = ()
    seeds: int = 2

    @property
    def flags(self) -> list[str]:
        """Flags for ablate.py."""
        flags = ["--data", CARDS[self.data], "--split", self.split, "--seeds", str(self.seeds), "--arms", *self.arms]
        return [*flags, *(("--encoders", *self.encoders) if self.encoders else ())]

    @property
    def shown(self) -> str:
        """The command, as a user would type it."""
        return shlex.join(["python", "ablate.py", *self.flags])

    @property
    def file(self) -> Path:
        """The path of verdict.json."""
        name = re.search(r'^name = "(.*)"', (ROOT / CARDS[self.data]).read_text(), re.M)
        assert name is not None
        return ROOT / "runs" / f"verdict-{slug(name[1])}-{self.split}" / "verdict.json"

    def record(self) -> dict[str, Any]:
        """The content of verdict.json."""
        record: dict[str, Any] = json.loads(self.file.read_text())
        return record


MATRICES = (
    Matrix("illinois_soybean", "forward"),
    Matrix("illinois_soybean", "leave-year-out"),
    Matrix("illinois_soybean", "place"),
    Matrix("zambia_maize", "forward"),
    Matrix("zambia_maize", "leave-year-out"),
    Matrix("demo", "place", PAIR),
)


@dataclass(frozen=True)
class Arguments:
    """The verdicts to make."""

    data: tuple[str, ...] = tuple(dict.fromkeys(matrix.data for matrix in MATRICES))
    """Data sets."""
    seeds: int = 2
    """Runs per arm."""
    made: bool = False
    """Only write the pages again, from existing verdicts."""


def main() -> None:
    """Make the missing verdicts, then write the pages."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.tables")
    wanted = [replace(matrix, seeds=args.seeds) for matrix in MATRICES if matrix.data in args.data]
    if not args.made:
        for matrix in wanted:
            command(ablate.main, *matrix.flags)
    records = {matrix: matrix.record() for matrix in wanted if matrix.file.is_file()}
    write(records)  # at the end, because a changed file would mark the commit of later runs


def section(matrix: Matrix, record: Mapping[str, Any]) -> str:
    """The sentence, and one Markdown table of every arm and baseline with its difference from another."""
    facts, held = record["facts"], record["held_out"]
    other = "place" if held == "year" else "year"
    lines = [
        f"## {matrix.data}, {matrix.split}",
        "",
        f"> {record['sentence']}",
        "",
        f"{record['because']} {facts['test rows']}. {facts['counts']}",
        "",
        "| forecast | seeds | RMSE, t/ha | R2 | MAE | 90 % interval holds | minus | difference, 95 % over "
        f"{held}s | over {other}s | adjusted p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    compared = {one["arm"]: one for one in record["comparisons"]}
    for name, scores in sorted(record["arms"].items(), key=lambda item: item[1]["rmse"]):
        bold = "**" if name in (WITH, WITHOUT) else ""
        holds = f"{scores['coverage_90']:.3f}" if "coverage_90" in scores else ""
        arm = name.replace("<", "&lt;")  # a path's name in brackets would be read as HTML
        cells = [f"{bold}{arm}{bold}", str(scores["seeds"]), _with_sd(scores, "rmse"), _with_sd(scores, "r2"),
                 f"{scores['mae']:.3f}", holds]  # fmt: skip
        lines.append(f"| {' | '.join(cells + _difference(compared.get(name)))} |")
    made = f"Pictures embedded by {facts['encoder']}. Commit {facts['commit of the runs']}. {facts['hardware']}."
    return "\n".join([*lines, "", made, "", f"    {matrix.shown}", ""])


def _difference(one: Mapping[str, Any] | None) -> list[str]:
    if one is None:
        return ["", "", "", ""]
    p = "" if one["holm"] is None else f"{one['holm']:.2g}"
    return [one["against"], _interval(one["difference"]["rmse"]), _interval(one["over_other"]["rmse"]), p]


def _interval(rmse: Mapping[str, float | None]) -> str:
    if rmse["low"] is None or rmse["high"] is None:
        return f"{rmse['value']:+.3f}"
    return f"{rmse['value']:+.3f} ({rmse['low']:+.3f} to {rmse['high']:+.3f})"


def _with_sd(scores: Mapping[str, float], name: str) -> str:
    deviation = scores[f"{name}_sd"]
    return f"{scores[name]:.3f}" + (f" ± {deviation:.3f}" if deviation >= 0.0005 else "")


def write(records: Mapping[Matrix, Mapping[str, Any]]) -> None:
    """Write docs/results.md."""
    made = {(m.data, m.split) for m in records}
    absent = [m for m in MATRICES if (m.data, m.split) not in made]
    head = [
        "# Results",
        "",
        "`make tables` writes this page; do not edit it. Every section is one run of `ablate.py`, by the command below "
        "it, with its verdict on pictures by the rule of `docs/verdict.md`. "
        f"Hardware: {hardware()}. **No number here was measured with CLIP**, because its weights were not available: "
        "EfficientNet-Lite0 (ImageNet weights in a package) embedded the pictures. A verdict here is about this "
        "encoder; what CLIP would add is not known. `--encoder` selects it where its weights are available.",
        "",
        "± is the standard deviation over seeds. A difference is the RMSE of the row minus the RMSE of the forecast in "
        "the column `minus`; it is negative if the row is better. There are two intervals: over the groups that were "
        "held out, and over the other kind of group. `forward` learns from earlier years only. `leave-year-out` also "
        "learns from later years, which a forecast cannot. Do not compare the two.",
        "",
        *(f"Not made: {m.data}, {m.split}.\n" for m in absent),
    ]  # fmt: skip
    sections = [section(matrix, record) for matrix, record in records.items()]
    (ROOT / "docs" / "results.md").write_text("\n".join([*head, *sections]))


def put_between(path: Path, table: str) -> None:
    """Replace the text between the marks of a page."""
    text, (begin, end) = path.read_text(), MARKS
    before, after = text.index(begin) + len(begin), text.index(end)
    path.write_text(f"{text[:before]}\n{table}\n{text[after:]}")


if __name__ == "__main__":
    main()
