"""Packed numbers of cubes: apply marks of missing data and valid ranges, which refer to numbers as they are stored.

xarray unpacks (`scale_factor`, `add_offset`) and drops `_FillValue` and `missing_value`. Here the marks that the card
names and the file's `valid_range` are applied to the same numbers as they are stored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.files.missing_values import Stored
from pipeline.sources.files.stored_numbers import Marks, count_marks, without_marks

if TYPE_CHECKING:
    import xarray as xr

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Unpacked:
    """A cube with NaN for what is missing; numbers: the same variables as stored, with the same NaN."""

    cube: xr.Dataset
    numbers: Mapping[str, xr.DataArray]
    marks: Marks
    findings: tuple[Finding, ...] = ()

    def form(self, name: str, decoded: Stored) -> Stored:
        """How a variable is stored: its numbers as they are, and the declared range in their unit.

        decoded: how the card turns what xarray decodes into values
        """
        attributes = self.numbers[name].attrs
        factor = decoded.scale * float(attributes.get("scale_factor", 1.0))
        shift = decoded.scale * float(attributes.get("add_offset", 0.0))
        ends = [None if end is None else (end - shift) / factor for end in (decoded.low, decoded.high)]
        below, above = ends if factor > 0 else reversed(ends)
        return Stored(1.0, 0.0, below, above, decoded.variate, decoded.missing)


def unpack(cube: xr.Dataset, stored: xr.Dataset, missing: Mapping[str, Sequence[float]]) -> Unpacked:
    """Apply marks and valid ranges to variables. cube: decoded by xarray; stored: the same as stored.

    missing: the numbers that stand for missing data in each variable
    """
    marks: Counter[tuple[str, float]] = Counter()
    numbers, findings, masked = {}, [], {}
    for name, named in missing.items():
        raw = stored[name]
        if raw.dtype.kind not in "iuf":
            continue
        kept = raw.to_numpy().astype(np.float64)
        marks.update(count_marks(name, kept, named))
        decoded = cube[name].to_numpy()
        absent = np.isnan(without_marks(kept, named)) | np.isnan(decoded)
        invalid = _invalid(raw, kept, decoded) & ~absent
        if invalid.any():
            findings.append(_invalid_finding(name, raw, int(invalid.sum())))
        absent |= invalid
        if absent.any():
            masked[name] = cube[name].where(~absent)
        numbers[name] = raw.copy(data=np.where(absent, np.nan, kept))
    return Unpacked(cube.assign(masked), numbers, marks, tuple(findings))


def without_fill_values(path: Path, raw: xr.Dataset) -> xr.Dataset:
    """The cube without the marks of missing data that xarray derives from `fill_value` in Zarr format 2.

    There `fill_value` is the content of unwritten chunks, zero by default. It marks nothing without an attribute.
    """
    for name, variable in raw.variables.items():
        about = path / str(name) / ".zattrs"
        if "_FillValue" not in variable.attrs or not (path / str(name) / ".zarray").is_file():
            continue
        said = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
        if "_FillValue" not in said:
            del variable.attrs["_FillValue"]
    return raw


def fill_values(path: Path, names: Sequence[str], stored: Mapping[str, xr.DataArray]) -> tuple[Finding, ...]:
    """Findings about cells that equal `fill_value` in Zarr format 2, which is not a mark of missing data."""
    found = []
    for name in names:
        about = path / name / ".zarray"
        if name not in stored or not about.is_file() or {"_FillValue", "missing_value"} & {*stored[name].attrs}:
            continue
        fill = json.loads(about.read_text(encoding="utf-8")).get("fill_value")
        if not isinstance(fill, int | float) or isinstance(fill, bool):
            continue
        cells = int((stored[name].to_numpy() == fill).sum())
        if cells:
            sentence = (
                f"{path.name}: {cells} cell{'s' * (cells != 1)} of {name} {'hold' if cells != 1 else 'holds'} "
                f"{fill:g}, the `fill_value` of its Zarr array. It is read as measured, because no attribute of the "
                "file calls it missing."
            )
            found.append(Finding("note" if fill == 0 else "warning", sentence, f"missing = [{fill:g}]"))
    return tuple(found)


def _range(raw: xr.DataArray) -> tuple[float, float, Any] | None:
    """(lowest, highest, dtype kind) of the valid range in the file's attributes; None without one."""
    about = raw.attrs
    if "valid_range" in about and np.size(about["valid_range"]) == 2:
        low, high = np.asarray(about["valid_range"]).tolist()
        kind = np.asarray(about["valid_range"]).dtype.kind
    elif "valid_min" in about or "valid_max" in about:
        low, high = about.get("valid_min", -np.inf), about.get("valid_max", np.inf)
        kind = np.asarray(about.get("valid_min", about.get("valid_max"))).dtype.kind
    else:
        return None
    try:
        return float(low), float(high), kind
    except (TypeError, ValueError):
        return None


def _invalid(raw: xr.DataArray, kept: NDArray[np.float64], decoded: NDArray[Any]) -> Bool:
    valid = _range(raw)
    if valid is None:
        return np.zeros(kept.shape, bool)
    low, high, kind = valid
    # The netCDF guide: a range of fractions beside stored whole numbers means the unpacked values.
    numbers = decoded if kind == "f" and raw.dtype.kind in "iu" and "scale_factor" in raw.attrs else kept
    return np.asarray((numbers < low) | (numbers > high), bool)


def _invalid_finding(name: str, raw: xr.DataArray, cells: int) -> Finding:
    low, high, _ = _range(raw) or (np.nan, np.nan, "")
    return Finding(
        "note",
        f"{cells} value{'s' * (cells != 1)} of {name} {'lie' if cells != 1 else 'lies'} outside the file's valid range "
        f"{low:g} to {high:g} and {'are' if cells != 1 else 'is'} read as missing.",
    )
