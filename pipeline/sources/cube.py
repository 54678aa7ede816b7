"""NetCDF and Zarr cubes, opened by xarray and converted to a long table with one row per cell."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.checks.byte_codes import byte_codes
from pipeline.sources.checks.cube_attributes import compare_attributes
from pipeline.sources.checks.missing_values_report import masked_cells, unmatched_of_variates
from pipeline.sources.cube_times import refuse_odd_time_units, refuse_timeless
from pipeline.sources.files.columns import Columns, Text, joined, require, with_joined_place
from pipeline.sources.files.csv_text import CATEGORY, MISSING, MISSING_NAMES
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.missing_values import before_offset, refuse_marks
from pipeline.sources.files.packing import Unpacked, fill_values, unpack, without_fill_values
from pipeline.sources.files.stored_numbers import Marks, as_measured
from pipeline.sources.labels import target_column, year_in_name
from pipeline.sources.long_table import LongTable
from pipeline.sources.names.place_names import normal_names
from pipeline.sources.times.time_zones import zones_of_times

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

# Bytes per cell: its value, as read and as float32, for each variate, and its keys.
_VALUE_BYTES, _KEY_BYTES = 16, 160


def load_cube(
    card: DatasetCard, files: Sequence[Path], year: int | None, budget: Budget, for_prediction: bool
) -> LongTable:
    """Read the card's variables of every cube.

    The series have the dimensions (sample, step), (place, year, step) or (place, time), in any order. The yield has any
    of these dimensions, or (place, year) if the series have a time axis. Keys may be variables, such as place(sample).
    Raises `InputError` if dimensions, keys or numbers are invalid.
    """
    parts = [_load(card, path, budget, for_prediction) for path in files]
    target = None if any(part.target is None for part in parts) else parts[0].target
    labels_apart = any(part.labels is not part.observations for part in parts)
    observations = joined([part.observations for part in parts])
    of_variates = [(variate, (variate.column or variate.name,)) for variate in card.series]
    findings = [finding for part in parts for finding in part.findings]
    return LongTable(
        observations=observations,
        labels=joined([part.labels for part in parts]) if labels_apart else observations,
        target=target,
        year=year or (year_in_name(files[0]) if len(files) == 1 else None),
        findings=(*dict.fromkeys(findings), *unmatched_of_variates(observations.marks, of_variates)),
        counts=masked_cells(observations.marks, of_variates),
        files=tuple(path.name for path in files),
    )


def _load(card: DatasetCard, path: Path, budget: Budget, for_prediction: bool) -> LongTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of libraries do not help here; the checks below do
        return _loaded(card, path, budget, for_prediction)


def _loaded(card: DatasetCard, path: Path, budget: Budget, for_prediction: bool) -> LongTable:
    # Coordinates become plain variables, because the card names what is read, whatever its role in the file.
    with _opened(card, path) as opened, _opened(card, path, packed=True) as packed:
        cube = opened.reset_coords()
        present = [str(name) for name in dict.fromkeys([*cube.variables, *cube.dims])]
        series = [variate.column or variate.name for variate in card.series]
        split = None if for_prediction else card.split
        group = card.radiometry.group if card.radiometry else None
        labels = card.target.group if card.target and not for_prediction else None
        keys = [name for name in (*card.place, card.sample_id, card.date, card.step, split, group, labels) if name]
        target = target_column(card, path, present, for_prediction)
        require(path, present, [*series, *keys, *card.static])
        refuse_timeless(card, path, cube)
        dims = _series_dims(card, path, cube, series)
        keys += [card.year] if card.year else []
        cells = int(np.prod([cube.sizes[dim] for dim in dims]))
        budget.claim(path, cells, _VALUE_BYTES * len(series) + _KEY_BYTES)
        marks = {name: (*card.missing_numbers, *one.missing) for name, one in zip(series, card.series, strict=True)}
        unpacked = unpack(cube, packed.reset_coords(), {**marks, **({target: card.missing_numbers} if target else {})})
        cube = unpacked.cube
        found = _check_stored(card, path, unpacked, dims=dims, for_prediction=for_prediction)
        findings = (*unpacked.findings, *fill_values(path, series, unpacked.numbers), *_zones(card, cube), *found)
        beside = target is not None and not {*cube[target].dims} <= {*dims}
        _refuse_stray(path, cube, split, "`split`", dims, cube[target].dims if target else dims)
        _refuse_stray(path, cube, group, "`group` of [radiometry]", dims)
        numbers = [*card.static, *([target] if target and not beside else [])]
        observations = _columns(card, path, _frame(path, cube, series, [*keys, *numbers], dims), unpacked.marks)
        if not beside:
            return LongTable(observations, observations, target, findings=findings)
        assert target is not None
        label_frame = _frame(path, cube, [target], keys, tuple(map(str, cube[target].dims)))
        needed = [card.sample_id] if card.sample_id else [*card.place, card.year or "year"]
        require(path, [str(name) for name in label_frame.columns], needed)
        return LongTable(observations, _columns(card, path, label_frame), target, findings=findings)


def _opened(card: DatasetCard, path: Path, packed: bool = False) -> xr.Dataset:
    """The cube as xarray decodes it. With `packed`, its numbers stay as they are stored."""
    import xarray as xr

    options: dict[str, Any] = {"engine": "zarr" if card.format == "zarr" else "netcdf4"}
    if card.format == "zarr":
        options["consolidated"] = _is_consolidated(path)
    try:
        raw = xr.open_dataset(path, decode_cf=False, **options)
        return xr.decode_cf(without_fill_values(path, raw), mask_and_scale=not packed, decode_timedelta=False)
    except (OSError, ValueError, KeyError) as error:
        refuse_odd_time_units(card, path, options)
        raise InputError(
            f"{path}: this cannot be opened as {card.format} ({error}). Export it again, or correct `format` in the "
            f"dataset card {card.path}."
        ) from None


def _series_dims(card: DatasetCard, path: Path, cube: xr.Dataset, series: Sequence[str]) -> tuple[str, ...]:
    """The dimensions that all series share. Each must be a key of the card, or the dimension of one.

    Raises `InputError` otherwise.
    """
    dims = tuple(str(dim) for dim in cube[series[0]].dims)
    for name in series[1:]:
        if {*cube[name].dims} != {*dims}:
            raise InputError(
                f"{path}: {series[0]} lies on ({', '.join(dims)}), {name} on "
                f"({', '.join(map(str, cube[name].dims))}); all variates need the same dimensions."
            )
    keys = [name for name in (*card.place, card.year, card.sample_id, card.date, card.step) if name]
    known = {dim for key in keys if key in cube.variables for dim in cube[key].dims} | {*keys}
    strange = [dim for dim in dims if dim not in known]
    if strange or not dims:
        raise InputError(
            f"{path}: {series[0]} lies on ({', '.join(dims)}), and the dataset card does not explain "
            f"{strange[0] if strange else 'a single number'}. Name the dimension, or a variable along it, as "
            "`place`, `year`, `sample_id`, `date` or `step`. Each pixel needs a `place`."
        )
    return dims


def _refuse_stray(path: Path, cube: xr.Dataset, name: str | None, key: str, *homes: Sequence[Hashable]) -> None:
    """Raise `InputError` if the variable `name` has dimensions that are not in any of the tuples `homes`."""
    if name is None or any({*cube[name].dims} <= {*home} for home in homes):
        return
    wanted = " or ".join(f"({', '.join(map(str, home))})" for home in dict.fromkeys(homes))
    raise InputError(
        f"{path}: {name}, the {key} of the dataset card, lies on ({', '.join(map(str, cube[name].dims))}); it must "
        f"lie within {wanted}."
    )


def _frame(
    path: Path, cube: xr.Dataset, names: Sequence[str], beside: Sequence[str], dims: Sequence[str]
) -> pd.DataFrame:
    """One row per cell of `dims`: the variables `names`, and those of `beside` that have only these dimensions."""
    within = [name for name in beside if name in cube.variables and {*cube[name].dims} <= {*dims}]
    chosen = list(dict.fromkeys([*names, *within]))
    try:
        return cube[chosen].to_dataframe(dim_order=list(dims)).reset_index()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: the cube is damaged ({error}); export or fetch it again.") from None


def _is_consolidated(path: Path) -> bool:
    """Whether a Zarr store has the metadata of all its arrays in one file."""
    if (path / ".zmetadata").is_file():
        return True
    root = path / "zarr.json"
    return root.is_file() and '"consolidated_metadata"' in root.read_text(encoding="utf-8")


def _check_stored(
    card: DatasetCard, path: Path, unpacked: Unpacked, *, dims: Sequence[str], for_prediction: bool
) -> tuple[Finding, ...]:
    """Findings about stored numbers and their attributes. Raises `InputError` for marks of missing data among them."""
    of_card = [(variate.column or variate.name, variate) for variate in card.series]
    chosen = [(name, variate) for name, variate in of_card if name in unpacked.numbers]
    if not chosen:
        return ()
    stored = _stored(path, [unpacked.numbers[name].transpose(*dims) for name, _ in chosen])
    forms = [unpacked.form(name, before_offset(variate)) for name, variate in chosen]
    names = [[(name,) for name, _ in chosen]]
    refuse_marks([stored], names, forms, missing=card.missing_numbers, for_prediction=for_prediction)
    codes = byte_codes([stored], [variate for _, variate in chosen], [1] * len(chosen), stored=True)
    attributes = [(variate, unpacked.numbers[name].attrs) for name, variate in chosen]
    return (*codes, *(found for variate, said in attributes for found in compare_attributes(path, variate, said)))


def _stored(path: Path, numbers: Sequence[xr.DataArray]) -> Columns:
    """The stored numbers of variables with the same dimensions: one row per cell, one column per variable."""
    first = numbers[0]

    def where(row: int) -> str:
        places = np.unravel_index(row, first.shape)
        at = [
            f"{dim} {first[dim].to_numpy()[i] if dim in first.coords else i}"
            for dim, i in zip(first.dims, places, strict=True)
        ]
        return f"{path}, {', '.join(at)}"

    return Columns({}, {}, np.stack([one.to_numpy().astype(np.float32).ravel() for one in numbers], axis=1), where)


def _zones(card: DatasetCard, cube: xr.Dataset) -> tuple[Finding, ...]:
    if card.date is None or card.date not in cube.variables or cube[card.date].dtype.kind != "M":
        return ()
    return zones_of_times(cube[card.date].to_numpy().ravel(), card.date)


def _columns(card: DatasetCard, path: Path, frame: pd.DataFrame, marks: Marks | None = None) -> Columns:
    def where(row: int) -> str:
        keys = [k for k in (card.sample_id, *card.place, card.year, card.date, card.step) if k and k in frame]
        return f"{path}, " + ", ".join(f"{key} {frame[key].iloc[row]}" for key in keys)

    group = card.radiometry.group if card.radiometry else None
    labels = card.target.group if card.target else None
    named = (*card.place, card.sample_id, card.date, card.split, group, labels)
    texts = [name for name in named if name and name in frame]
    target = card.target.column if card.target else None
    exact = [name for name in (card.year, card.step, target, *card.static) if name and name in frame]
    series = [(v.column or v.name, v.scale) for v in card.series if (v.column or v.name) in frame]
    measured = np.empty((len(frame), len(series)), np.float32)
    for m, (name, scale) in enumerate(series):
        measured[:, m] = as_measured(_numbers(path, frame, name, where), (), scale)  # `unpack` has dropped the marks
        _refuse_infinite(measured[:, m], name, where)
    names = (*card.place, card.sample_id)
    text = {name: _text(frame, name, where, name in names) for name in dict.fromkeys(texts)}
    return Columns(
        text=with_joined_place(text, card.place if {*card.place} <= text.keys() else ()),
        exact={name: _numbers(path, frame, name, where, name in card.static) for name in dict.fromkeys(exact)},
        measured=measured,
        where=where,
        marks=marks or {},
    )


def _text(frame: pd.DataFrame, name: str, where: Callable[[int], str], na_is_a_name: bool) -> Text:
    codes, distinct = frame[name].factorize()
    if distinct.dtype.kind == "M":
        return Text(np.asarray(distinct).astype("datetime64[D]").astype(np.str_), codes.astype(np.int64))
    spelled = [_spelled(value) for value in distinct]
    bad = next((code for code, text in enumerate(spelled) if text is None), None)
    if bad is not None:
        raise InputError(
            f"{where(int(np.argmax(codes == bad)))}: {name} has the bytes {distinct[bad]!r}, which are not UTF-8; "
            "store texts as UTF-8."
        )
    names, position = normal_names(np.array(spelled, np.str_))
    codes = np.where(codes < 0, -1, np.append(position, -1)[codes])
    empty = np.flatnonzero(np.isin(names, MISSING_NAMES if na_is_a_name else MISSING))
    return Text(names, np.where(np.isin(codes, empty), -1, codes).astype(np.int64))


def _spelled(value: object) -> str | None:
    """A name as text; None for bytes that are not UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _numbers(
    path: Path, frame: pd.DataFrame, name: str, where: Callable[[int], str], static: bool = False
) -> NDArray[np.float64]:
    column = frame[name].to_numpy()
    if not (np.issubdtype(column.dtype, np.integer) or np.issubdtype(column.dtype, np.floating)):
        problem = f"{name} is {column[0]!r}, which is not a number; store {name} as numbers."
        raise InputError(f"{where(0)}: {problem}{CATEGORY * static}")
    numbers: NDArray[np.float64] = column.astype(np.float64)
    _refuse_infinite(numbers, name, where)
    return numbers


def _refuse_infinite(
    numbers: NDArray[np.float64] | NDArray[np.float32], name: str, where: Callable[[int], str]
) -> None:
    infinite = np.isinf(numbers)
    if infinite.any():
        raise InputError(
            f"{where(int(np.argmax(infinite)))}: {name} is infinite, or too large for a float32 (3.4e38). Store NaN "
            "if nothing was measured."
        )
