"""verdict.html: one file that opens offline, with sortable tables and interactive charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from model.calibration import LEAST_GROUPS
from report.interactive import BLUE, GREY, RED, Cell, Chart, SortedTable, fill_template, picture
from verdict.arms import WITH, WITHOUT
from verdict.decision import LEVEL, Verdict
from verdict.render_costs import Price
from verdict.results import Comparison, MatrixResults, rmse_by_group, spread
from verdict.statistics import Interval


@dataclass(frozen=True, eq=False)
class Contents:
    """Everything on the page."""

    data: str
    split: str
    verdict: Verdict
    outcomes: MatrixResults
    comparisons: Sequence[Comparison]
    costs: Mapping[str, Mapping[str, float | bool]]
    rendering: Mapping[str, Price]
    left_out: Mapping[str, str]
    failures: Sequence[str]
    sheets: Mapping[str, Image.Image]
    commands: Sequence[str]
    facts: Mapping[str, str]


def page(contents: Contents) -> str:
    """The whole HTML text."""
    charts = [
        differences_chart(contents.comparisons),
        seeds_chart(contents.outcomes),
        groups_chart(contents.outcomes),
        cost_chart(contents),
    ]
    return fill_template(
        Path(__file__).parent,
        "page.html",
        charts,
        c=contents,
        least=LEAST_GROUPS,
        tables=[arms_table(contents), comparisons_table(contents), *rendering_tables(contents)],
        sheets={name: picture(image) for name, image in contents.sheets.items()},
    )


def arms_table(contents: Contents) -> SortedTable:
    """Table of every arm and baseline: scores, spread, seconds, memory."""
    rows = []
    for name, arm_forecasts in contents.outcomes.arms.items():
        scores, cost = spread(arm_forecasts, contents.outcomes.truth), contents.costs.get(name)
        seconds = "" if cost is None else f"{'≥ ' if cost['resumed'] else ''}{cost['seconds']:.0f}"
        rows.append(
            [
                Cell(name),
                Cell(arm_forecasts.arm.group),
                Cell(_with_sd(scores["rmse"], scores["rmse_sd"]), scores["rmse"]),
                Cell(_with_sd(scores["r2"], scores["r2_sd"]), scores["r2"]),
                Cell(f"{scores['rmse_sd_folds']:.3f}", scores["rmse_sd_folds"]),
                Cell(f"{scores['bias']:+.3f}", scores["bias"]),
                Cell(str(len(arm_forecasts.seeds)), len(arm_forecasts.seeds)),
                Cell(seconds, None if cost is None else cost["seconds"]),
                Cell("" if cost is None else f"{cost['peak_mb']:.0f}", None if cost is None else cost["peak_mb"]),
            ]
        )
    head = ("arm", "group", "RMSE, t/ha", "R2", "RMSE, sd over folds", "bias, t/ha", "seeds", "seconds per run",
            "peak MB")  # fmt: skip
    rows.sort(key=lambda row: row[2].value or 0.0)
    note = (
        "Mean and standard deviation over seeds, on all test rows of all folds together. Seconds are both stages of "
        "one run, without rendering and embedding. ≥: the run was resumed; the time of the stopped process is missing."
    )
    return SortedTable(id="arms", title="Arms", note=note, head=head, rows=rows)


def comparisons_table(contents: Contents) -> SortedTable:
    """Table of every difference with its interval over both kinds of group, and p."""
    held = contents.outcomes.held
    other = "year" if held == "place" else "place"
    rows = []
    for one in contents.comparisons:
        d, o = one.difference, one.over_other
        clear = one.holm < LEVEL and d.trusted
        better = ("better" if d.rmse.high < 0 else "worse" if d.rmse.low > 0 else "") if clear else ""
        rows.append(
            [
                Cell(one.arm.name),
                Cell(one.against),
                Cell(f"{d.rmse.value:+.3f}{_interval(d.rmse)}", d.rmse.value),
                Cell(f"{d.r2.value:+.3f}{_interval(d.r2)}", d.r2.value),
                Cell(f"{d.p:.2g}", d.p),
                Cell(f"{one.holm:.2g}", one.holm),
                Cell("" if one.rule is None else f"{one.rule:.2g}", one.rule),
                Cell(better or ("undecided" if d.trusted else "too few groups")),
                Cell(_interval(o.rmse).strip(" ()"), o.rmse.low),
                Cell(f"{d.samples_needed():.0f}", d.samples_needed()),
                Cell(one.arm.question),
            ]
        )
    head = ("arm", "minus", "RMSE, t/ha", "R2", "p", "p, Holm", "p, rule", "clearly", f"RMSE over {other}s",
            "samples for 1 %", "question")  # fmt: skip
    first = contents.comparisons[0].difference
    trust = "" if first.trusted else (
        f"With {first.groups} held-out {held}s the intervals cannot be trusted, and no p can be below "
        f"{2.0 ** (1 - first.groups):.2g}: {LEAST_GROUPS} groups are the minimum. "
    )  # fmt: skip
    runs = f"{first.seeds} seeds" if first.seeds > 1 else "one seed, which does not show how much runs vary"
    note = (
        f"{trust}RMSE below zero: the arm is better than the one subtracted. Paired bootstrap over the {first.groups} "
        f"held-out {held}s and over {runs}; p from swapping the two arms in whole {held}s, "
        f"adjusted over all {len(contents.comparisons)} comparisons, and over those of the rule. Samples for 1 "
        f"%: with this many, in {held}s like these, a difference of 1 % of the RMSE would be detected with 80 % power. "
        f"The interval over {other}s is for information; the rule does not use it. docs/verdict.md."
    )
    return SortedTable(id="comparisons", title="Differences", note=note, head=head, rows=rows)


def rendering_tables(contents: Contents) -> list[SortedTable]:
    """Tables of the one-off cost of pictures, and of the arms that are missing."""
    seconds = [
        [
            Cell(name),
            Cell(str(one.pictures), one.pictures),
            *(Cell(_seconds(value), value) for value in (one.draw, one.embed, one.per_thousand)),
            Cell("here" if one.measured else "earlier runs of this cache"),
        ]
        for name, one in contents.rendering.items()
    ]
    head = ("pictures of", "pictures", "draw, s", "embed, s", "s per 1,000 samples", "rate measured")
    note = "A cost paid once: every later arm, seed and fold reads the cache. Arms with equal pictures share them."
    tables = [SortedTable(id="rendering", title="Rendering and embedding", note=note, head=head, rows=seconds)]
    if contents.left_out:
        rows = [[Cell(name), Cell(why)] for name, why in contents.left_out.items()]
        tables.append(
            SortedTable(id="left-out", title="Arms that are left out", note="", head=("arm", "why"), rows=rows)
        )
    return tables


def differences_chart(comparisons: Sequence[Comparison]) -> Chart:
    """Chart of the RMSE of each arm minus that of its counterpart, with intervals."""
    ordered = sorted(comparisons, key=lambda one: -one.difference.rmse.value)
    rmse = [one.difference.rmse for one in ordered]
    clear = [one.holm < LEVEL and one.difference.trusted for one in ordered]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [r.value for r in rmse],
        "y": [f"{one.arm.name} − {one.against}" for one in ordered],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [r.high - r.value for r in rmse],
            "arrayminus": [r.value - r.low for r in rmse],
            "color": GREY,
        },
        "marker": {"size": 9, "color": [BLUE if one else GREY for one in clear]},
        "text": [f"p {one.difference.p:.2g}, Holm {one.holm:.2g}" for one in ordered],
    }
    layout = {
        "height": 120 + 24 * len(ordered),
        "xaxis": {"title": {"text": "difference of RMSE, t/ha (left: the first is better)"}, "zeroline": True},
        "yaxis": {"automargin": True},
    }
    note = "Dots with 95 % intervals; blue if Holm's p is below 0.05."
    return Chart(id="differences", title="Is it better?", note=note, traces=[trace], layout=layout)


def seeds_chart(outcomes: MatrixResults) -> Chart:
    """Chart of the RMSE of every arm and seed."""
    x, y, arms = [], [], sorted(outcomes.arms.values(), key=lambda s: -spread(s, outcomes.truth)["rmse"])
    for arm_forecasts in arms:
        for row in arm_forecasts.forecasts:
            x.append(float(((row - outcomes.truth) ** 2).mean() ** 0.5))
            y.append(arm_forecasts.arm.name)
    trace = {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": {"size": 8, "color": BLUE, "opacity": 0.6}}
    layout = {
        "height": 120 + 22 * len(arms),
        "xaxis": {"title": {"text": "RMSE, t/ha"}},
        "yaxis": {"automargin": True},
    }
    return Chart(id="seeds", title="Every seed of every arm", note="One dot per seed.", traces=[trace], layout=layout)


def groups_chart(outcomes: MatrixResults) -> Chart:
    """Chart of the RMSE with pictures against the RMSE without, one dot per held-out group."""
    without, with_ = rmse_by_group(outcomes, WITHOUT), rmse_by_group(outcomes, WITH)
    low, high = (f([*without.values(), *with_.values()]) for f in (min, max))
    dots = {
        "type": "scatter",
        "mode": "markers+text" if len(without) <= 30 else "markers",
        "x": list(without.values()),
        "y": [with_[name] for name in without],
        "text": list(without),
        "textposition": "top center",
        "marker": {"size": 9, "color": BLUE, "opacity": 0.7},
    }
    line = {"type": "scatter", "mode": "lines", "x": [low, high], "y": [low, high], "line": {"color": GREY},
            "hoverinfo": "skip"}  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": f"{WITHOUT}: RMSE, t/ha"}},
        "yaxis": {"title": {"text": f"{WITH}: RMSE, t/ha"}, "automargin": True},
    }
    note = f"One dot per held-out {outcomes.held}; below the line, pictures helped."
    title = f"{outcomes.held.capitalize()} by {outcomes.held}"
    return Chart(id="groups", title=title, note=note, traces=[line, dots], layout=layout)


def cost_chart(contents: Contents) -> Chart:
    """Chart of RMSE against seconds."""
    names = list(contents.costs)
    trace = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [contents.costs[name]["seconds"] for name in names],
        "y": [spread(contents.outcomes.arms[name], contents.outcomes.truth)["rmse"] for name in names],
        "text": names,
        "textposition": "top center",
        "marker": {"size": 9, "color": RED},
        "cliponaxis": False,
    }
    layout = {
        "xaxis": {"title": {"text": "seconds per run"}},
        "yaxis": {"title": {"text": "RMSE, t/ha"}, "automargin": True},
    }
    note = "Both stages of one run, without rendering and embedding."
    return Chart(id="cost", title="What it takes", note=note, traces=[trace], layout=layout)


def _with_sd(mean: float, sd: float) -> str:
    return f"{mean:.3f}" + (f" ± {sd:.3f}" if sd >= 0.0005 else "")


def _seconds(value: float) -> str:
    return "unknown" if value != value else f"{value:.1f}"


def _interval(one: Interval) -> str:
    return "" if one.low != one.low else f" ({one.low:+.3f} to {one.high:+.3f})"
