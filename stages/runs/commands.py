"""The commands that messages recommend, built from the flags in effect."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from model.presets import Preset
from pipeline.flags import ViewFlags
from pipeline.style import Style
from stages.runs.flags import (
    CHOSEN,
    GROUPS,
    Arguments,
    DataFlags,
    ExperimentalFlags,
    LearningFlags,
    ModelFlags,
    RunFlags,
)

SPLIT_NEEDS_SEED = ("place", "random")
VIEWS = tuple(f.name for f in fields(ViewFlags))


def train_command(args: Arguments) -> str:
    """`python train.py` with every flag whose value is not its default."""
    return shlex.join(["python", "train.py", "--stage", str(args.stage), *changed_flags(args)])


def base_command(args: Arguments) -> str:
    """The command that trains the run below: same data, split, model parts, seed, views and steps."""
    chosen = {*CHOSEN, "fixed_temperature"} - {"link"}
    model = {f.name: getattr(args.model, f.name) for f in fields(ModelFlags) if f.name in chosen}
    experimental = {
        f.name: getattr(args.experimental, f.name) for f in fields(ExperimentalFlags) if f.name in {*chosen, *VIEWS}
    }
    return train_command(
        Arguments(
            stage=1 if args.stage == 2 else 2,
            input=args.input,
            model=ModelFlags(preset=args.model.preset, **model),
            learning=LearningFlags(),
            run=RunFlags(seed=args.run.seed),
            style=args.style,
            experimental=ExperimentalFlags(**experimental),
        )
    )


def render_command(args: Arguments, preset: Preset, encoder: str | None) -> str:
    """The `render_cache.py` command that makes the embeddings which these flags read.

    encoder: its name; None leaves the choice to render_cache.py
    """
    given, default = args.input, DataFlags()
    command = ["python", "render_cache.py", "--data", given.data, "--cache", given.cache, "--split", given.split]
    if given.split in SPLIT_NEEDS_SEED:
        command += ["--seed", str(args.run.seed)]
    if given.split == "forward" and given.folds:
        command += _flag("folds", given.folds)
    command += args.experimental.to_views().flags()
    if given.steps:
        command += _flag("steps", given.steps)
    if preset.framing != "halves":
        command += ["--framing", preset.framing]
    if encoder:
        command += ["--encoder", encoder]
    for name in ("year", "memory_gb"):
        if getattr(given, name) != getattr(default, name):
            command += _flag(name, getattr(given, name))
    return shlex.join([*command, *_changed(args.style, Style(), "style.")])


def changed_flags(args: Arguments) -> list[str]:
    """The flags whose values are not their defaults, as a command line gives them; `--stage` is not among them."""
    flags: list[str] = []
    for group in GROUPS:
        flags += _changed(getattr(args, group), type(getattr(args, group))())
    return [*flags, *_changed(args.style, Style(), "style.")]


def _changed(given: Any, default: Any, prefix: str = "") -> Iterator[str]:
    assert is_dataclass(given)
    for one in fields(given):
        value = getattr(given, one.name)
        if value != getattr(default, one.name):
            yield from _flag(prefix + one.name.rstrip("_"), value)


def _flag(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
