"""Of what is learnt beyond the offset, as much is kept as holds for years and places that were not learnt from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import train
from model.cross_fitting import best_epoch_of_all, kept_share, parts_of
from report.run import RunFolder
from tests.conftest import CARD, small_seasons


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 3.0), st.floats(0.0, 2.0))
def test_the_kept_share_is_the_one_with_the_least_squared_error(seed, scale, noise):
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 1, 40)
    said = scale * (truth + rng.normal(0, noise, 40))
    share = kept_share(truth, said)
    errors = {tried: np.sum((truth - tried * said) ** 2) for tried in np.linspace(0, 1, 201)}
    assert share == pytest.approx(min(errors, key=errors.get), abs=0.006)


def test_nothing_is_kept_of_what_points_the_wrong_way_and_all_of_nothing():
    assert kept_share(np.array([1.0, -1.0]), np.array([-1.0, 1.0])) == 0
    assert kept_share(np.array([1.0, -1.0]), np.zeros(2)) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.lists(st.floats(0, 4, width=32), min_size=1, max_size=6)),
        min_size=1,
        max_size=5,
    )
)
def test_the_epoch_is_the_one_with_the_least_squared_error_over_the_rows_of_all_parts(parts):
    reached = min(len(curve) for _, curve in parts)
    totals = [sum(rows * curve[epoch] for rows, curve in parts) for epoch in range(reached)]
    rows, curves = np.array([rows for rows, _ in parts]), [np.array(curve) for _, curve in parts]
    assert totals[best_epoch_of_all(curves, rows)] == pytest.approx(min(totals))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=60).filter(lambda g: len(set(g)) > 1), st.integers(2, 6))
def test_parts_hold_whole_groups_and_every_row_is_left_out_once(group, parts):
    found = parts_of(np.array(group), parts)
    assert sorted(set(found)) == list(range(min(parts, len(set(group)))))
    for one in set(group):
        assert len(set(found[np.array(group) == one])) == 1


def test_yields_that_the_season_does_not_tell_are_forecast_by_their_offset(tmp_path):
    """Shrunken, a model that learnt noise says less of it; where there is something to learn it says the same."""
    errors, shares = {}, {}
    for name, meaning in (("noise", 0.0), ("signal", 3.0)):
        rng = np.random.default_rng(3)
        table = small_seasons()
        peak = table[[column for column in table if column.startswith("ndvi_")]].max(axis=1)
        level = table["place"].map({place: rng.normal(5, 0.8) for place in table["place"].unique()})
        table["yield_t_ha"] = level + meaning * (peak - 0.65) + rng.normal(0, 0.4, len(table))
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.toml").write_text(CARD)
        table.to_csv(tmp_path / name / "seasons.csv", index=False)
        flags = ["--data", str(tmp_path / name / "card.toml"), "--preset", "language-only", "--split", "leave-year-out"]
        one = str(tmp_path / name / "one")
        assert train.main(["--stage", "1", "--epochs", "2", *flags, "--out", one]) == 0
        for shrink in ("--shrink", "--no-shrink"):
            out = tmp_path / name / shrink
            assert train.main(["--stage", "2", *flags, "--from", one, shrink, "--out", str(out)]) == 0
            run = RunFolder.open(out)
            shares[name, shrink] = [fold["forecaster"]["kept"] for fold in run.read_json("fitted.json").values()]
            result = run.read_json("result.json")
            errors[name, shrink] = result["metrics"]["rmse"] / result["baselines"]["offset alone"]["rmse"]
    assert set(shares["noise", "--no-shrink"] + shares["signal", "--no-shrink"]) == {1.0}
    assert np.mean(shares["noise", "--shrink"]) < np.mean(shares["signal", "--shrink"])
    assert errors["noise", "--shrink"] < errors["noise", "--no-shrink"]
    assert errors["noise", "--shrink"] == pytest.approx(1, abs=0.02)
    assert errors["signal", "--shrink"] < 0.95
