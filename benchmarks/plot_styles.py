"""python -m benchmarks.plot_styles: docs/plot-styles.md. Does it matter how a series is drawn, and how it is embedded?

Every row is one Gaussian process on numbers and pictures with a year effect, beside the same process on numbers alone.
Finished rows are kept in benchmarks/results/plot-styles.jsonl and not made again.

    python -m benchmarks.plot_styles
    python -m benchmarks.plot_styles --encoders transformers:focus-vit-s --data zambia_maize     and another encoder
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import render_cache
from benchmarks.runs import CARDS, ENCODER, ROOT, command
from benchmarks.yield_forecasts import NAMES
from model.calibration import LEAST_GROUPS
from model.encoders import is_by_path, resolve
from model.learners.features import BlockName, FeatureMap
from model.learners.tabular import GP, Tabular, TabularRows
from model.metrics import yield_metrics
from model.threads import threads_for
from pipeline.flags import CACHE
from pipeline.parser import parse_flags
from pipeline.sources import read
from pipeline.splits import Fold, SplitName, make_folds
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import Framing
from report.run import commit, hardware
from stages.inputs.fold_data import Pictures, prepare
from stages.yields.fold_offset import fold_offset
from stages.yields.yield_learners import LabelledRows
from verdict.statistics import compare

RESULTS = ROOT / "benchmarks" / "results" / "plot-styles.jsonl"
PAGE = ROOT / "docs" / "plot-styles.md"
UNTRAINED = "random:efficientnet-lite0"

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """One way to draw and embed. flags: those of `style` and `framing` for render_cache.py."""

    name: str
    style: Style = Style()  # noqa: RUF009  # frozen
    framing: Framing = "halves"
    encoder: str = ENCODER

    @property
    def flags(self) -> list[str]:
        """Flags for render_cache.py."""
        return ["--style.y-range", self.style.y_range, "--style.line-width", str(self.style.line_width),
                "--framing", self.framing, "--encoder", self.encoder]  # fmt: skip


VARIANTS = (
    Variant("as by default: physical y-range, line of 2 px, a picture per half"),
    Variant("y-range of the window (shape without level)", Style(y_range="window")),
    Variant("line of 1 px", Style(line_width=1.0)),
    Variant("line of 4 px", Style(line_width=4.0)),
    Variant("both pictures in the frame of the whole season", framing="season"),
    Variant("untrained encoder", encoder=UNTRAINED),
)
SPLITS: dict[str, tuple[SplitName, ...]] = {
    "zambia_maize": ("leave-year-out",),
    "illinois_soybean": ("place", "leave-year-out", "forward"),
    "demo": ("place",),
    "cybench_maize_ES": ("leave-year-out",),
}


@dataclass(frozen=True)
class Arguments:
    """The rows to make."""

    data: tuple[str, ...] = tuple(SPLITS)
    """Data sets."""
    encoders: tuple[str, ...] = ()
    """Further encoders, with the default style."""
    cache: str = CACHE
    """The cache."""
    made: bool = False
    """Only write the page again, from existing rows."""


def main() -> None:
    """Make the missing rows, then write the page."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.plot_styles")
    identity = {"commit": commit(), "hardware": hardware()}  # read first: a written row would mark the commit
    variants = [*VARIANTS, *(Variant(f"encoder {name}", encoder=name) for name in args.encoders)]
    for data in () if args.made else args.data:
        made = {(row["data"], row["split"], row["variant"]) for row in saved_rows()}
        for variant in variants:
            splits = [split for split in SPLITS[data] if (data, split, variant.name) not in made]
            for row in rows_of(data, splits, variant, args.cache) if splits else ():
                RESULTS.parent.mkdir(parents=True, exist_ok=True)
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row | identity) + "\n")
    PAGE.write_text(page(saved_rows()))


def rows_of(data: str, splits: Sequence[SplitName], variant: Variant, cache: str) -> list[dict[str, Any]]:
    """Draw, embed, and one row per split."""
    table = read(str((ROOT / CARDS[data]).resolve()))
    rows = []
    for split in splits:
        command(render_cache.main, "--data", CARDS[data], "--split", split, "--cache", cache, *variant.flags)
        encoder = resolve(variant.encoder) if is_by_path(variant.encoder) else variant.encoder
        pictures = Pictures.find(
            cache, variant.style, table, encoder=encoder, command="render_cache.py", framing=variant.framing
        )
        folds = make_folds(
            table.year,
            table.place,
            table.sample_id,
            split=split,
            seed=0,
            assigned=table.assigned,
            chosen=(),
            group=table.group,
        )
        rows.append({"data": data, "split": split, "variant": variant.name, **scores(table, folds, pictures)})
    return rows


