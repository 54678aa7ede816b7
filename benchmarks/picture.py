"""python -m benchmarks.picture: docs/season.png, from the newest demo runs of both stages.

Left: the numbers of one variate and the completed second half. Right: the two plots for the encoder.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd

from cache.catalog import entries
from cache.store import Store
from pipeline.render import colourise
from pipeline.sources import read
from pipeline.style import PALETTE
from report.run import complete_runs

matplotlib.use("agg")
from matplotlib import pyplot as plt

DATA, CACHE, OUT, VARIATE = "demo/card.toml", Path("image_cache"), Path("docs/season.png"), "ndvi"


def main() -> None:
    """Draw the test sample with the median error of stage 1."""
    table = read(DATA)
    runs = {}
    for run in reversed(complete_runs()):
        result = run.read_json("result.json")
        if result["data_fingerprint"] == table.fingerprint() and result["preset"] == "timesclip":
            runs[result["stage"]] = run
    completed = pd.read_parquet(runs[1].path / "predictions.parquet").query("variate == @VARIATE")
    error = (completed["y_pred"] - completed["y_true"]).abs().groupby(completed["sample_id"]).mean().sort_values()
    name = error.index[len(error) // 2]
    sample = completed[completed["sample_id"] == name]
    forecasts = pd.read_parquet(runs[2].path / "predictions.parquet")
    forecast = forecasts[(forecasts["sample_id"] == name) & (forecasts["split"] == "test")].iloc[0]

    row, variate = table.sample_id.tolist().index(name), table.variate_names.index(VARIATE)
    entry = [e for e in entries(CACHE) if e.fingerprint == table.fingerprint()][-1]
    (store,) = [s for s in Store.open_all(CACHE, "images") if s.spec.id == entry.images]
    ink = store.reader().read(entry.keys[row, variate])
    colour = PALETTE[variate % len(PALETTE)]

    figure, (left, *plots) = plt.subplots(1, 3, figsize=(11, 3.2), width_ratios=(2.2, 1, 1), layout="constrained")
    days = [step * table.step_days for step in range(table.steps)]
    left.plot(days, table.values[row, variate], "o-", color=colour / 255, ms=3, label="observed (gaps: cloud)")
    left.plot(
        sample["step"] * table.step_days, sample["y_pred"], "--", color="black", label="completed from the first half"
    )
    left.axvline(days[table.cut] - table.step_days / 2, color="#aaa", lw=1)
    interval = f"{forecast['y_pred']:.1f} t/ha ({forecast['y_lo']:.1f}-{forecast['y_hi']:.1f})"
    title = f"{name} (simulated): forecast {interval}, harvested {forecast['y_true']:.1f}"
    left.set(xlabel="day of the season", ylabel=VARIATE, title=title)
    left.title.set_fontsize(9)
    left.legend(fontsize=8, frameon=False)
    for axes, plot, window in zip(plots, colourise(ink, colour[None].repeat(2, 0)), entry.windows, strict=True):
        axes.imshow(plot)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"input of the encoder: {window}", fontsize=9)
    figure.savefig(OUT, dpi=110)
    print(OUT)


if __name__ == "__main__":
    main()
