"""What a window hides is in no key and no picture; the usual halves keep the keys that caches are full of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import render_cache
import train
from cache.__main__ import main as cache_main
from cache.catalog import entries
from model.presets import PRESETS
from pipeline.errors import InputError
from pipeline.render import draw
from pipeline.series import outside, series_blocks
from pipeline.sources import read
from pipeline.windows import FRAMINGS, window_called, windows
from stages.runs.run_inputs import find_pictures
from tests.conftest import CARD, small_seasons
from tests.made_seasons import RANGES, STYLE, made
from tests.reference import blocks_slowly

steps_and_cuts = st.integers(2, 14).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(1, steps - 1)))


@settings(deadline=None, max_examples=40)
@given(steps_and_cuts, st.sampled_from(FRAMINGS), st.integers(0, 5))
def test_blocks_equal_their_slow_twin(steps_and_cut, framing, seed):
    table = made(*steps_and_cut, seed=seed)
    blocks = series_blocks(table, RANGES, STYLE, framing)
    for block, (values, observed, keys) in zip(blocks, blocks_slowly(table, RANGES, STYLE, framing), strict=True):
        np.testing.assert_array_equal(block.observed, observed)
        np.testing.assert_array_equal(block.values, values)
        assert block.keys.tolist() == keys


@settings(deadline=None, max_examples=40)
@given(steps_and_cuts, st.sampled_from(FRAMINGS), st.integers(0, 5))
def test_what_comes_after_the_cut_is_in_no_first_picture(steps_and_cut, framing, seed):
    steps, cut = steps_and_cut
    table = made(steps, cut, seed=seed)
    later = np.arange(steps) >= cut
    other = made(steps, cut, seed=seed + 1)
    spoiled = replace(
        table,
        values=np.where(later, other.values, table.values),
        observed=np.where(later, other.observed, table.observed),
    )
    first, second = (series_blocks(one, RANGES, STYLE, framing)[0] for one in (table, spoiled))
    np.testing.assert_array_equal(first.keys, second.keys)
    ink = [draw(b.values.reshape(-1, b.window.length), b.observed.reshape(-1, b.window.length), STYLE)
           for b in (first, second)]  # fmt: skip
    np.testing.assert_array_equal(*ink)


@settings(deadline=None, max_examples=40)
@given(steps_and_cuts)
def test_halves_part_the_season_and_both_frames_of_the_season_are_all_of_it(steps_and_cut):
    steps, cut = steps_and_cut
    first, second = windows(steps, cut)
    assert (first.start, first.stop, second.start, second.stop) == (0, cut, cut, steps)
    assert [w.until for w in (first, second)] == [cut, steps]
    so_far, season = windows(steps, cut, "season")
    assert [(w.start, w.stop, w.until) for w in (so_far, season)] == [(0, steps, cut), (0, steps, steps)]
    for one in (first, second, so_far, season):
        assert window_called(one.name, steps, cut) == one


def test_a_step_has_one_place_in_both_pictures_of_a_season():
    table = made(12, 5)
    whole = replace(table, values=np.full_like(table.values, 0.5), observed=np.ones_like(table.observed))
    so_far, season = (draw(b.values.reshape(-1, 12), b.observed.reshape(-1, 12), STYLE)
                      for b in series_blocks(whole, RANGES, STYLE, "season"))  # fmt: skip
    early = so_far[0].any(0).nonzero()[0]
    assert early.max() < season[0].any(0).nonzero()[0].max()
    column = (early.min() + early.max()) // 2
    np.testing.assert_array_equal(so_far[0][:, column], season[0][:, column])


@pytest.mark.parametrize(("steps", "cut"), [(4, 0), (4, 4), (4, 9), (1, 1)])
def test_a_season_has_a_step_on_each_side_of_the_cut(steps, cut):
    with pytest.raises(ValueError, match=f"{steps} steps cannot be cut at step {cut}"):
        windows(steps, cut)


def test_the_cut_is_the_middle_unless_the_table_says_another_and_is_part_of_what_it_is():
    table = made(9)
    assert (table.cut, replace(table, cut=7).cut) == (4, 7)
    assert replace(table, cut=4).fingerprint() == table.fingerprint() != replace(table, cut=5).fingerprint()
    assert replace(table, cut=5).describe_seasons()["cut"] == 5
    for cut in (9, -1):
        with pytest.raises(InputError, match=rf"made: `cut` is {cut}, .* of 9 steps it must be 1 to 8"):
            replace(table, cut=cut)


def test_values_off_the_y_range_are_told_for_either_framing():
    table = made(8, seed=3)
    for framing in FRAMINGS:
        blocks = series_blocks(table, np.array([[0.0, 1.0], [0.5, 1.0]]), STYLE, framing)
        shares = outside(table, blocks)
        assert shares["a"] == 0
        assert 0.2 < shares["b"] < 0.8


def season_card(folder, more=""):
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD.replace("step_days = 10", f"step_days = 10\n{more}"))
    return str(folder / "card.toml")


def test_a_framing_is_drawn_shown_checked_and_spared_by_gc_beside_another(tmp_path, capsys):
    data, cache = season_card(tmp_path, "cut = 8"), str(tmp_path / "cache")
    given = ["--data", data, "--cache", cache, "--encoder", "none", "--style.size", "96"]
    assert render_cache.main(given) == 0
    assert "336 drawn, 0 reused" in capsys.readouterr().out
    assert render_cache.main([*given, "--framing", "season"]) == 0
    assert "336 drawn, 0 reused" in capsys.readouterr().out
    assert [entry.windows for entry in entries(cache)] == [("first-half", "second-half"), ("so-far", "season")]
    assert cache_main(["gc", "--cache", cache, "--min-age", "0", "--apply"]) == 0
    capsys.readouterr()
    for framing in FRAMINGS:
        assert render_cache.main([*given, "--framing", framing]) == 0
        assert "0 drawn, 336 reused" in capsys.readouterr().out
        check = ["fsck", "--cache", cache, "--sample", "1", "--data", data, "--framing", framing, "--style.size", "96"]
        assert cache_main(check) == 0
        assert "0 problems, 336 pictures drawn again" in capsys.readouterr().out
    sheet = ["show", "--cache", cache, "--series", data, "--window", "so-far", "--out", str(tmp_path / "sheet.png")]
    assert cache_main(sheet) == 0


def test_the_trainer_names_the_framing_that_is_missing(tmp_path):
    data = season_card(tmp_path)
    args = train.parse(["--stage", "1", "--data", data, "--cache", str(tmp_path / "cache")], "")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"render_cache\.py .* --framing season"):
        find_pictures(args, read(data), PRESETS["unified"])
    with pytest.raises(InputError) as caught:
        find_pictures(args, read(data), PRESETS["timesclip"])
    assert "--framing" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [7, 8])
def test_both_stages_complete_from_the_cut_of_the_card(tmp_path, cut):
    flags = ["--data", season_card(tmp_path, f"cut = {cut}"), "--preset", "language-only", "--epochs", "2"]
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert train.main(["--stage", "1", "--out", one, *flags]) == 0
    steps = pd.read_parquet(tmp_path / "one" / "predictions.parquet")["step"]
    assert (steps.min(), steps.max()) == (cut, 11)
    assert train.main(["--stage", "2", "--out", two, "--from", one, *flags]) == 0
