"""The run that a later stage starts from: the one that --from names, or the newest one that fits."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from report.run import RunFolder, complete_runs
from stages.inputs.fold_data import Pictures
from stages.inputs.tuned_encoder import has_tower
from stages.runs.commands import base_command
from stages.runs.flags import Arguments, control_of, preset_of


def base_run(args: Arguments, table: SeasonTable, folds: Sequence[Fold], pictures: Pictures | None) -> RunFolder | None:
    """The run to start from: --from, or in stage 2 the newest stage-1 run with this table, split, seed and pictures.

    None for a stage that starts from nothing: stage 1, and stage 2 with --link scratch.
    """
    preset = preset_of(args)
    if args.stage == 1 or (args.stage == 2 and preset.link == "scratch"):
        return None
    wanted = {
        "stage": args.stage - 1,
        "data_fingerprint": table.fingerprint(),
        "split": args.input.split,
        "preset": args.model.preset,
        "parts": preset.parts(),
        "seed": args.run.seed,
        "control": control_of(args),
        "cache_spec": pictures and pictures.store.spec.id,
    } | ({"link": "frozen"} if args.stage == 3 else {})
    command = base_command(args)
    names, share = {fold.name for fold in folds}, args.input.share
    if args.model.from_ is None:
        alike = wanted | {"share": share}
        if run := newest_run(alike, names):
            return RunFolder.open(run.path)
        tuned = newest_run({name: value for name, value in alike.items() if name != "cache_spec"}, names)
        hint = f" {tuned.path}, which fine-tuned its own tower, fits: --from {tuned.path}." if tuned else ""
        raise InputError(
            f"no stage-1 run under runs/ fits this table, split, preset, its parts, seed and pictures.{hint} "
            f"Run:\n    {command}"
        )
    run = RunFolder.open(named_run(args, args.model.from_))
    result = run.read_json("result.json")
    for name, value in wanted.items():
        if name != "seed" and result.get(name) != value:
            actual, needed = differing(result.get(name), value)
            way = "Give this run the flags of that one, or run" if name == "parts" else "Run"
            if args.stage == 3 and name == "stage" and result["stage"] == 1:
                command += f" --from {shlex.quote(str(run.path))}"
            if name == "data_fingerprint":
                raise InputError(
                    f"--from {run.path} was trained on another table ({result['data']}), or on this one before its "
                    f"numbers changed. {way}:\n    {command}"
                )
            raise InputError(
                f"--from {run.path} has {name} {actual}, but this run needs {needed}. {way}:\n    {command}"
            )
    # Stage 1 reads no yield, so its run may have a larger share of the training rows than this one.
    if result["share"] != share and (args.stage == 3 or result["share"] < share):
        than = "less than" if result["share"] < share else "more than"
        raise InputError(
            f"--from {run.path} was trained on a share of {result['share']} of the training rows, {than} --share "
            f"{share} of this run. Run:\n    {command}"
        )
    if not names <= set(result["folds"]):
        raise InputError(
            f"--from {run.path} has folds {result['folds']}, but this run needs {sorted(names)}. Run:\n    {command}"
        )
    if result["interrupted"]:
        print(f"note: {run.path} was interrupted; `python train.py --resume {run.path}` trains it to its end.")
    return run


def newest_run(wanted: Mapping[str, Any], folds: set[str]) -> RunFolder | None:
    """The newest run with these results and folds. If any embeddings may be used, one with its own fine-tuned tower."""
    for run in complete_runs():
        result = run.read_json("result.json")
        if result["interrupted"]:
            continue
        fits = folds <= set(result["folds"]) and all(result.get(name) == value for name, value in wanted.items())
        if fits and ("cache_spec" in wanted or has_tower(run.path)):
            return run
    return None


def differing(actual: Any, wanted: Any) -> tuple[str, str]:
    """Two values for a message; of two records only the entries that differ."""
    if isinstance(actual, Mapping) and isinstance(wanted, Mapping):
        names = [name for name in wanted if actual.get(name) != wanted[name]]
        return repr({name: actual.get(name) for name in names}), repr({name: wanted[name] for name in names})
    return repr(actual), repr(wanted)


def named_run(args: Arguments, path: Path) -> Path:
    """The run folder that --from names: in a folder made by --seeds, the run of this seed."""
    of_seed = path / f"seed{args.run.seed}"
    return of_seed if of_seed.is_dir() else path
