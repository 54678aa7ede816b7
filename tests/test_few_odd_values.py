"""A few percent of values that are a fill value or in another scale, and ordinary quantities that must not look so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.sources import read
from pipeline.sources.checks.negative_mark import negative_mark
from pipeline.sources.checks.outside_range import far_outside
from pipeline.sources.checks.repeated_extremes import repeated_extremes
from pipeline.sources.checks.scaled_values import scaled_values
from pipeline.table import Variate

Floats = NDArray[np.float64]
N, STEPS = 72, 18
BARE = Variate("x")
RANGED = Variate("x", low=-0.2, high=1.0)
IDS = np.array([f"p{n}" for n in range(N)])


def ordinary(kind: str, seed: int = 0) -> Floats:
    """Values [N,STEPS] of a quantity as stations and satellites give them."""
    rng, step = np.random.default_rng(seed), np.arange(STEPS)
    peak = rng.uniform(0.4, 0.8, (N, 1)) * np.exp(-(((step - 9) / 4.5) ** 2))
    ndvi = 0.18 + peak + rng.normal(0, 0.03, (N, STEPS))
    rain = rng.gamma(0.7, 30, (N, STEPS)) * (rng.random((N, STEPS)) > 0.4)
    celsius = 8 + 14 * np.sin((step - 3) / 18 * 2 * np.pi) + rng.normal(0, 3, (N, STEPS))
    return np.asarray(
        {
            "ndvi": ndvi.round(4),
            "ndvi clipped": np.clip(ndvi * 1.2, -0.2, 0.9).round(4),
            "rain": rain.round(1),
            "rain in m": (rain / 1000).round(5),
            "temperature": celsius.round(1),
            "whole degrees": celsius.round(),
            "frost that stays above -1": np.maximum(celsius, -0.9).round(),
            "cloud cover": np.clip(rng.normal(70, 30, (N, STEPS)), 0, 100).round(1),
            "soil moisture": np.clip(rng.normal(0.3, 0.1, (N, STEPS)).cumsum(axis=1) / 6, 0.1, 0.45).round(3),
            "snow": np.where(step < 5, rng.gamma(0.5, 40, (N, STEPS)), 0).round(1),
            "long tail": rng.lognormal(0, 1.2, (N, STEPS)),
        }[kind]
    )


KINDS = (
    "ndvi", "ndvi clipped", "rain", "rain in m", "temperature", "whole degrees", "frost that stays above -1",
    "cloud cover", "soil moisture", "snow", "long tail",
)  # fmt: skip


def few(values: Floats, share: float = 0.03) -> NDArray[np.bool_]:
    """Some cells of values, spread evenly."""
    chosen = np.zeros(values.size, bool)
    chosen[:: int(1 / share)] = True
    return chosen.reshape(values.shape)


def told(variate: Variate, values: Floats) -> str:
    found = [*repeated_extremes(variate, values), *negative_mark(variate, values), *scaled_values(variate, values)]
    found += far_outside(variate, values, IDS)
    return "\n".join(f"{finding.severity}: {finding.sentence} {finding.card_line}" for finding in found)


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_quantities_give_no_finding(kind: str) -> None:
    for seed in range(8):
        assert told(BARE, ordinary(kind, seed)) == ""


@pytest.mark.parametrize("fill", [0.94, 1.0, 1.02])
def test_a_scaled_fill_value_at_the_upper_edge_is_reported(fill: float) -> None:
    values = ordinary("ndvi") * 0.85
    values[few(values)] = fill
    text = told(RANGED, values)
    assert text.startswith(f"warning: x is exactly {fill:g}, its highest value, in ")
    assert "missing = [...] # among the keys of x" in text


def test_a_mark_of_minus_one_is_reported_for_what_is_never_negative() -> None:
    rain = ordinary("rain")
    rain[few(rain)] = -1
    text = told(BARE, rain)
    assert "warning: x is exactly -1 in 40 of 1296 cells and negative in no other" in text
    assert "missing = [-1] # among the keys of x" in text
    whole = rain.round()
    assert told(BARE, whole) == ""  # whole degrees may look so
    assert "exactly -1" in told(replace(BARE, low=0.0), whole)


@pytest.mark.parametrize("times", [100, 1000, 10_000])
def test_rows_in_another_scale_are_reported_without_a_range(times: int) -> None:
    values = ordinary("ndvi")
    values[few(values)] *= times
    text = told(BARE, values)
    assert f"(3.1%), such as {np.nanmax(values):.4g}, are about {times:,} times those of the other samples" in text


@pytest.mark.parametrize("times", [10, 100])
def test_values_far_outside_the_range_are_a_warning_with_share_and_cause(times: int) -> None:
    values = ordinary("ndvi")
    values[few(values)] *= times
    text = told(RANGED, values)
    assert text.startswith("warning: ")
    assert "further from it than its width" in text
    assert f"Divided by {times:,}, 100% of them lie within it" in text


def test_few_values_far_outside_stay_a_note_and_marks_are_no_scale() -> None:
    values = ordinary("ndvi")
    values[3, 4] = 4.17
    assert told(RANGED, values).startswith("note: 1 sample has a value of x far outside")
    values[few(values)] = 6.5535
    assert "Divided by" not in told(RANGED, values)
    assert "name them in `missing`" in told(RANGED, values)


def test_flags_of_one_byte_are_found_behind_the_offset_of_a_cube(tmp_path: Path) -> None:
    import xarray as xr

    values = ordinary("ndvi")
    codes = ((np.clip(values, 0, 0.9) + 0.08) / 0.004).round()
    codes[few(values, 0.1)] = 255
    ndvi = xr.Variable(("place", "step"), codes.astype(np.uint8), {"scale_factor": 0.004, "add_offset": -0.08})
    labels = {"year": ("place", np.full(N, 2020)), "t": ("place", np.linspace(3, 7, N))}
    cube = xr.Dataset({"ndvi": ndvi, **labels}, {"place": IDS.astype(object), "step": np.arange(STEPS)})
    cube.to_netcdf(tmp_path / "f.nc")
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "netcdf"\nfiles = "f.nc"\nyear = "year"\nstep = "step"\n[[variates]]\nname = "ndvi"\n'
        'low = -0.2\nhigh = 1.0\n[target]\ncolumn = "t"\nunit = "t/ha"\n'
    )
    text = read(tmp_path / "card.toml").describe_findings()
    assert "ndvi is stored as whole numbers up to 255" in text
    assert "missing = [255] # among the keys of ndvi" in text
