"""Flags come from dataclasses, files say the same, and what cannot be meant together is one paragraph and exit 2."""

import json
from dataclasses import fields, is_dataclass
from typing import get_type_hints

import numpy as np
import pytest

import ablate
import render_cache
import train
from model.offset import OFFSETS
from pipeline.errors import InputError
from pipeline.flag_table import documentation
from report.run import RunFolder
from stages.completion.completion_stage import CompletionStage
from stages.runs.command_line import parse
from stages.runs.flag_checks import require_consistent
from stages.runs.flags import FIRST_FLAGS, GROUP_FLAGS, Arguments, ModelFlags, as_record, flag_names
from tests.conftest import CARD, small_seasons


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Flags of a quick run on the small table, and a stage-1 run of every fold."""
    folder = tmp_path_factory.mktemp("flags")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--epochs", "1"]
    assert train.main(["--stage", "1", *flags, "--split", "forward", "--out", str(folder / "one")]) == 0
    return folder, flags


def test_a_toml_file_says_what_flags_say_and_the_command_line_wins(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('stage = 2\nlr = 5e-4\nbatch_size = 32\nmixup = true\nsplit = "place"\n[style]\nline-width = 3.0\n')
    args = parse(["--config", str(file), "--lr", "0.01", "--no-mixup"], "")
    assert (args.stage, args.learning.lr, args.learning.batch_size, args.experimental.mixup) == (2, 0.01, 32, False)
    assert (args.input.split, args.style.line_width) == ("place", 3.0)
    assert parse(["--config", str(file)], "").experimental.mixup


def test_an_unknown_key_is_an_error_with_the_nearest_name(tmp_path, capsys):
    for name, text in (("run.toml", "batchsize = 3"), ("run.json", '{"batchsize": 3}')):
        (tmp_path / name).write_text(text)
        assert train.main(["--config", str(tmp_path / name), "--stage", "1"]) == 2
        assert "there is no flag batchsize. The nearest is batch-size" in capsys.readouterr().err
    (tmp_path / "run.toml").write_text("lr = ")
    assert train.main(["--config", str(tmp_path / "run.toml"), "--stage", "1"]) == 2
    assert "cannot be read as TOML" in capsys.readouterr().err


def test_the_flags_in_effect_survive_their_own_file(tmp_path):
    given = [
        "--stage",
        "1",
        "--mixup",
        "--folds",
        "2021,2022",
        "--seed",
        "3",
        "--style.size",
        "64",
        "--data",
        "x y.csv",
    ]
    first = parse(given, "")
    (tmp_path / "config.json").write_text(json.dumps(as_record(first)))
    again = parse(["--config", str(tmp_path / "config.json")], "")
    assert as_record(again) == as_record(first)
    assert again.style == first.style
    assert set(as_record(first)) - {"style"} <= {name.replace("-", "_") for name in flag_names()}


def test_a_run_s_own_config_runs_it_again(small, tmp_path):
    config = small[0] / "one" / "config.json"
    assert train.main(["--config", str(config), "--out", str(tmp_path / "again")]) == 0
    assert train.main(["--config", str(config), "--seed", "1", "--out", str(tmp_path / "other")]) == 0
    weights = [
        (run / "model.safetensors").read_bytes() for run in (small[0] / "one", tmp_path / "again", tmp_path / "other")
    ]
    assert weights[0] == weights[1] != weights[2]


def printed(capsys, program, *flags):
    """What a program prints before it ends with exit 0."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        program.main(list(flags))
    assert not ended.value.code
    return capsys.readouterr().out


