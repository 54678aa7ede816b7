"""Times of cubes that cannot be read as dates, and what to do about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.card import DatasetCard
from pipeline.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

INEXACT = ("month", "year", "common_year")


def refuse_odd_time_units(card: DatasetCard, path: Path, options: dict[str, Any]) -> None:
    """Raise `InputError` if the cube counts time in units that have no fixed length, such as months."""
    import xarray as xr

    try:
        with xr.open_dataset(path, decode_cf=False, **options) as raw:
            units = {str(name): str(raw[name].attrs.get("units", "")) for name in raw.variables}
    except (OSError, ValueError, KeyError):
        return
    for name, unit in units.items():
        if " since " in unit and unit.split(" since ")[0].strip().rstrip("s").lower() in INEXACT:
            raise InputError(
                f"{path}: {name} counts {unit!r}, which gives no dates, because months and years differ in length. "
                f'Store it as \'days since ...\' (in xarray: `cube["{name}"] = pandas.date_range(..., freq="MS")`). '
                f"If it counts the steps of a season, name it as `step` instead of `date` in {card.path} and set "
                'step_days = "month".'
            )


def refuse_timeless(card: DatasetCard, path: Path, cube: xr.Dataset) -> None:
    """Raise `InputError` if the card's `date` is a dimension without dates, or has numbers without units."""
    name = card.date
    if name is None:
        return
    if name not in cube.variables:
        raise InputError(
            f"{path}: {name} is a dimension without a coordinate, so its {cube.sizes[name]} steps have no dates. Add "
            f"them (in xarray: `cube.assign_coords({name}=dates)`). If it counts steps, name it as `step` instead of "
            f"`date` in {card.path}."
        )
    if cube[name].dtype.kind in "iuf":
        first = cube[name].to_numpy().ravel()[:1].tolist()
        raise InputError(
            f"{path}: {name} holds plain numbers (the first is {first[0] if first else 'none'}) without units such as "
            f"'days since 2020-01-01', so they are not dates. Add the attribute `units`. If it counts steps, name "
            f"{name} as `step` instead of `date` in {card.path}."
        )
