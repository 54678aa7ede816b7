"""Views are what their flags say, the same everywhere, cached like any series, and learnt by both modalities alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import render_cache
import train
from model.season_tensors import SeasonTensors, WindowTensors, in_views
from pipeline.augmentation import Views, view_tables
from pipeline.sources import read
from pipeline.splits import make_folds
from pipeline.style import Style
from report.run import RunFolder
from stages.inputs.fold_data import Pictures, prepare

OFF = Views(count=2, noise=0, warp=0, mask=0)


@pytest.fixture
def table(small_card):
    return read(small_card)


def test_a_view_of_nothing_is_the_season_as_measured(table):
    for view in view_tables(table, OFF):
        np.testing.assert_array_equal(view.observed, table.observed)
        np.testing.assert_array_equal(view.values, table.values)


def test_noise_has_the_spread_it_says_and_moves_nothing_else(table):
    (view,) = view_tables(table, replace(OFF, count=1, noise=0.01))
    np.testing.assert_array_equal(view.observed, table.observed)
    spread = np.nanstd(table.values, axis=2, keepdims=True)
    noise = ((view.values - table.values) / spread)[table.observed]
    assert noise.std() == pytest.approx(0.01, rel=0.05)
    assert abs(noise.mean()) < 0.001


def test_a_mask_takes_the_share_it_says_and_leaves_every_other_number(table):
    (view,) = view_tables(table, replace(OFF, count=1, mask=0.1))
    assert 1 - view.observed.sum() / table.observed.sum() == pytest.approx(0.1, abs=0.02)
    assert not (view.observed & ~table.observed).any()
    np.testing.assert_array_equal(view.values[view.observed], table.values[view.observed])


def test_a_warp_reads_the_season_about_its_middle_at_0_9_to_1_1_times_its_speed(table):
    ramp = np.broadcast_to(np.arange(table.steps, dtype=np.float32), table.values.shape).copy()
    ramp += np.arange(len(table), dtype=np.float32)[:, None, None]  # every sample draws a speed of its own
    straight = replace(table, values=ramp, observed=np.ones(ramp.shape, bool))
    (view,) = view_tables(straight, replace(OFF, count=1, warp=0.1))
    middle = slice(2, -2)
    speed = np.diff(view.values[:, 0, middle], axis=1)
    np.testing.assert_allclose(speed, speed[:, :1].repeat(speed.shape[1], 1), atol=1e-4)  # one speed a sample
    np.testing.assert_array_equal(view.values[:, 0], view.values[:, 1])  # and for all of its variates
    assert speed.min() >= 0.9 - 1e-4
    assert speed.max() <= 1.1 + 1e-4
    assert np.ptp(speed) > 0.15
    centre = view.values[:, 0, 5:7].mean(1) - np.arange(len(table))
    np.testing.assert_allclose(centre, (table.steps - 1) / 2, atol=1e-4)
    assert not view.observed[speed[:, 0] > 1.02][:, :, [0, -1]].any()  # beyond the ends there is nothing


def test_views_depend_on_the_sample_and_the_number_alone(table):
    views = Views(count=2)
    first, second = view_tables(table, views)
    assert not np.array_equal(first.values, second.values, equal_nan=True)
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = view_tables(table.rows(order), views)
    for view, again in zip((first, second), shuffled, strict=True):
        np.testing.assert_array_equal(view.values[order], again.values)
        np.testing.assert_array_equal(view.values, view_tables(table, Views(count=2))[int(view is second)].values)
    np.testing.assert_array_equal(first.values, view_tables(table, Views(count=1))[0].values)


def test_labels_places_and_the_number_of_samples_stay(table):
    for view in view_tables(table, Views(count=1)):
        np.testing.assert_array_equal(view.target, table.target)
        np.testing.assert_array_equal(view.sample_id, table.sample_id)


def test_a_draw_takes_series_and_picture_of_one_view():
    def marked(view):
        halves = [WindowTensors(torch.full((5, 2, 3), view + h / 2) + torch.arange(5)[:, None, None] * 10,
                             torch.ones(5, 2, 3, dtype=torch.bool),
                             (torch.full((5, 2, 4), view + h / 2) + torch.arange(5)[:, None, None] * 10).half())
                  for h in (0, 1)]  # fmt: skip
        return SeasonTensors(*halves)

    rows, views = torch.tensor([4, 0, 3, 3, 1]), torch.tensor([2, 0, 1, 2, 0])
    season = in_views([marked(0), marked(1), marked(2)], rows, views)
    for number, half in enumerate((season.first, season.second)):
        assert half.values[:, 0, 0].tolist() == (rows * 10 + views + number / 2).tolist()
        assert half.embeddings[:, 0, 0].tolist() == half.values[:, 0, 0].tolist()


@pytest.mark.slow
def test_views_are_drawn_embedded_and_reused_and_training_learns_from_them(small_card, tmp_path, capsys):
    cache, data = str(tmp_path / "cache"), ["--data", str(small_card), "--cache", str(tmp_path / "cache")]
    assert render_cache.main([*data, "--encoder", "efficientnet-lite0"]) == 0
    given = ["--stage", "1", "--epochs", "2", *data, "--views", "1"]
    capsys.readouterr()
    assert train.main([*given, "--out", str(tmp_path / "early")]) == 2
    assert "render_cache.py" in (message := capsys.readouterr().err)
    assert "--views 1" in message
    assert render_cache.main([*data, "--encoder", "efficientnet-lite0", "--views", "1"]) == 0
    assert "672 series" in (out := capsys.readouterr().out)
    assert "336 drawn, 336 reused" in out
    assert render_cache.main([*data, "--encoder", "efficientnet-lite0", "--views", "1"]) == 0
    assert "0 drawn, 672 reused; 0 embedded, 672 reused" in capsys.readouterr().out
    for name in ("views", "again"):
        assert train.main([*given, "--out", str(tmp_path / name)]) == 0
    assert train.main([*given[:-2], "--out", str(tmp_path / "plain")]) == 0
    weights = {n: (tmp_path / n / "model.safetensors").read_bytes() for n in ("views", "again", "plain")}
    assert weights["views"] == weights["again"] != weights["plain"]
    two = ["--stage", "2", "--epochs", "2", *data, "--views", "1", "--from", str(tmp_path / "views")]
    assert train.main([*two, "--out", str(tmp_path / "two")]) == 0
    assert RunFolder.open(tmp_path / "two").read_json("config.json")["views"] == 1
    # The picture that is learnt beside a view's numbers is the picture of these numbers.
    season = read(small_card)
    fold = make_folds(season.year, season.place, season.sample_id, split="year")[0]
    views = view_tables(season, Views(count=1))
    pictures = Pictures.find(cache, Style(), season, encoder=None, command="")
    ready = prepare(season, fold, "halves", pictures=pictures, views=views)
    expected = pictures.vectors(views[0], ready.scales.ranges)
    assert torch.equal(ready.seasons[1].first.embeddings, torch.from_numpy(expected[0]))
    assert torch.equal(ready.seasons[1].first.observed[:, :, :6], torch.from_numpy(views[0].observed[:, :, :6].copy()))


@pytest.mark.parametrize(
    ("flag", "value"), [("--views", "-1"), ("--mask", "0.95"), ("--warp", "0.9"), ("--noise", "2")]
)
def test_numbers_that_no_view_can_have_are_refused(small_card, tmp_path, capsys, flag, value):
    more = [] if flag == "--views" else ["--views", "1"]
    given = ["--data", str(small_card), "--cache", str(tmp_path / "cache"), *more, flag, str(value)]
    assert render_cache.main([*given, "--encoder", "none"]) == 2
    assert train.main(["--stage", "1", *given]) == 2
    assert capsys.readouterr().err.count(f"{flag} is {value}") == 2
    assert not (tmp_path / "cache").exists()
