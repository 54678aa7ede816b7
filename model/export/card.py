"""The model card of an exported run: training data, scores, and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {1: "completes the second half of a season", 2: "forecasts yield in t/ha", 3: "forecasts yield in t/ha"}


def model_card(result: Mapping[str, Any], onnx: Mapping[str, float], titles: Mapping[str, str]) -> str:
    """Markdown from a run's result.json. onnx: file name -> largest difference from torch."""
    stage, seasons = result["stage"], result["seasons"]
    sizes = f"{result['n_train']} training, {result['n_valid']} validation, {result['n_test']} test samples"
    lines = [
        f"# TimesCLIP on {result['data']}: {TITLES[stage]}",
        "",
        "## Data",
        "",
        f"* Table `{result['data']}`, fingerprint `{result['data_fingerprint']}`: {sizes}, all folds together.",
        f"* Split `{result['split']}`, folds {', '.join(result['folds'])}, seed {result['seed']}. {result['counts']}",
        f"* Seasons of {seasons['steps']} steps of {seasons['step_days']:g} days from {seasons['season_start']}; "
        f"variates {', '.join(seasons['variates'])}.",
        f"* Pictures embedded by {result['encoder'] or 'nothing'}"
        + (f" (namespace `{result['cache_spec']}`)." if result["encoder"] else "."),
        "* Licence of the data: **to be filled in by whoever publishes this.**",
        "",
        "## Scores on test rows",
        "",
        *_scores(result, titles),
        "",
        "## Limits",
        "",
        *_limits(result),
        "",
        "## Use",
        "",
        "    python predict.py --run <this folder> --data new.csv --out predictions.csv"
        if stage > 1
        else "    python train.py --stage 2 --from <this folder>",
        "",
        *[f"* `{name}`: the part after the embeddings; differs from torch by {gap:.1e}." for name, gap in onnx.items()],
        "* `fitted.json` has the scaler, the y-ranges of the plots and, for yields, offset and scale of the anomaly.",
        "",
        "## Licence of the weights",
        "",
        "**To be filled in by whoever publishes this.** The code is Apache-2.0; the licence of the data may restrict "
        "the weights further.",
        "",
        f"Made by `{result['command']}` at commit `{result['commit']}`.",
    ]
    return "\n".join(lines) + "\n"


def _scores(result: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    rows = {f"**{result['preset']} (this model)**": result["metrics"], **result["baselines"]}
    names = list(result["metrics"])
    lines = ["| | " + " | ".join(titles.get(name, name) for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    for title, metrics in rows.items():
        cells = [f"{metrics[name]:.3f}" if name in metrics else "" for name in names]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def _limits(result: Mapping[str, Any]) -> list[str]:
    lines = [
        f"* It was trained on seasons like those above: same variates, units and steps. `{result['split']}` is the way "
        "rows were held out, and the scores hold for that case only.",
    ]
    if result["stage"] > 1:
        covered = result["metrics"].get("coverage_90")
        if covered is not None:
            lines.append(f"* The 90 % interval held for {covered:.0%} of the test rows.")
        lines.append("* For places without training rows the forecast starts from the mean of all places.")
        better = [name for name, row in result["baselines"].items() if row["rmse"] < result["metrics"]["rmse"]]
        lines.append(
            f"* Simpler forecasts with a lower RMSE on the same rows: {', '.join(better) if better else 'none'}."
        )
    return lines
