"""The season table: what it is as of a step, what its fingerprint stands for, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import complete
import render_cache
from cache.__main__ import main as cache_main
from cache.catalog import entries
from pipeline.errors import InputError
from pipeline.flags import parse_steps, without_the_end
from pipeline.render import draw
from pipeline.series import series_blocks
from pipeline.sources import read
from pipeline.style import Style
from pipeline.windows import FRAMINGS
from tests.conftest import CARD, small_seasons
from tests.made_seasons import RANGES, STYLE, made


def pictures(table, framing):
    """Keys and ink of every series of a table."""
    blocks = series_blocks(table, RANGES, STYLE, framing)
    for block in blocks:
        flat = [array.reshape(-1, block.window.length) for array in (block.values, block.observed)]
        yield block.keys, draw(*flat, STYLE)  # type: ignore[call-arg]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 12), st.data(), st.sampled_from(FRAMINGS))
def test_nothing_at_or_after_the_step_is_in_the_table_as_of_it(steps, data, framing):
    step = data.draw(st.integers(1, steps))
    table, other = (made(steps, seed=data.draw(st.integers(0, 3))) for _ in range(2))
    later = np.arange(steps) >= step
    spoiled = replace(
        table,
        values=np.where(later, other.values, table.values),
        observed=np.where(later, other.observed, table.observed),
    )
    early, again = table.as_of(step), spoiled.as_of(step)
    assert early.fingerprint() == again.fingerprint()
    for (keys, ink), (same_keys, same_ink) in zip(pictures(early, framing), pictures(again, framing), strict=True):
        np.testing.assert_array_equal(keys, same_keys)
        np.testing.assert_array_equal(ink, same_ink)
    np.testing.assert_array_equal(early.observed, table.observed & ~later)
    np.testing.assert_array_equal(early.values[early.observed], table.values[early.observed])
    assert np.isnan(early.values[~early.observed]).all()


def test_a_table_as_of_a_step_has_its_name_and_labels_and_another_fingerprint():
    table = made(8, samples=5)
    early = table.as_of(3)
    assert (early.name, early.cut, early.steps) == (table.name, table.cut, table.steps)
    np.testing.assert_array_equal(early.target, table.target)
    assert early.fingerprint() != table.fingerprint() == table.as_of(8).fingerprint()
    assert table.as_of(5).as_of(3).fingerprint() == early.fingerprint()


@pytest.mark.parametrize("step", [0, -1, 9])
def test_a_step_outside_of_the_season_is_out_of_range(step):
    with pytest.raises(InputError, match=rf"made: step {step} is out of range; .* it must be 1 to 8"):
        made(8).as_of(step)


def test_steps_are_named_with_commas():
    assert parse_steps("12, 6,6,9") == (6, 9, 12)
    assert parse_steps("") == ()
    with pytest.raises(InputError, match="--steps is 'six'; give whole numbers"):
        parse_steps("six")


def test_the_last_step_is_the_whole_season_and_is_said_to_change_nothing(small_card, tmp_path, capsys):
    assert without_the_end((6, 9), 12) == ((6, 9), "")
    assert without_the_end((9, 12), 12)[0] == (9,)
    given = ["--data", str(small_card), "--cache", str(tmp_path / "cache"), "--encoder", "none", "--dry-run"]
    printed = []
    for steps in ("9", "9,12"):
        assert render_cache.main([*given, "--steps", steps]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    said = "--steps 12 is the whole season, which is always used; it changes nothing"
    assert [line for line in printed[1] if line not in printed[0]][:1] == [said]
    assert [line for line in printed[0] if line.startswith("plan")] == [x for x in printed[1] if x.startswith("plan")]


def test_seasons_as_of_steps_are_drawn_once_and_spared_by_gc(small_card, tmp_path, capsys):
    cache = str(tmp_path / "cache")
    given = ["--data", str(small_card), "--cache", cache, "--encoder", "none", "--style.size", "96"]
    for wrong, told in (("13", "it must be 1 to 12"), ("6;9", "'6;9'")):
        assert render_cache.main([*given, "--steps", wrong]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    assert render_cache.main([*given, "--steps", "9,3"]) == 0
    assert "1,008 series" in (out := capsys.readouterr().out)
    # What both see of a half, all or nothing of it, is one picture: first halves as of 9, all empty second halves.
    assert "673 distinct images, 673 drawn" in out
    table = read(small_card)
    last = {entry.fingerprint: entry for entry in entries(cache)}
    assert set(last) == {one.fingerprint() for one in (table, table.as_of(3), table.as_of(9))}
    assert entries(cache)[-1].fingerprint == table.fingerprint()
    assert cache_main(["gc", "--cache", cache, "--min-age", "0", "--apply"]) == 0
    capsys.readouterr()
    assert render_cache.main([*given, "--steps", "9,3", "--dry-run"]) == 0
    assert "0 to draw" in capsys.readouterr().out


def test_a_picture_as_of_a_step_stands_in_the_y_range_of_the_whole_season(small_card, tmp_path):
    cache = str(tmp_path / "cache")
    assert render_cache.main(["--data", str(small_card), "--cache", cache, "--encoder", "none", "--steps", "6"]) == 0
    early, whole = entries(cache)
    np.testing.assert_array_equal(early.keys[:, :, 0], whole.keys[:, :, 0])
    assert (early.keys[:, :, 1] == early.keys[0, 0, 1]).all()  # nothing seen of the second half
    assert Style().y_range == "fixed"


def test_render_cache_and_complete_print_the_same_first_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    first = read(tmp_path / "card.toml", for_prediction=True).describe()
    monkeypatch.setattr(complete, "require_known_steps", lambda table: next(iter(())))  # stops after the first lines
    args = complete.Arguments(data=str(tmp_path / "card.toml"), cache=str(tmp_path / "cache"))
    with pytest.raises(StopIteration):
        complete.complete_table(args)
    assert capsys.readouterr().out.splitlines()[0] == first
    assert " samples x " in first
    render_cache.describe(read(tmp_path / "card.toml", for_prediction=True), "")
    assert capsys.readouterr().out.splitlines()[0] == first
