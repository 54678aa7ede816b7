"""The matrices behind docs/results.md and docs/yield-forecasts.md: a command of ablate.py per table and split."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ablate
from benchmarks.runs import CARDS, ENCODER, ROOT, command
from verdict.arms import CONVOLUTIONS, WITH, WITHOUT
from verdict.runner import slug

PAIR = (WITH, WITHOUT)
LEAST = (*PAIR, CONVOLUTIONS)
SYSTEMS = ("vision-only", "no-alignment", "baseline", "simple")  # the parts of TimesCLIP, one left out or alone


@dataclass(frozen=True)
class Matrix:
    """One table and split. Its runs are those of a forecast with pictures, one without, and further arms."""

    data: str
    split: str
    arms: tuple[str, ...] = PAIR
    seeds: int = 1

    @property
    def flags(self) -> list[str]:
        """Flags for ablate.py."""
        return ["--data", CARDS[self.data], "--split", self.split, "--encoder", ENCODER, "--seeds", str(self.seeds),
                "--arms", *self.arms, "--out", str(self.folder)]  # fmt: skip

    @property
    def shown(self) -> str:
        """The command, as a user would type it."""
        return shlex.join(["python", "ablate.py", *self.flags])

    @property
    def folder(self) -> Path:
        """The folder of its runs, relative, because commands are printed."""
        return Path("runs", "tables", f"{self.data}-{self.split}")

    @property
    def done(self) -> bool:
        """Whether the verdict has been written."""
        return (ROOT / self.folder / "verdict.json").is_file()

    def make(self, workers: int) -> None:
        """Make the missing runs, `workers` side by side, and the verdict."""
        command(ablate.main, *self.flags, "--workers", str(workers))

    def record(self) -> dict[str, Any]:
        """The content of verdict.json."""
        record: dict[str, Any] = json.loads((ROOT / self.folder / "verdict.json").read_text())
        return record

    def results(self, arm: str) -> list[dict[str, Any]]:
        """result.json of the stage-2 runs of an arm, by seed."""
        folders = [ROOT / self.folder / slug(arm) / f"seed{seed}" / "stage2" for seed in range(self.seeds)]
        return [json.loads((folder / "result.json").read_text()) for folder in folders]


MATRICES = (
    Matrix("illinois_soybean", "forward", LEAST),
    Matrix("illinois_soybean", "leave-year-out"),
    Matrix("illinois_soybean", "place", (*LEAST, *SYSTEMS)),
    Matrix("zambia_maize", "leave-year-out", (*PAIR, *SYSTEMS)),
    Matrix("zambia_maize", "forward", LEAST),
    Matrix("cybench_maize_ES", "leave-year-out"),
    Matrix("cybench_maize_ES", "place"),
    Matrix("cybench_wheat_NL", "leave-year-out"),
    Matrix("cybench_wheat_NL", "place"),
    Matrix("demo", "year"),
    Matrix("demo", "forward"),
    Matrix("demo", "place"),
)
