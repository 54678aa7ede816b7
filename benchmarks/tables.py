"""make tables: docs/results.md, docs/yield-forecasts.md and the README's table, on real data sets and the demo.

Each row and section is of one matrix of `ablate.py`, by the command shown in docs/results.md. Complete runs are not
made again. Rows of matrices whose runs are not here stay as the pages have them; each row names its commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import yield_forecasts
from benchmarks.matrices import MATRICES, Matrix
from benchmarks.page_tables import sections
from benchmarks.runs import ROOT
from pipeline.parser import parse_flags
from verdict.arms import WITH, WITHOUT

MARKS = "<!-- made by make tables: begin -->", "<!-- end -->"


@dataclass(frozen=True)
class Arguments:
    """The matrices to make."""

    data: tuple[str, ...] = tuple(dict.fromkeys(matrix.data for matrix in MATRICES))
    """Data sets."""
    seeds: int = 1
    """Runs per arm."""
    workers: int = 1
    """Runs side by side."""
    made: bool = False
    """Only write the pages again, from existing verdicts."""


def main() -> None:
    """Make the missing matrices, then write the pages: a changed file would mark the commit of later runs."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.tables")
    every = [replace(matrix, seeds=args.seeds) for matrix in MATRICES]
    if not args.made:
        for matrix in every:
            if matrix.data in args.data:
                matrix.make(args.workers)
    made = [matrix for matrix in every if matrix.done]
    if not made:
        raise SystemExit("No matrix is complete, so the pages stay as they are.")
    results, forecasts, readme = (ROOT / name for name in ("docs/results.md", "docs/yield-forecasts.md", "README.md"))
    results.write_text(page(made, every, results.read_text()))
    forecasts.write_text(yield_forecasts.page(made, forecasts.read_text()))
    yield_forecasts.draw_learners(forecasts.read_text(), ROOT / "docs" / "learners.png")
    put_between(readme, yield_forecasts.short_table(made, readme.read_text()))


def heading(matrix: Matrix) -> str:
    """The heading of its section."""
    return f"{matrix.data}, {matrix.split}"


def section(matrix: Matrix, record: Mapping[str, Any]) -> str:
    """The sentence, and one Markdown table of every arm and baseline with its difference from another."""
    facts, held = record["facts"], record["held_out"]
    other = "place" if held == "year" else "year"
    lines = [
        f"## {heading(matrix)}",
        "",
        f"> {record['sentence']}",
        "",
        f"{record['because']} {facts['test rows']}. {facts['counts']}",
        "",
        "| forecast | seeds | RMSE, t/ha | R2 | MAE | coverage of the 90 % interval | minus | difference, 95 % over "
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


def page(made: Sequence[Matrix], every: Sequence[Matrix], old: str) -> str:
    """The text of docs/results.md. Sections of matrices that were not made stay as the page `old` has them."""
    parts = {title: text for title, text in sections(old).items() if title in map(heading, every)}
    parts |= {heading(matrix): section(matrix, matrix.record()) for matrix in made}
    head = [
        "# Results",
        "",
        "`make tables` writes this page; do not edit it. Every section is one run of `ablate.py`, by the command below "
        "it, with its verdict on pictures by the rule of `docs/verdict.md`. "
        "Each names its hardware. **No number here was measured with CLIP**, because its weights were not available: "
        "EfficientNet-Lite0 (ImageNet weights in a package) embedded the pictures. A verdict here is about this "
        "encoder; what CLIP would add is not known. `--encoder` selects it where its weights are available.",
        "",
        "± is the standard deviation over seeds. A difference is the RMSE of the row minus the RMSE of the forecast in "
        "the column `minus`; it is negative if the row is better. There are two intervals: over the groups that were "
        "held out, and over the other kind of group. `forward` learns from earlier years only. `leave-year-out` also "
        "learns from later years, which a forecast cannot. Do not compare the two.",
        "",
        *(f"Not made: {heading(matrix)}.\n" for matrix in every if heading(matrix) not in parts),
    ]  # fmt: skip
    return "\n".join([*head, *(parts[heading(matrix)] for matrix in every if heading(matrix) in parts)])


def put_between(path: Path, table: str) -> None:
    """Replace the text between the marks of a page."""
    text, (begin, end) = path.read_text(), MARKS
    before, after = text.index(begin) + len(begin), text.index(end)
    path.write_text(f"{text[:before]}\n{table}\n{text[after:]}")


if __name__ == "__main__":
    main()