def test_all_help_groups_the_flags_and_every_flag_has_a_text(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = printed(capsys, train, "--help-all")
    for group in ("input options", "model options", "learning options", "run options", "experimental options"):
        assert group in shown
    for name in flag_names():
        assert f"--{name}" in shown
    for kind in (Arguments, *GROUP_FLAGS, render_cache.Arguments, render_cache.ExperimentalFlags, ablate.Arguments):
        texts = documentation(kind)
        assert [f.name for f in fields(kind) if not is_group(kind, f) and not texts.get(f.name)] == []
    assert shown.index("experimental options") < shown.index("--mixup")
    assert "auto averages kinds by their errors on known years" in " ".join(documentation(ModelFlags)["offset"].split())
    for old in ("epochs", "seed", "out", "from", "offset", "offset-years", "members", "batch-size", "lr", "patience",
                "encoder", "split", "preset", "cache", "data", "year", "memory-gb"):  # fmt: skip
        assert old in flag_names()


def is_group(kind, field):
    return is_dataclass(get_type_hints(kind)[field.name])


@pytest.mark.parametrize(
    ("program", "first"),
    [(train, FIRST_FLAGS), (render_cache, render_cache.FIRST_FLAGS), (ablate, ablate.FIRST_FLAGS)],
)
def test_help_fits_a_screen_and_names_the_rest(program, first, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    shown = printed(capsys, program, "--help")
    assert len(shown.splitlines()) <= 45
    assert max(map(len, shown.splitlines())) <= 120
    for name in first:
        assert f"--{name} " in shown
    assert "--help-all shows these and" in shown
    assert "--mixup" not in shown
    assert printed(capsys, program, "-h") == shown


def test_a_config_of_the_version_before_is_read(tmp_path):
    """0.1.0 kept lists as text and absent ones as null."""
    old = {"stage": 1, "steps": "9,6", "folds": "2021, 2022", "freeze": "vision,head", "blocks": None, "shrink": True,
           "finetune_vision": "2", "views": 0, "style": {"size": 64}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(old))
    args = parse(["--config", str(tmp_path / "config.json")], "")
    assert (args.input.steps, args.input.folds) == ((6, 9), ("2021", "2022"))
    assert (args.experimental.freeze, args.model.blocks) == (("vision", "head"), ())
    assert args.experimental.finetune_vision == 2
    assert as_record(args)["steps"] == (6, 9)
    assert parse(["--resume", str(tmp_path), "--steps", "6,9"], "").input.steps == (6, 9)
    with pytest.raises(InputError, match="--steps"):
        parse(["--resume", str(tmp_path), "--steps", "6"], "")


@pytest.mark.slow
def test_folds_are_picked_by_name_and_pooled(small, tmp_path, capsys):
    folder, flags = small
    two = ["--stage", "2", "--from", str(folder / "one"), *flags, "--split", "forward"]
    assert train.main([*two, "--folds", "2022,2020", "--out", str(tmp_path / "two")]) == 0
    result = RunFolder.open(tmp_path / "two").read_json("result.json")
    assert (result["folds"], result["n_test"]) == (["2020", "2022"], 24)
    assert train.main([*two, "--folds", "1987", "--out", str(tmp_path / "none")]) == 2
    assert "2020, 2021, 2022, or all." in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_folds_year_tests_every_year_in_turn():
    assert parse(["--stage", "1", "--folds", "year"], "").input.split == "leave-year-out"


@pytest.mark.slow
def test_seeds_make_a_run_each_and_a_summary_with_their_spread(small, tmp_path, capsys):
    flags, out = small[1], tmp_path / "many"
    assert train.main(["--stage", "1", *flags, "--seeds", "3", "--seed", "4", "--out", str(out)]) == 0
    assert train.main(["--stage", "2", *flags, "--seeds", "3", "--seed", "4", "--from", str(out),
                       "--out", str(tmp_path / "two")]) == 0  # fmt: skip
    results = [RunFolder.open(tmp_path / "two" / f"seed{seed}").read_json("result.json") for seed in (4, 5, 6)]
    assert [result["seed"] for result in results] == [4, 5, 6]
    assert [result["from"] for result in results] == [str(out / f"seed{seed}") for seed in (4, 5, 6)]
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    scores = [result["metrics"]["rmse"] for result in results]
    assert len(set(scores)) == 3
    assert [row["rmse"] for row in summary["runs"]] == scores
    assert summary["mean"]["rmse"] == pytest.approx(np.mean(scores))
    assert summary["sd"]["rmse"] == pytest.approx(np.std(scores, ddof=1))
    assert f"{np.mean(scores):.3f}±{np.std(scores, ddof=1):.3f}" in capsys.readouterr().out


@pytest.mark.slow
def test_seeds_that_were_stopped_are_resumed_together_and_get_their_summary(small, tmp_path, capsys, monkeypatch):
    flags, out, whole = small[1], tmp_path / "stopped", tmp_path / "whole"
    given = ["--stage", "1", *flags, "--seeds", "3"]
    assert train.main([*given, "--out", str(whole)]) == 0
    trained = []

    def stop_at_the_second(self, prepared, trainer):
        trained.append(trainer.seed)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train_fold(self, prepared, trainer)

    train_fold = CompletionStage.train_fold
    with monkeypatch.context() as patch:
        patch.setattr(CompletionStage, "train_fold", stop_at_the_second)
        assert train.main([*given, "--out", str(out)]) == 130
    assert f"python train.py --resume {out}`" in capsys.readouterr().err
    assert not (out / "summary.json").exists()
    (out / "seed2").mkdir()
    (out / "seed2" / "config.json").write_text("{}")  # stopped before its first checkpoint
    assert train.main(["--resume", str(out), "--seeds", "3"]) == 2
    assert "--resume and --seeds conflict" in capsys.readouterr().err
    assert train.main(["--resume", str(out)]) == 0
    assert (out / "summary.json").read_text() == (whole / "summary.json").read_text()
    for seed in (0, 1, 2):
        weights = [(folder / f"seed{seed}" / "model.safetensors").read_bytes() for folder in (out, whole)]
        assert weights[0] == weights[1]


@pytest.mark.parametrize("offset", ["auto", *OFFSETS])
def test_a_window_of_years_is_refused_for_an_offset_without_one(offset):
    given = Arguments(stage=2, model=ModelFlags(offset=offset, offset_years=3))
    if offset in ("auto", "place", "place-shrunk", "place-trend"):
        require_consistent(given, {"offset", "offset-years"})
        return
    with pytest.raises(InputError, match=f"of the offsets place, place-shrunk, place-trend, but --offset {offset} has"):
        require_consistent(given, {"offset", "offset-years"})


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--stage", "1", "--from", "runs/x"], "--from"),
        (["--stage", "1", "--offset", "place"], "--offset is for stage 2"),
        (["--stage", "3"], "--from runs/x"),
        (["--stage", "2", "--freeze", "vision"], "whole encoder is frozen"),
        (["--stage", "1", "--link", "error"], "--link is for stage 2"),
        (["--stage", "1", "--quantiles"], "--quantiles is for stage 2"),
        (["--stage", "1", "--dropout", "1.5"], "dropout 1.5 is out of its range (0 to 1)"),
        (["--stage", "1", "--width", "30"], "width 30 must be a multiple of heads 4"),
        (["--stage", "1", "--unfreeze-at", "3"], "nothing is frozen"),
        (["--stage", "1", "--freeze", "vision", "--unfreeze-at", "1"], "must be 2 to"),
        (["--stage", "1", "--freeze", "visoin"], "The nearest is vision"),
        (["--stage", "1", "--batch-size", "4", "--accumulate", "5"], "more micro-batches than it has samples"),
        (["--stage", "1", "--batch-size", "400"], "larger than the 60 training samples"),
        (["--stage", "1", "--lr", "0"], "--lr is 0"),
        (["--stage", "1", "--lr", "nan"], "--lr is nan"),
        (["--stage", "1", "--seed", "-1"], "--seed is -1"),
        (["--stage", "1", "--seed", "99999999999999999999999"], "2^63"),
        (["--stage", "2", "--offset-years", "0"], "--offset-years is 0"),
        (["--stage", "2", "--learner", "trees", "--quantiles"], "Use --learner ensemble, neural, gp or tabicl"),
        (["--stage", "1", "--seeds", "0"], "--seeds is 0"),
        (["--stage", "1", "--folds", "year", "--split", "place"], "conflicts with --split place"),
        (["--stage", "1", "--precision", "fp16"], "fp16 needs a CUDA GPU"),
        (["--stage", "1", "--device", "cuda"], "finds no CUDA GPU"),
        (["--resume", "nowhere"], "config.json"),
        (["--resume", "a", "--config", "b"], "--resume and --config conflict"),
    ],
)
def test_contradictions_are_one_paragraph_exit_2_and_write_nothing(small, tmp_path, capsys, monkeypatch, flags, says):
    monkeypatch.chdir(tmp_path)
    data = [] if "--resume" in flags else ["--data", str(small[0] / "card.toml"), "--preset", "language-only"]
    capsys.readouterr()
    assert train.main([*flags, *data]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert "\n\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_will_be_refused_is_refused_before_the_table_is_read(small, tmp_path, capsys, monkeypatch):
    def read(*given, **named):
        raise AssertionError("the table was read")

    monkeypatch.setattr("stages.runs.run_inputs.read", read)
    one, file = small[0] / "one", tmp_path / "file"
    file.write_text("")
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "config.json").write_text((one / "config.json").read_text())
    for given, says in (
        (["--stage", "1", "--out", str(one)], "exists and is not empty"),
        (["--stage", "1", "--out", str(file)], "exists and is not empty"),
        (["--resume", str(one)], "this run is complete"),
        (["--resume", str(tmp_path / "stopped")], "was stopped before its first checkpoint"),
    ):
        assert train.main(given) == 2
        assert says in capsys.readouterr().err


