"""The run folder and its files, as docs/architecture.md specifies them.

Every file except metrics.jsonl is written under a temporary name and renamed. result.json is written last, so a folder
with a result.json is complete.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from pyarrow import ArrowInvalid
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pipeline.errors import InputError
from report.atomic_write import write_whole

WEIGHTS = "model.safetensors"
BEFORE_START = ("config.json", "metrics.jsonl")  # written before the first checkpoint
RunState = Literal["complete", "stopped", "new"]
HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class RunFolder:
    """One run on disk."""

    path: Path

    @staticmethod
    def name(out: Path | None, stage: int, name: str) -> Path:
        """`out`, or runs/<time>-stage<stage>-<name>."""
        return out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-stage{stage}-{name}-{uuid.uuid4().hex[:4]}"

    @staticmethod
    def create(out: Path | None, stage: int, name: str) -> RunFolder:
        """A new folder of that name. Raises InputError if it exists and is not empty, or cannot be made."""
        path = RunFolder.name(out, stage, name)
        RunFolder.require_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {path} cannot be made ({error.strerror}); name another folder.") from error
        return RunFolder(path)

    @staticmethod
    def require_free(path: Path) -> None:
        """Raises InputError if the folder exists and is not empty, or if it is a file. Makes nothing."""
        if (path / "checkpoints").is_dir():
            raise InputError(
                f"--out {path} is a run that was stopped. Continue it with `python train.py --resume {path}`, or name "
                "another folder."
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            alone = path.is_dir() and {entry.name for entry in path.iterdir()} <= {*BEFORE_START}
            known = ", a run that was stopped before its first checkpoint; delete it, or" if alone else ";"
            raise InputError(f"--out {path} exists and is not empty{known} name another folder.")

    def state(self) -> RunState:
        """Whether the run is complete, was stopped and can be resumed, or has no checkpoint and is to be started."""
        if (self.path / "result.json").is_file() and not self.read_json("result.json")["interrupted"]:
            return "complete"
        if (self.path / "checkpoints" / "started.json").is_file():
            return "stopped"
        return "new"

    def clear_before_start(self) -> None:
        """Delete what a run wrote that was stopped before its first checkpoint."""
        for name in BEFORE_START:
            (self.path / name).unlink(missing_ok=True)

    @staticmethod
    def unfinished(path: Path) -> RunFolder:
        """A run that was stopped. Raises InputError if it is complete or was stopped before its first checkpoint."""
        if (path / "result.json").is_file() and not RunFolder(path).read_json("result.json")["interrupted"]:
            if not (path / "report.html").is_file():
                raise InputError(
                    f"--resume {path}: this run is complete, but it was stopped before its page was written. "
                    f"Write it:\n    python -m report.run_page {path}"
                )
            raise InputError(f"--resume {path}: this run is complete; its results are in {path / 'report.html'}.")
        if not (path / "checkpoints" / "started.json").exists():
            raise InputError(
                f"--resume {path} was stopped before its first checkpoint and contains only its flags. Start it "
                f"again:\n    python train.py --config {path / 'config.json'} --out {path}-again"
            )
        return RunFolder(path)

    @staticmethod
    def open(path: Path) -> RunFolder:
        """A complete run. Raises InputError if it is not complete or its weights are damaged."""
        if not (path / "result.json").is_file():
            raise InputError(_why_not_complete(path))
        run = RunFolder(path)
        if (path / WEIGHTS).is_file():
            run.refuse_damaged_weights()
        return run

    def refuse_damaged_weights(self) -> None:
        """Raises InputError if model.safetensors is incomplete. Reads its header and its length only."""
        try:
            with safe_open(self.path / WEIGHTS, "pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise self._damaged(WEIGHTS, error) from error

    def _damaged(self, name: str, error: Exception) -> InputError:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        return InputError(
            f"{self.path / name} cannot be read ({why}), so {self.path} is damaged. Restore the file, or delete that "
            "folder and run its command again."
        )

    def write_json(self, name: str, record: Mapping[str, Any]) -> None:
        """Write `name` (config.json, fitted.json, result.json)."""
        self._replace(name, lambda path: path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n"))

    def read_json(self, name: str) -> dict[str, Any]:
        """Inverse of `write_json`."""
        try:
            record = json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise self._damaged(name, error) from error
        if not isinstance(record, dict):
            raise self._damaged(name, ValueError("it is not an object"))
        return record

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one line per evaluation."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def sync_metrics(self) -> int:
        """Bytes of metrics.jsonl, which are on the disk after this."""
        with (self.path / "metrics.jsonl").open("a") as file:
            os.fsync(file.fileno())
            return file.tell()

    def cut_metrics(self, size: int) -> None:
        """Keep the first `size` bytes of metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.truncate(size)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text().splitlines()]

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table such as predictions.parquet, with the columns of docs/architecture.md."""
        self._replace(name, lambda path: table.to_parquet(path, index=False))

    def read_predictions(self, name: str = "predictions.parquet") -> pd.DataFrame:
        """Inverse of `write_table`. Raises InputError if the file is missing or damaged."""
        if not (self.path / name).exists():
            raise InputError(
                f"{self.path} has no {name}; an exported model has no test forecasts. Name the folder of the run."
            )
        try:
            return pd.read_parquet(self.path / name)
        except (OSError, ArrowInvalid) as error:
            raise self._damaged(name, error) from error

    def write_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write model.safetensors. Names start with the fold, as in `2022/encoder.cls`."""
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        self._replace(WEIGHTS, lambda path: save_file(contiguous, path))

    def read_weights(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors whose names start with `prefix`, by name without the prefix. Raises InputError if damaged."""
        try:
            tensors = load_file(self.path / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise self._damaged(WEIGHTS, error) from error
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    def write_text(self, name: str, text: str) -> None:
        """Write a text file such as report.html."""
        self._replace(name, lambda path: path.write_text(text))

    def _replace(self, name: str, write: Any) -> None:
        write_whole(self.path / name, write)


def _why_not_complete(path: Path) -> str:
    """The message about a folder without a result.json."""
    if (path / "checkpoints" / "started.json").is_file():
        return f"{path} is a run that was stopped. Finish it:\n    python train.py --resume {path}"
    if seeds := sorted(path.glob("seed*/result.json")):
        return f"{path} holds runs of several seeds. Name one of them, such as {seeds[0].parent}."
    what = "is not a complete run (it has no result.json)" if path.exists() else "does not exist"
    return (
        f"{path} {what}. `ls runs/*/result.json` lists complete runs; make one with `python train.py --stage 1` and "
        "then `--stage 2`."
    )


def complete_runs(folder: Path = Path("runs")) -> list[RunFolder]:
    """Complete runs under a folder, including those of --seeds, the newest first."""
    found = [*folder.glob("*/result.json"), *folder.glob("*/seed*/result.json")]
    results = sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [RunFolder(path.parent) for path in results]


def commit() -> str:
    """The git commit of this program, with `-dirty` if files were changed; `unknown` outside a git checkout."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def hardware() -> str:
    """Processor, number of cores and accelerator, in the form that result.json records."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{cpu}, {os.cpu_count()} cores, {gpu}"
