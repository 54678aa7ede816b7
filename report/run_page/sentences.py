"""The result of a run in sentences, which fixed rules derive from result.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.plural import plural

MOST_R2, LEAST_ROWS = 0.97, 20  # a higher R2 is questioned if there are at least so many test rows


def headline(result: Mapping[str, Any]) -> str:
    """The error on the held-out rows, and the rank of the run among the baselines."""
    metrics, n = result["metrics"], result["n_test"]
    if result["stage"] == 1:
        return (
            f"The second half of {n:,} held-out seasons was completed from the first half with an error of "
            f"{metrics['rmse_over_range']:.3f} of the range of a variate. {standing(result)}"
        )
    sure = result.get("metric_intervals")
    around = ""
    if sure is not None:
        low, high = sure["rmse"]
        around = f" (95 %: {low:.3f} to {high:.3f} over {sure['over']})"
    return (
        f"Yields of {n:,} held-out samples ({held_out(result)}): RMSE {metrics['rmse']:.3f} t/ha{around}, "
        f"R2 {metrics['r2']:.2f}. {standing(result)}"
    )


def held_out(result: Mapping[str, Any]) -> str:
    """Which rows the split held out."""
    folds = result["folds"]
    if result["split"] in ("year", "forward", "leave-year-out"):
        years = f"{folds[0]} to {folds[-1]}" if len(folds) > 2 else " and ".join(folds)
        known = ", with later years known" if result["split"] == "leave-year-out" else ""
        return f"{'year' if len(folds) == 1 else 'years'} {years}{known}"
    if result["split"] == "place":
        return f"unseen places, {plural(len(folds), 'fold')}"
    return f"split {result['split']}"


def standing(result: Mapping[str, Any]) -> str:
    """How the run compares with its baselines on the same test rows, by RMSE (stage 1: as a share of the range)."""
    name, unit = ("rmse", " t/ha") if result["stage"] > 1 else ("rmse_over_range", " of the range")
    mine = result["metrics"][name]
    others = {baseline: scores[name] for baseline, scores in result["baselines"].items()}
    best = min(others, key=lambda baseline: others[baseline])
    label = "RMSE" if result["stage"] > 1 else "error"
    better = sum(score < mine for score in others.values())
    count = f"{better} of {len(others)} baselines {'has' if better == 1 else 'have'}" if better else "No baseline has"
    if "best_baseline" not in result:
        return f"{count} a lower {label}; the best is {best} ({others[best]:.3f}{unit})."
    found = f"{count} a lower {label}. The best, {best} ({others[best]:.3f}{unit}), has "
    word = "lower" if better else "higher"
    lead, interval = lead_of(result)
    found += f"an {label} {word} by {abs(lead):.3f}{unit}"
    over = result["best_baseline"]["over"]
    if interval is None:
        return f"{found}. Only {over} {'was' if over.startswith('1 ') else 'were'} tested, too few for an interval."
    low, high = (-interval[1], -interval[0]) if better else interval  # of the lead of the baseline
    clear = "a clear difference" if low > 0 else "no clear difference"
    return f"{found} (95 %: {low:.3f} to {high:.3f} over {over}): {clear}."


def lead_of(result: Mapping[str, Any]) -> tuple[float, tuple[float, float] | None]:
    """RMSE of the best baseline minus that of the run, t/ha, and its 95 % interval; above zero the run is better.

    The interval is None if too few years and places were tested. Runs of earlier versions have the opposite sign, under
    the name `ahead`.
    """
    found = result["best_baseline"]
    if "ahead" in found:
        return -found["ahead"], (-found["high"], -found["low"])
    return found["lead"], None if found["low"] is None else (found["low"], found["high"])


def coverage_sentence(coverage: Mapping[str, Any]) -> str:
    """Whether the intervals contain their nominal share of the test yields; no verdict from fewer than six years.

    Of the interval over years and Wilson's, which takes rows as independent, the wider end counts on each side.
    """
    nominal = f"{coverage['nominal']:.0%}"
    found = f"The {nominal} intervals contain {coverage['share']:.1%} of {coverage['n']} test yields."
    if coverage["over_years"] is None:
        years = plural(len(coverage["by_year"]), "year")
        return (
            f"{found} If yields were independent, the 95 % confidence interval of that share would be "
            f"{coverage['low']:.0%} to {coverage['high']:.0%}. The errors of one year go together, so {years} "
            f"cannot show whether the intervals hold {nominal}."
        )
    low, high = coverage["over_years"]
    low, high = min(low, coverage["low"]), max(high, coverage["high"])
    fits = "below" if high < coverage["nominal"] else "above" if low > coverage["nominal"] else "consistent with"
    return (
        f"{found} This is {fits} {nominal}: the 95 % confidence interval of that share is {low:.0%} to {high:.0%} "
        "(whole years resampled)."
    )


def warning_sentences(result: Mapping[str, Any]) -> list[str]:
    """The warnings about the table, its folds and its scores."""
    findings = [one["sentence"] for one in result.get("findings", []) if one["severity"] == "warning"]
    return [f"Warning: {sentence}" for sentence in (*findings, *too_good(result))]


def too_good(result: Mapping[str, Any]) -> list[str]:
    """A sentence about an R2 that yields of a field or district hardly ever allow, if the run or a baseline has one."""
    rows = [row for row in metric_rows(result) if row.get("r2", 0.0) > MOST_R2]
    if not rows or result["n_test"] < LEAST_ROWS:
        return []
    best = max(rows, key=lambda row: float(row["r2"]))
    return [
        f"R2 is {best['r2']:.3f} for {best['name']} on held-out rows, which real yields hardly ever allow. Does an "
        "input hold the yield, or something that is known only after the harvest?"
    ]


def fold_sentences(result: Mapping[str, Any], fitted: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """How the forecasts of each fold were made."""
    found = []
    for fold, record in fitted.items():
        if (weight := record.get("ridge_weight")) is not None:
            found.append(
                f"Fold {fold}: the completion is a weighted mean of the transformer's and that of ridge. Weight of "
                f"ridge, fitted on validation rows after training: {weight:.2f}. The training curves are of the "
                "transformer alone."
            )
        one = record.get("forecaster")
        if one is None:
            continue
        parts = [f"anomalies from {_offset_in_words(one['offset'])}"]
        learnt = result.get("learnt", {}).get(fold, {})
        if learnt.get("epochs"):
            parts.append(f"heads trained for {learnt['epochs']} epochs")
        if learnt.get("judges"):
            parts.append(f"chosen on {learnt['judges']}")
        widened = "quantiles, each side moved out by" if config.get("quantiles") else "±"
        if one.get("readings"):
            parts.append(f"interval ({config.get('interval')}) {widened} {number(one['readings'][0]['margin'])} t/ha")
        sentence = f"Fold {fold}: {', '.join(parts)}."
        if learnt.get("year_spread"):
            sentence += (
                f" The error that all yields of a new year share has a standard deviation of "
                f"{number(learnt['year_spread'])} t/ha."
            )
        found.append(sentence)
    return found


def _offset_in_words(record: Mapping[str, Any]) -> str:
    """The selected kind and its window, or the weight of each kind in the average, the largest first."""
    if record["kind"] != "average":
        return f"the offset {record['kind']}" + (f" of {record['window']} years" if record.get("window") else "")
    weights: dict[str, float] = {}
    for kind, _, _, weight in record["candidates"]:
        weights[kind] = weights.get(kind, 0.0) + weight
    shown = sorted((kind for kind, weight in weights.items() if weight >= 0.005), key=lambda kind: -weights[kind])
    return "an average of offsets (" + ", ".join(f"{kind} {weights[kind]:.2f}" for kind in shown) + ")"


def metric_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model first, then every baseline on the same rows."""
    return [{"name": f"{result['preset']} (this run)", **result["metrics"]}] + [
        {"name": name, **metrics} for name, metrics in result["baselines"].items()
    ]


def number(value: float) -> str:
    """Three decimals; two significant digits below 0.001; zero below 0.0001."""
    if abs(value) < 1e-4:
        return "0.000"
    return f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.2g}"
