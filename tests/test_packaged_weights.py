"""The packaged initial weights: they load, say where they are from, and align series that they have never seen."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.completion_task import alignment_by_pairs
from model.encoders import encode, resolve
from model.initial_weights import read_initial_weights
from model.presets import PRESETS
from model.pretraining import table_config
from model.season_tensors import SeasonTensors, WindowTensors
from pipeline.render import draw
from pipeline.series import series_blocks
from pipeline.simulated_corpus.recipe import Recipe, simulate_table
from pipeline.splits import Fold
from pipeline.style import PALETTE, Style
from stages.inputs.fold_data import Scales, season_of
from stages.inputs.initial_weights import PACKAGED, find_initial

FILES = sorted(PACKAGED.glob("*.safetensors"))
NAMES = [path.stem for path in FILES]
ENCODER = "efficientnet-lite0"
UNSEEN = 77  # seed of simulated tables that no packaged weights were trained on
MOST = 1.0  # alignment_56 on the fixed set below; 8.05 without any alignment


def test_the_packaged_encoder_has_weights():
    assert ENCODER in NAMES


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_each_file_is_small_and_says_where_it_is_from(path):
    weights = read_initial_weights(path)
    card = path.with_suffix(".md").read_text()
    record = weights.record
    known = dict(record["recipe"])
    assert path.stat().st_size < 5e6
    assert known.pop("digest") == Recipe(**known).digest  # the recipe of today still makes this corpus
    assert known["seed"] != UNSEEN
    assert re.fullmatch(r"[0-9a-f]{40}", record["commit"])  # not `-dirty`
    for part in (record["commit"], record["command"], weights.encoder, record["recipe"]["digest"]):
        assert part in card
    assert "/tmp" not in card + record["command"]
    assert not [name for name in weights.tensors if "variates" in name or "to_range" in name]


def fixed_set():
    """Eight samples of seven variates of a simulated table: their season, the days of a step, and their scales."""
    numbers = range(400)
    one = next(
        made
        for made in (simulate_table(Recipe(tables=1, samples=8, seed=UNSEEN), number) for number in numbers)
        if made.framing == "halves" and made.style == Style() and made.process == "seasons" and 15 < made.table.cut < 25
    )
    table, style, none = one.table, one.style, np.zeros(0, np.int64)
    scales = Scales.fit(table, Fold("all", np.arange(len(table)), none, none))
    rgb = PALETTE[np.tile(np.arange(7), len(table))]
    vectors = []
    for block in series_blocks(table, scales.ranges, style):
        steps = block.window.length
        ink = draw(block.values.reshape(-1, steps), block.observed.reshape(-1, steps), style)
        vectors.append(encode(resolve(ENCODER), ink, rgb).reshape(len(table), 7, -1))
    return season_of(table, scales, "halves", np.stack(vectors)), table.step_days, scales


@pytest.mark.slow
def test_series_that_were_never_seen_are_aligned():
    weights = read_initial_weights(PACKAGED / f"{ENCODER}.safetensors")
    season, step_days, scales = fixed_set()
    config = table_config(weights.largest, season, step_days)
    assert weights.encoder == resolve(ENCODER).weights_digest
    initial = find_initial("auto", config, resolve(ENCODER).to_dict(), Style())
    assert initial.sentence.startswith("starts from the packaged weights")
    start = initial.start(scales, Style())
    with torch.no_grad():
        model = start.build(config).eval()
        scores = alignment_by_pairs(model, season.first, 8)
        assert scores["alignment_56"] < MOST
        assert scores["retrieval_56"] > 0.8
        wrong = WindowTensors(season.first.values, season.first.observed, season.first.embeddings.roll(1, 0))
        assert alignment_by_pairs(model, wrong, 8)["alignment_56"] > 5
        assert isinstance(season, SeasonTensors)


@pytest.mark.parametrize(("change", "style", "said"), [
    ({"patch": 4}, Style(), "patch is 4"), ({"width": 32}, Style(), "width is 32"),
    ({}, Style(line_width=3.0), "another style"),
])  # fmt: skip
def test_what_does_not_fit_starts_from_scratch_and_one_sentence_says_why(change, style, said):
    weights = read_initial_weights(PACKAGED / f"{ENCODER}.safetensors")
    config = replace(weights.largest, **{**{"variates": 3, "window": 18, "start": 18, "horizon": 18}, **change})
    record = {"weights_digest": weights.encoder}
    initial = find_initial("auto", config, record, style)
    assert initial.weights is None
    assert initial.sentence.startswith("starts from scratch: ")
    assert said in initial.sentence
    assert (
        "another encoder" in find_initial("auto", replace(weights.largest), {"weights_digest": "x"}, Style()).sentence
    )


def test_a_model_of_one_modality_says_which_part_of_the_weights_it_takes():
    weights = read_initial_weights(PACKAGED / f"{ENCODER}.safetensors")
    half = {"variates": 3, "window": 18, "start": 18, "horizon": 18}
    numbers = {**PRESETS["language-only"].parts(), **half, "picture_dropout": 0.0}
    initial = find_initial("auto", replace(weights.largest, **numbers), None, Style())
    assert initial.sentence == (
        f"starts from the packaged weights {ENCODER}.safetensors, only their part for numbers: they were pretrained "
        "with pictures too, but this run reads none (--init none: from scratch)"
    )


def test_weights_can_be_left_out():
    config = replace(read_initial_weights(FILES[0]).largest, **PRESETS["timesclip"].parts())
    initial = find_initial("none", config, None, Style())
    assert (initial.weights, initial.sentence, initial.record()) == (None, "", None)


def test_a_folder_without_weights_says_so(tmp_path: Path):
    config = read_initial_weights(FILES[0]).largest
    assert "no weights are packaged" in find_initial("auto", config, None, Style(), tmp_path).sentence
