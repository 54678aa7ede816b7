"""Export a trained run as a folder that others can use: weights, config, scaler, scores, a model card, and ONNX.

    python -m model.export --run runs/x                     into runs/x/export
    python -m model.export --run runs/x --out my-model --no-onnx

The folder is a run: `predict.py --run my-model` forecasts with it, `train.py --from my-model` continues from it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.encoders import finetuned
from model.export.card import model_card
from model.export.onnx import Completion, Forecasting, require_packages, write_onnx
from model.joint_finetuning import SeasonForecaster
from model.training.errors import Refused
from pipeline.parser import parse_flags
from pipeline.program import run_program
from report.metric_titles import metric_titles
from report.run import RunFolder
from stages.completion.completion_stage import load_model
from stages.inputs.tuned_encoder import has_tower
from stages.yields.yield_forecaster import Forecaster

FILES = ("config.json", "fitted.json", "model.safetensors")


@dataclass(frozen=True)
class Arguments:
    """Export a complete run."""

    run: Path
    """A complete run folder, of any stage."""
    out: Path | None = None
    """The folder to create; by default `export` in the run folder. A folder that is not empty is an error."""
    onnx: bool = True
    """Write the part after the embeddings as ONNX, one file per fold, checked against torch to 1e-5."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program(
        "model.export", lambda: export(parse_flags(Arguments, arguments, __doc__, "model.export")), refused=(Refused,)
    )


def export(args: Arguments) -> int:
    """Copy the run's files, then write ONNX and the card. result.json comes last and marks the folder as complete."""
    run = RunFolder.open(args.run)
    if args.onnx:
        require_packages()
    result, fitted, _ = (run.read_json(name) for name in ("result.json", "fitted.json", "config.json"))
    target = RunFolder.create(args.out or args.run / "export", 0, "export")
    for name in FILES:
        shutil.copyfile(run.path / name, target.path / name)
    if has_tower(run.path):
        shutil.copytree(run.path / finetuned.FOLDER, target.path / finetuned.FOLDER)
    gaps = {}
    for fold in fitted if args.onnx else ():
        name = f"{fold}.onnx"
        gaps[name] = write_onnx(load_part(run, fold, result["stage"]), target.path / name)
        print(f"{name}: differs from torch by {gaps[name]:.1e} at most")
    target.write_text("README.md", model_card(result, gaps, metric_titles(result)))
    target.write_json("result.json", result)
    print(f"{target.path}: {', '.join(sorted(path.name for path in target.path.iterdir()))}")
    return 0


def load_part(run: RunFolder, fold: str, stage: int) -> Forecasting | Completion:
    """One fold's model after the embeddings, for ONNX."""
    if stage == 1:
        return Completion(load_model(run, fold))
    neural = Forecaster.load(run, fold).neural
    if neural is None:
        raise Refused(
            f"{run.path} has no neural heads, and Gaussian processes and trees are not exported as ONNX. Leave ONNX "
            "out with --no-onnx; predict.py reads the folder without it."
        )
    if neural.completer is not None:
        raise Refused(
            f"{run.path} reads the errors of a completion (--link error), which are computed outside the part that can "
            "be exported. Leave ONNX out with --no-onnx."
        )
    return Forecasting(SeasonForecaster(neural.encoder, neural.heads))


if __name__ == "__main__":
    sys.exit(main())
