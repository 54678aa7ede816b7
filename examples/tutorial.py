"""The files of docs/tutorial.md, and its pictures.

    python examples/tutorial.py                 write the files of the tutorial into tutorial/
    python examples/tutorial.py --pictures      draw docs/assets/tutorial-*.png from the pages (needs Chromium)

The seasons are the simulated ones of demo/ from four counties of England. The outlines of the fields are invented.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
COUNTIES = {"norfolk": (0.95, 52.67), "suffolk": (1.05, 52.2), "cambridge": (0.1, 52.25), "lincolnshire": (-0.2, 53.1)}
VARIATES = ("ndvi", "NIR", "SWIR1")
STEPS, STEP_DAYS = 36, 10
THIS_YEAR, KNOWN_STEPS = 2001, 18  # the season to forecast, and how much of it the file has: up to the end of June
FILES = ("seasons.csv", "now.csv", "fields.geojson")
PAGES = {"data.html": 1400, "report.html": 2500, "june.html": 1900}  # pixels from the top that a picture shows


def main() -> None:
    """Write the files, or draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tutorial"), help="the folder of the tutorial")
    parser.add_argument("--pictures", action="store_true", help="draw the pictures of docs/tutorial.md from the pages")
    args = parser.parse_args()
    if args.pictures:
        draw_pictures(args.out)
    else:
        write_files(args.out)
        print(f"{', '.join(str(args.out / name) for name in FILES)}: simulated seasons of {len(COUNTIES)} counties")


def write_files(folder: Path) -> None:
    """seasons.csv: a row per field and date until last year; now.csv: this year, without yields; fields.geojson."""
    wide = pd.read_parquet(ROOT / "demo" / "seasons.parquet")
    wide = wide[wide["site"].isin(list(COUNTIES))]
    parts = []
    for step in range(STEPS):
        part = wide[["field", "year"]].assign(step=step, yield_t_ha=wide["yield_t_ha"])
        parts.append(part.assign(**{name: wide[f"{name}_{step:02d}"] for name in VARIATES}))
    long = pd.concat(parts).dropna(subset=list(VARIATES), how="all").sort_values(["field", "year", "step"])
    first = pd.to_datetime(long["year"].astype(str) + "-01-01")
    long = long.assign(date=(first + pd.to_timedelta(long["step"] * STEP_DAYS + 4, unit="D")).dt.strftime("%Y-%m-%d"))
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["field", "year", "date", *VARIATES]
    past, now = long[long["year"] < THIS_YEAR], long[(long["year"] == THIS_YEAR) & (long["step"] < KNOWN_STEPS)]
    past[[*columns, "yield_t_ha"]].to_csv(folder / "seasons.csv", index=False, float_format="%.4f")
    now[columns].to_csv(folder / "now.csv", index=False, float_format="%.4f")
    (folder / "fields.geojson").write_text(json.dumps(outlines(sorted(long["field"].unique()))))


def outlines(fields: list[str]) -> dict[str, object]:
    """A FeatureCollection with an invented outline for each field, near the middle of its county."""
    rng = np.random.default_rng(0)
    features = []
    for number, field in enumerate(fields):
        longitude, latitude = COUNTIES[field.partition("-")[0]]
        middle = np.array([longitude + 0.22 * (number % 2) - 0.11, latitude + 0.13 * (number // 2 % 2) - 0.07])
        angle = np.linspace(0, 2 * np.pi, 7)[:-1] + rng.uniform(-0.3, 0.3, 6)
        ring = middle + np.stack([0.085 * np.cos(angle), 0.05 * np.sin(angle)], axis=1) * rng.uniform(0.8, 1, (6, 1))
        corners = [*ring.round(4).tolist(), ring[0].round(4).tolist()]
        shape = {"type": "Polygon", "coordinates": [corners]}
        features.append({"type": "Feature", "properties": {"field": field}, "geometry": shape})
    return {"type": "FeatureCollection", "features": features}


def draw_pictures(folder: Path) -> None:
    """Screenshots of the pages in `folder` that the tutorial makes: data.html, two/report.html and june.html."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("--pictures needs `chromium` or `google-chrome` on the PATH.")
    for name, height in PAGES.items():
        page = folder / "two" / name if name == "report.html" else folder / name
        if not page.is_file():
            raise SystemExit(f"--pictures: there is no {page}; run the commands of docs/tutorial.md first.")
        out = ROOT / "docs" / "assets" / f"tutorial-{page.stem}.png"
        with tempfile.TemporaryDirectory() as profile:
            subprocess.run(
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                 f"--window-size=1000,{height}", "--virtual-time-budget=10000", "--hide-scrollbars",
                 f"--screenshot={out}", page.resolve().as_uri()],
                check=True, capture_output=True,
            )  # fmt: skip
        Image.open(out).convert("RGB").quantize(128).save(out, optimize=True)
        print(out.relative_to(ROOT))


if __name__ == "__main__":
    main()