def scores(table: SeasonTable, folds: Sequence[Fold], pictures: Pictures) -> dict[str, Any]:
    """RMSE with and without pictures on the test rows of all folds, gain in evidence, and share of the variance."""
    test = np.concatenate([fold.test for fold in folds])
    with threads_for(len(table)):
        fits = [one_fold(table, fold, pictures) for fold in folds]
    without, with_pictures = (np.concatenate([fit[f"forecast {name}"] for fit in fits]) for name in ("without", "with"))
    by_year = not folds[0].by_place and len(np.unique(table.year[test])) >= LEAST_GROUPS
    group = table.year[test].astype(str) if by_year else table.place[test]
    difference = compare(table.target[test], group, with_pictures[None], other=without[None]).rmse
    return {
        "rmse without": yield_metrics(table.target[test], without)["rmse"],
        "rmse with": yield_metrics(table.target[test], with_pictures)["rmse"],
        "difference": [difference.value, difference.low, difference.high],
        "groups": f"{len(np.unique(group))} {'years' if by_year else 'places'}",
        "evidence per 100 rows": float(np.mean([fit["evidence"] for fit in fits])),
        "share": float(np.mean([fit["share"] for fit in fits])),
    }


def one_fold(table: SeasonTable, fold: Fold, pictures: Pictures) -> dict[str, Any]:
    """Forecasts of the test rows, t/ha, with and without pictures; gain in log evidence; share of the variance."""
    season = prepare(table, fold, pictures.framing, pictures=pictures).seasons[0]
    fitted = np.sort(np.concatenate([fold.train, fold.valid]))
    offset = fold_offset(table, fold)
    train = LabelledRows.of(table, fold, offset, fitted)
    test = LabelledRows.of(table, fold, offset, fold.test, fitted=fitted)
    found: dict[str, Any] = {}
    evidence = {}
    blocks: dict[str, tuple[BlockName, ...]] = {"without": ("numbers",), "with": ("numbers", "pictures")}
    for name, read_blocks in blocks.items():
        features = FeatureMap.fit(season, fitted, read_blocks)
        every = features.apply(season)
        rows = [TabularRows(every.rows(one.rows), table.place[one.rows], table.year[one.rows], one.offset)
                for one in (train, test)]  # fmt: skip
        learner = Tabular.fit(features, rows[0], train.anomaly, (GP,))
        found[f"forecast {name}"] = np.maximum(test.offset + learner.forecast(rows[1])[GP][:, 0], 0.0)
        evidence[name] = learner.processes[GP].evidence
        found["share"] = learner.shares[GP].get("pictures", 0.0)
    return found | {"evidence": 100 * (evidence["with"] - evidence["without"]) / len(fitted)}


def saved_rows() -> list[dict[str, Any]]:
    """The rows made so far."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The text of docs/plot-styles.md."""
    lines = [
        "# What is drawn, and by what it is embedded",
        "",
        "`python -m benchmarks.plot_styles` writes this page; do not edit it. "
        "**No number here was measured with CLIP.**",
        "",
        "One learner reads the pictures here: the Gaussian process on numbers and pictures with a year effect. It is "
        "compared with the same process on the numbers alone. A difference is the RMSE with pictures minus the RMSE "
        "without, in t/ha, on the test rows of all folds. It is negative if pictures help. Its 95 % interval comes from"
        " resampling whole years if six or more were tested, else whole places. `evidence` is the gain in log marginal "
        "likelihood per 100 training rows. `share` is the part of the anomaly's variance that the process assigns to "
        "the pictures. Both are means over folds. One seed. With so many rows, an interval that just excludes zero is "
        "weak evidence.",
        "",
    ]
    made = {(row["data"], row["split"], row["variant"]) for row in rows}
    for data, split in dict.fromkeys((row["data"], row["split"]) for row in rows):
        here = [row for row in rows if (row["data"], row["split"]) == (data, split)]
        lines += [f"## {NAMES[data]}, {split}", ""]
        lines += [f"Numbers alone: RMSE {here[0]['rmse without']:.3f} t/ha.", ""]
        lines += ["| pictures | RMSE, t/ha | difference (95 %) | evidence | share |", "|---|---|---|---|---|"]
        for row in here:
            value, low, high = row["difference"]
            between = f"{value:+.4f} ({low:+.4f} to {high:+.4f}, {row['groups']})"
            numbers = f"{row['evidence per 100 rows']:+.2f} | {row['share']:.2f}"
            lines.append(f"| {row['variant']} | {row['rmse with']:.4f} | {between} | {numbers} |")
        lines.append("")
    wanted = {(data, split, variant.name) for data in SPLITS for split in SPLITS[data] for variant in VARIANTS}
    if wanted - made:
        lines += [f"Not made yet: {len(wanted - made)} of {len(wanted)} rows. The command above makes them.", ""]
    commits = ", ".join(sorted({row["commit"][:12] for row in rows}))
    return "\n".join([*lines, f"Commit {commits}. {', '.join(sorted({row['hardware'] for row in rows}))}.", ""])


if __name__ == "__main__":
    main()
