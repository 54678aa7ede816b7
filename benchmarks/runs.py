"""Runs behind the generated pages. Missing ones are trained, with the commands of a user."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import render_cache
import train
from model.presets import PRESETS, PresetName

ROOT = Path(__file__).resolve().parents[1]
CARDS = {
    "illinois_soybean": "cards/illinois_soybean.toml",
    "zambia_maize": "cards/zambia_maize.toml",
    "cybench_maize_ES": "../shared/data/cybench/maize/ES",
    "cybench_wheat_NL": "../shared/data/cybench/wheat/NL",
    "demo": "demo/card.toml",
}
ENCODER = "efficientnet-lite0"


@dataclass(frozen=True)
class Job:
    """One stage-2 forecast and its stage-1 run. `more` are flags of both stages, `late` of stage 2 only."""

    data: str
    split: str
    preset: PresetName
    seed: int = 0
    more: tuple[str, ...] = ()
    late: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of its runs, relative, since commands are printed."""
        flags = [part.strip("-") for part in (*self.more, *(("late", *self.late) if self.late else ()))]
        return Path("runs", "tables", "-".join([self.data, self.split, self.preset, *flags, f"seed{self.seed}"]))

    @property
    def common(self) -> list[str]:
        """The flags of both stages."""
        return ["--data", CARDS[self.data], "--split", self.split, "--preset", self.preset,
                "--seed", str(self.seed), *self.more]  # fmt: skip

    def result(self) -> dict[str, Any]:
        """The result of the stage-2 run, which must exist."""
        result: dict[str, Any] = json.loads((ROOT / self.folder / "stage2" / "result.json").read_text())
        return result


def results(jobs: Iterable[Job], workers: int) -> dict[Job, dict[str, Any]]:
    """The result of every job. Renders and trains missing ones first, `workers` jobs side by side."""
    jobs = list(dict.fromkeys(jobs))
    missing = [job for job in jobs if not (ROOT / job.folder / "stage2" / "result.json").is_file()]
    for data, split, framing, seed in sorted(
        {(job.data, job.split, PRESETS[job.preset].framing, job.seed * (job.split == "place")) for job in missing}
    ):
        command(render_cache.main, "--data", CARDS[data], "--split", split, "--framing", framing,
                "--encoder", ENCODER, "--seed", str(seed))  # fmt: skip
    joblib.Parallel(n_jobs=workers)(joblib.delayed(make)(job) for job in missing)
    return {job: job.result() for job in jobs}


def make(job: Job) -> None:
    """Run both stages; an existing stage-1 run is used."""
    one, two = str(job.folder / "stage1"), str(job.folder / "stage2")
    base = []
    if "scratch" not in job.late and PRESETS[job.preset].link != "scratch":
        if "--share" in job.late:  # stage 1 on all seasons, since it reads no yields
            one = str(Job(job.data, job.split, job.preset, job.seed, job.more).folder / "stage1")
        if not (ROOT / one / "result.json").is_file():
            command(train.main, "--stage", "1", *job.common, "--out", one)
        base = ["--from", one]
    command(train.main, "--stage", "2", *job.common, *job.late, *base, "--out", two)


def command(program: Any, *flags: str) -> None:
    """Run one command of the README in this process. Its output goes to standard error."""
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(sys.stderr):
        if program(list(flags)) != 0:
            raise SystemExit(f"{program.__module__} {' '.join(flags)} failed")


def spread(values: Sequence[float]) -> str:
    """The mean, and the standard deviation unless it rounds to zero."""
    deviation = float(np.std(values))
    return f"{np.mean(values):.3f}" + (f" +- {deviation:.3f}" if deviation >= 0.0005 else "")


def commits(results: Iterable[dict[str, Any]]) -> str:
    """The commits of the runs, for the line below a table."""
    return ", ".join(sorted({result["commit"][:12] for result in results}))