def test_a_resumed_run_keeps_its_flags(small, tmp_path, capsys):
    (tmp_path / "config.json").write_text((small[0] / "one" / "config.json").read_text())
    assert train.main(["--resume", str(tmp_path), "--lr", "0.5"]) == 2
    assert "--lr 0.5 conflicts with --resume" in capsys.readouterr().err


def test_defaults_live_in_the_dataclasses():
    assert parse(["--stage", "2"], "") == Arguments(stage=2)


@pytest.mark.slow
def test_stage_1_may_learn_from_more_seasons_than_have_a_yield_but_not_from_fewer(small_card, tmp_path, capsys):
    flags = ["--data", str(small_card), "--preset", "language-only", "--epochs", "2"]
    for name, share in (("all", "1"), ("half", "0.5")):
        assert train.main(["--stage", "1", *flags, "--share", share, "--out", str(tmp_path / name)]) == 0
    two = ["--stage", "2", *flags, "--out", str(tmp_path / "two")]
    assert train.main([*two, "--share", "0.5", "--from", str(tmp_path / "all")]) == 0
    result, first = (RunFolder.open(tmp_path / name).read_json("result.json") for name in ("two", "all"))
    assert (result["share"], result["n_train"], result["n_test"]) == (0.5, 30, first["n_test"])
    two[-1] = str(tmp_path / "three")
    assert train.main([*two, "--from", str(tmp_path / "half")]) == 2
    assert "a share of 0.5 of the training rows, less than --share 1.0" in capsys.readouterr().err
    three = [
        "--stage",
        "3",
        *flags,
        "--share",
        "0.25",
        "--from",
        str(tmp_path / "two"),
        "--out",
        str(tmp_path / "three"),
    ]
    assert train.main(three) == 2  # stage 2 has read the yields of more rows than are to count
    assert "more than --share 0.25" in capsys.readouterr().err
    assert not (tmp_path / "three").exists()
