"""Every command that a message recommends is a command line that the program takes, with the flags in effect."""

import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

import render_cache
import train
from model.presets import PRESETS
from pipeline.style import Style
from stages.runs.command_line import parse
from stages.runs.commands import base_command, render_command, train_command
from stages.runs.flags import Arguments
from tests.conftest import CARD, small_seasons

FLAGS = st.fixed_dictionaries(
    {},
    optional={
        "--data": st.sampled_from(["my card.toml", "a/*.csv", "it's.toml"]),
        "--split": st.sampled_from(["year", "forward", "place"]),
        "--year": st.integers(1990, 2030),
        "--memory-gb": st.sampled_from([0.5, 2.0]),
        "--share": st.sampled_from([0.25, 0.5]),
        "--control": st.sampled_from(["shuffled", "noise"]),
        "--preset": st.sampled_from(["timesclip", "no-alignment", "hierarchical"]),
        "--width": st.sampled_from([32, 128]),
        "--dropout": st.sampled_from([0.0, 0.3]),
        "--seed": st.integers(0, 9),
        "--steps": st.sampled_from(["4,6", "8"]),
        "--views": st.integers(1, 3),
        "--lr": st.sampled_from([1e-4, 0.5]),
        "--out": st.just("runs/new one"),
        "--style.size": st.sampled_from([64, 224]),
        "--style.y-range": st.sampled_from(["window", "fixed"]),
    },
)


def flags(chosen, *more):
    return [*more, *(part for name, value in chosen.items() for part in (name, str(value)))]


def parsed(command, program="train.py"):
    python, script, *rest = shlex.split(command)
    assert (python, Path(script).name) == ("python", program)  # with its path, from another folder
    return rest


@settings(max_examples=20, deadline=None)
@given(FLAGS, st.sampled_from([1, 2]))
def test_a_command_gives_back_the_flags_that_it_was_made_of(chosen, stage):
    args = parse(flags(chosen, "--stage", str(stage)), "")
    assert parse(parsed(train_command(args)), "") == args


@settings(max_examples=20, deadline=None)
@given(FLAGS, st.sampled_from([2, 3]))
def test_the_run_below_has_the_same_data_model_and_sampling(chosen, stage):
    more = ["--from", "runs/x"] if stage == 3 else []
    args = parse(flags(chosen, "--stage", str(stage), *more), "")
    below = parse(parsed(base_command(args)), "")
    assert below.stage == stage - 1
    assert (below.input, below.style, below.experimental) == (args.input, args.style, args.experimental)
    assert (below.run.seed, below.run.out) == (args.run.seed, None)
    for name in ("preset", "width", "dropout"):
        assert getattr(below.model, name) == getattr(args.model, name)
    assert below.learning == type(below.learning)()


@settings(max_examples=20, deadline=None)
@given(FLAGS)
def test_the_rendering_has_the_same_data_split_steps_and_style(chosen):
    args = parse(flags(chosen, "--stage", "1"), "")
    command = render_command(args, PRESETS[args.model.preset], "efficientnet-lite0")
    made = tyro.cli(render_cache.Arguments, args=parsed(command, "render_cache.py"))
    assert (made.input.data, made.input.split, made.input.year, made.input.memory_gb) == (
        args.input.data, args.input.split, args.input.year, args.input.memory_gb,
    )  # fmt: skip
    assert (made.input.steps, made.experimental.views) == (args.input.steps, args.experimental.views)
    assert made.style == args.style
    assert made.seed == (args.run.seed if args.input.split == "place" else 0)


def test_every_flag_of_the_style_is_passed_on():
    other = {"renderer": "agg", "y_range": "window", "size": 96, "line_width": 3.0, "dot_diameter": 5.0, "margin": 3.0}
    assert set(other) == {one.name for one in fields(Style)}
    args = replace(Arguments(stage=2), style=Style(**other))
    assert parse(parsed(base_command(args)), "").style == Style(**other)


@pytest.mark.slow
def test_the_command_of_a_missing_stage_1_run_makes_one_that_fits(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    common = ["--data", "card.toml", "--preset", "language-only", "--split", "year", "--epochs", "2", "--steps", "6"]
    assert train.main(["--stage", "2", *common]) == 2
    command = capsys.readouterr().err.strip().splitlines()[-1].strip()
    assert train.main([*parsed(command), "--epochs", "2"]) == 0
    assert train.main(["--stage", "2", *common]) == 0
