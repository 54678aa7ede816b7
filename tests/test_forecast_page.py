"""The page of new forecasts: its numbers are those of the files; an earlier forecast is of the same seasons."""

import numpy as np
import pandas as pd
import pytest

import predict
from pipeline.errors import InputError
from report.forecast_page import MOST_ROWS, ForecastPage, read_forecasts

ROWS = pd.DataFrame({"sample_id": ["a|2001", "b|2001"], "place": ["a", "b"], "year": 2001, "y_pred": [5.0, 6.0],
                     "y_lo": [4.0, 5.0], "y_hi": [6.0, 8.0]})  # fmt: skip
KNOWN = pd.DataFrame({"place": ["a", "a", "a", "a"], "year": [1999, 2000, 2000, 2002], "target": [3.0, 5.0, 5.0, 99.0]})


def page(rows=ROWS, known=KNOWN, **more):
    given = {"shapes": [], "earlier": None, "moment": "of whole seasons", "about": "", "warnings": [], "command": "x"}
    return ForecastPage(rows=rows, known=known, **(given | more))


def test_the_usual_yield_of_a_place_is_the_mean_of_earlier_years_each_once():
    usual = page()._usual()
    assert usual[0] == 4.0  # 1999 and 2000; two folds know 2000; 2002 is later
    assert np.isnan(usual[1])


def test_the_headline_gives_mean_range_width_and_change():
    text = page(earlier=ROWS.assign(y_pred=[4.5, 6.5])).html()
    assert "2 forecasts of whole seasons: 5.50 t/ha on average, from 5.00 to 6.00 t/ha" in text
    assert "A 90 % interval is 2.50 t/ha wide on average." in text
    assert "The mean is 1.00 t/ha above earlier known yields of the same places." in text
    assert "the mean changed by +0.00 t/ha: 1 forecast rose and 1 fell." in text
    assert "There is no map" in text


def test_without_known_yields_or_an_earlier_forecast_their_columns_are_left_out():
    text = page(known=KNOWN[:0]).html()
    assert "mean of earlier yields" not in text
    assert "change since" not in text


def test_a_large_table_is_cut_and_says_so():
    many = pd.concat([ROWS.assign(place=f"p{n}", sample_id=[f"{n}a", f"{n}b"]) for n in range(MOST_ROWS)])
    text = page(many.reset_index(drop=True)).html()
    assert text.count("<tr>") == MOST_ROWS + 1
    assert f"The first {MOST_ROWS:,} of {len(many):,}; the file has all." in text


@pytest.mark.parametrize(
    ("name", "frame", "says"),
    [
        ("none.csv", None, "is no file"),
        ("x.csv", pd.DataFrame({"a": [1]}), "needs sample_id and y_pred"),
        ("x.csv", ROWS.assign(sample_id=["c", "d"]), "forecasts other samples"),
        ("x.parquet", None, "is no file"),
    ],
)
def test_an_earlier_forecast_that_cannot_be_compared_is_refused(tmp_path, name, frame, says):
    if frame is not None:
        frame.to_csv(tmp_path / name, index=False)
    with pytest.raises(InputError, match=says):
        read_forecasts(tmp_path / name, ROWS)


def test_ids_that_look_like_numbers_stay_texts(tmp_path):
    rows = ROWS.assign(sample_id=["007", "008"])
    rows.to_csv(tmp_path / "x.csv", index=False)
    assert read_forecasts(tmp_path / "x.csv", rows)["sample_id"].tolist() == ["007", "008"]


def test_since_needs_a_page(tmp_path, capsys):
    flags = ["--run", str(tmp_path), "--data", "x.csv", "--out", str(tmp_path / "x.csv"), "--since", "y.csv"]
    assert predict.main(flags) == 2
    assert "--page forecasts.html" in capsys.readouterr().err


def test_how_well_the_run_did_is_told_for_the_time_of_the_forecast():
    whole = {"rmse": 0.5, "r2": 0.8, "coverage_90": 0.91}
    steps = [{"step": s, "completed": False, "lead_days": 220 - 10 * s, "rmse": r, "r2": 0.1, "coverage_90": 0.8}
             for s, r in ((12, 1.2), (18, 0.9))]  # fmt: skip
    result = {"metrics": whole, "n_test": 48, "folds": ["2000"], "split": "year",
              "early": {"until": "harvest", "steps": steps}}  # fmt: skip
    fitted = {"2000": in_use([12, 18])}
    assert "whole seasons with an RMSE of 0.50 t/ha" in predict.reliability(result, fitted, None)
    middle = predict.reliability(result, fitted, 15)
    assert "known up to step 12, 100 days before harvest with an RMSE of 1.20 t/ha" in middle
    assert "80% of the yields" in middle


def in_use(steps, completed=False):
    """A fold of fitted.json whose forecaster reads seasons so far, completed or not."""
    readings = [{"step": None, "completed": False}, *({"step": s, "completed": completed} for s in steps)]
    return {"forecaster": {"readings": readings}}


def test_the_reliability_is_that_of_the_reading_in_use():
    steps = [{"step": 12, "completed": way, "lead_days": 100, "rmse": r, "r2": 0.1, "coverage_90": 0.8}
             for way, r in ((False, 1.2), (True, 0.7))]  # fmt: skip
    result = {"metrics": {}, "n_test": 48, "folds": ["2000"], "split": "year",
              "early": {"until": "harvest", "steps": steps}}  # fmt: skip
    completed, open_ = in_use([12], completed=True), in_use([12])
    text = predict.reliability(result, {"2000": completed}, 14)
    assert "step 12 and completed by stage 1, 100 days before harvest with an RMSE of 0.70 t/ha" in text
    assert "RMSE of 1.20 t/ha" in predict.reliability(result, {"2000": open_}, 14)
    assert "RMSE of 1.20 t/ha" in predict.reliability(result, {"2000": open_, "2001": completed}, 14)
