"""Splits: which samples train, validate and test. Pure functions of year, place, sample id and assigned side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.table import SIDES, SeasonTable

SplitName = Literal["year", "forward", "leave-year-out", "place", "random", "card"]
SplitChoice = Literal["auto", "year", "forward", "leave-year-out", "place", "random", "card"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

FORWARD_TESTS = 3  # number of last years that the forward split tests by default
EVERY = "all"
PLACE_FOLDS = 5
LEAST = 2  # samples that each part needs

Index = NDArray[np.int64]


class _Unfit(InputError):
    """A table that does not fit a split. The message is only the reason; `make_folds` adds what to do.

    small   position of the only sample of a part that has too few, None for another reason
    """

    def __init__(self, reason: str, small: int | None = None) -> None:
        super().__init__(reason)
        self.small = small


@dataclass(frozen=True, eq=False)
class Fold:
    """Sorted, disjoint positions of samples. `by_place`: whole places are held out, with all of their yields."""

    name: str
    train: Index
    valid: Index
    test: Index
    by_place: bool = False


@dataclass(frozen=True, eq=False)
class _Samples:
    """What splits are made from; every array [N], as for `make_folds`."""

    year: NDArray[np.int64]
    place: NDArray[np.str_]
    sample_id: NDArray[np.str_]
    group: Index
    assigned: NDArray[np.str_] | None = None

    def only(self, rows: NDArray[np.bool_]) -> _Samples:
        """The samples of a mask [N]."""
        assigned = None if self.assigned is None else self.assigned[rows]
        return _Samples(self.year[rows], self.place[rows], self.sample_id[rows], self.group[rows], assigned)

    def held_out_by(self, split: SplitName) -> tuple[str, NDArray[np.generic]] | None:
        """What a split holds out as a whole, year or place, and that of each sample [N]; None if it holds out rows."""
        if split in ("random", "card"):
            return None
        return ("place", self.place) if split == "place" else ("year", self.year)


def resolve_split(
    choice: SplitChoice, table: SeasonTable, by_years: SplitName = "year", seed: int = 0
) -> tuple[SplitName, str]:
    """Returns (the split that `choice` means for a table, a sentence that explains it or "" unless `choice` is auto).

    auto takes `by_years` if the table has three years, else places if it has five, else rows. A split with too few
    samples in a fold is skipped, and the sentence mentions it. Raises `InputError` if no split fits.
    """
    if choice != "auto":
        return choice, ""
    passed_over = []
    samples = _Samples(table.year, table.place, table.sample_id, table.group)
    for split in dict.fromkeys((by_years, "place", "random")):
        try:
            _folds(samples, split, seed)
        except InputError as error:
            passed_over.append(str(error))
            continue
        optimistic = "; rows of one place and year may train and test, so scores are optimistic" * (split == "random")
        reason = f" because {'; '.join(passed_over)}" if passed_over else f": {_name_years(table.year)}"
        return split, f"--split auto takes {split}{reason}{optimistic}"
    raise InputError(f"--split auto finds no split that fits: {'; '.join(passed_over)}. Add years, places or samples.")


def _name_years(year: NDArray[np.int64]) -> str:
    years = np.unique(year)
    return f"the table has {len(years)} years, {years[0]} to {years[-1]}"


def thinned(folds: tuple[Fold, ...], share: float, seed: int) -> tuple[Fold, ...]:
    """The folds with a random share of their training and validation rows, at least LEAST of each. Tests stay whole."""
    if share == 1:
        return folds
    rng = np.random.default_rng(seed)

    def subset(rows: Index) -> Index:
        return np.sort(rng.choice(rows, max(LEAST, round(share * len(rows))), replace=False))

    return tuple(replace(fold, train=subset(fold.train), valid=subset(fold.valid)) for fold in folds)


def make_folds(
    year: NDArray[np.int64],
    place: NDArray[np.str_],
    sample_id: NDArray[np.str_],
    split: SplitName,
    *,
    seed: int = 0,
    assigned: NDArray[np.str_] | None = None,
    chosen: Sequence[str] = (),
    group: Index | None = None,
) -> tuple[Fold, ...]:
    """The folds of a split over N samples; year, place, sample_id, assigned [N]. The order of rows does not matter.

    chosen     names of the folds to take; ("all",) for every fold; () for every fold, but only the last three of
               forward
    group [N]  rows with the same number share one yield and are never on two sides; None: each row has its own yield

    year            the last year tests, the one before it validates, all others train
    forward         each year with two earlier years tests; the latest earlier year validates, the other earlier ones
                    train
    leave-year-out  each year tests once; the year before it validates (for the first year: the last year), all others
                    train
    place           each of five groups of places tests once, the next group validates, all others train
    random          15 % test, 15 % validate; a place and year can be on several sides, so scores are optimistic
    card            the sides that the data names (`split` in the card); whether a year, a place or a field is on two
                    sides is not checked

    Raises InputError if there are too few years or places, fewer than two samples in a part, no sides, or no fold that
    `chosen` names.
    """
    group = np.arange(len(year)) if group is None else group
    samples = _Samples(year, place, sample_id, group, assigned)
    try:
        return _folds(samples, split, seed, chosen)
    except _Unfit as unfit:
        raise InputError(f"{unfit}. {_remedies(unfit, samples, split, seed)}") from unfit


def _folds(samples: _Samples, split: SplitName, seed: int, chosen: Sequence[str] = ()) -> tuple[Fold, ...]:
    """The folds, as `make_folds` describes them. Raises `_Unfit` if there are too few years, places or samples."""
    folds = _choose(_every_fold(samples, split, seed), chosen, split)
    for fold in folds:
        _refuse_if_small(fold, samples, split)
        if held_out := samples.held_out_by(split):
            refuse_shared_groups(fold, held_out[1])
        _refuse_shared_yields(fold, samples.group, samples.sample_id, split)
    return tuple(folds)


def _every_fold(samples: _Samples, split: SplitName, seed: int) -> list[Fold]:
    """All folds of a split, whether or not they have enough samples."""
    if split == "place":
        return list(_by_place(joined_places(samples.place, samples.group), seed))
    if split == "random":
        return [_at_random(samples.sample_id, samples.group, seed)]
    if split == "card":
        return [_as_assigned(samples.assigned, samples.place, samples.year)]
    return list(_by_year(samples.year, split))


def _remedies(unfit: _Unfit, samples: _Samples, split: SplitName, seed: int) -> str:
    """One sentence: what to do about a table that does not fit a split. Every split and fold that it names fits."""
    ways = []
    if unfit.small is not None:
        folds = _every_fold(samples, split, seed)
        enough = [fold.name for fold in folds if _small_part(fold) is None]
        ways += [f"use --folds {','.join(enough)}"] if enough else []
        ways += _exclusion(unfit.small, samples, split, seed)
    if others := _fitting_splits(samples, split, seed):
        *most, last = others
        ways.append(f"use --split {', '.join(most)} or {last}" if most else f"use --split {last}")
    ways.append("add years, places or samples")
    sentence = ", or ".join((", ".join(ways[:-1]), ways[-1])) if len(ways) > 1 else ways[0]
    return f"{sentence[0].upper()}{sentence[1:]}."


def _exclusion(small: int, samples: _Samples, split: SplitName, seed: int) -> list[str]:
    """The advice to leave the year or place of a sample out, if the split fits the others."""
    if (held_out := samples.held_out_by(split)) is None:
        return []
    kind, names = held_out
    if not _fits(samples.only(names != names[small]), split, seed):
        return []
    value = f'"{names[small]}"' if kind == "place" else names[small]
    return [f"leave {kind} {names[small]} out ([[exclude]] with {kind} = {value} in the dataset card)"]


def _fitting_splits(samples: _Samples, split: SplitName, seed: int) -> list[str]:
    """Other splits that fit the samples; random only if no other one does, because its scores are optimistic."""
    honest = [other for other in SPLITS if other not in ("random", split) and _fits(samples, other, seed)]
    if honest or split == "random" or not _fits(samples, "random", seed):
        return [*honest]
    return ["random (rows of one place and year may train and test, so scores are optimistic)"]


def _fits(samples: _Samples, split: SplitName, seed: int) -> bool:
    """Whether the samples fit a split."""
    try:
        _folds(samples, split, seed)
    except InputError:
        return False
    return True


def joined_places(place: NDArray[np.str_], group: Index) -> NDArray[np.str_]:
    """[N]: one name for all places that share a yield, directly or through other places; else the place's own name."""
    names, code = np.unique(place, return_inverse=True)
    parent = np.arange(len(names))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = int(parent[one])
        return one

    _, first, of = np.unique(group, return_index=True, return_inverse=True)
    for row in np.flatnonzero(code != code[first[of]]).tolist():
        one, other = sorted((root(int(code[row])), root(int(code[first[of[row]]]))))
        parent[other] = one
    return names[[root(one) for one in range(len(names))]][code]


def _refuse_shared_yields(fold: Fold, group: Index, sample_id: NDArray[np.str_], split: SplitName) -> None:
    """Raise `InputError` if rows that share one yield are on two sides, which only assigned sides can cause."""
    side = np.full(len(group), -1)
    for number, rows in enumerate((fold.train, fold.valid, fold.test)):
        side[rows] = number
    rows = np.flatnonzero(side >= 0)
    order = rows[np.lexsort((side[rows], group[rows]))]
    torn = np.flatnonzero((group[order][1:] == group[order][:-1]) & (side[order][1:] != side[order][:-1]))
    if len(torn):
        one, other = order[torn[0]], order[torn[0] + 1]
        raise InputError(
            f"--split {split}: samples {str(sample_id[one])!r} and {str(sample_id[other])!r} share one yield, and "
            f"fold {fold.name} has one in {SIDES[side[one]]} and the other in {SIDES[side[other]]} "
            f"({len(torn)} such yield{'s' * (len(torn) != 1)}), so the answer to a test would be known. Correct the "
            "column of `split`. If the yields are only equal by chance, name a column that distinguishes their rows as "
            "[target] `group` in the dataset card."
        )


def _choose(folds: list[Fold], names: Sequence[str], split: SplitName) -> list[Fold]:
    if not names:
        return folds[-FORWARD_TESTS:] if split == "forward" else folds
    if tuple(names) == (EVERY,):
        return folds
    known = {fold.name: fold for fold in folds}
    for name in names:
        if name not in known:
            raise InputError(f"--folds names {name!r}; the folds of this split are {', '.join(known)}, or {EVERY}.")
    return [fold for fold in folds if fold.name in names]


def refuse_shared_groups(fold: Fold, group: NDArray[np.generic]) -> None:
    """Raises ValueError if a group (year or place) [N] is on two sides of the fold."""
    sides = {name: set(group[getattr(fold, name)].tolist()) for name in ("train", "valid", "test")}
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        if shared := sides[one] & sides[other]:
            raise ValueError(f"fold {fold.name}: {sorted(shared)[0]!r} is in {one} and in {other}")


def _by_year(year: NDArray[np.int64], split: SplitName) -> Iterator[Fold]:
    years = np.unique(year)
    if len(years) < 3:
        raise _Unfit(
            f"--split {split} needs 3 different years (training, validation, test); the table has "
            f"{', '.join(map(str, years)) or 'none'}"
        )
    tests = {"year": years[-1:], "forward": years[2:], "leave-year-out": years}[split]
    for test in tests:
        earlier = years[years < test]
        valid = earlier[-1] if len(earlier) else years[-1]
        train = (year != test) & (year != valid)
        if split != "leave-year-out":
            train &= year < test
        yield Fold(str(test), np.flatnonzero(train), np.flatnonzero(year == valid), np.flatnonzero(year == test))


def _by_place(place: NDArray[np.str_], seed: int) -> Iterator[Fold]:
    places = np.unique(place)
    if len(places) < PLACE_FOLDS:
        raise _Unfit(f"--split place needs {PLACE_FOLDS} different places; the table has {len(places)}")
    shuffled = places[np.random.default_rng(seed).permutation(len(places))]
    group_of = dict(zip(shuffled.tolist(), (np.arange(len(places)) % PLACE_FOLDS).tolist(), strict=True))
    group = np.array([group_of[p] for p in place.tolist()])
    for test in range(PLACE_FOLDS):
        valid = (test + 1) % PLACE_FOLDS
        train = (group != test) & (group != valid)
        yield Fold(
            f"places-{test + 1}",
            np.flatnonzero(train),
            np.flatnonzero(group == valid),
            np.flatnonzero(group == test),
            by_place=True,
        )


def _at_random(sample_id: NDArray[np.str_], group: Index, seed: int) -> Fold:
    """Draw groups by the first of their sample ids, and put each on one side as a whole."""
    named = np.argsort(sample_id, kind="stable")
    _, first, of = np.unique(group[named], return_index=True, return_inverse=True)
    ids = sample_id[named][first]
    draw = np.array([xxhash.xxh3_64_intdigest(name.encode(), seed=seed) for name in ids.tolist()], np.uint64)
    order = np.argsort(draw, kind="stable")
    size = np.bincount(of)
    before = np.empty(len(ids), np.int64)
    before[order] = np.cumsum(size[order]) - size[order]  # rows of the groups that were drawn earlier
    rank = np.empty(len(sample_id))
    rank[named] = before[of]
    part = max(LEAST, 0.15 * len(sample_id))  # rows to test and to validate on
    return Fold(
        "random",
        np.flatnonzero(rank >= 2 * part),
        np.flatnonzero((rank >= part) & (rank < 2 * part)),
        np.flatnonzero(rank < part),
    )


def _as_assigned(assigned: NDArray[np.str_] | None, place: NDArray[np.str_], year: Index) -> Fold:
    """The fold of the assigned sides. `by_place`: all test places are new, and some of the test years are not."""
    if assigned is None:
        raise InputError(
            "--split card takes the sides that the data names, but the table has none. Name the column with train, "
            'valid or test as `split = "..."` at the top of the dataset card, or use another split.'
        )
    train, valid, test = (np.flatnonzero(assigned == side) for side in SIDES)
    rows = np.concatenate([train, valid])
    by_place = not np.isin(place[test], place[rows]).any() and bool(np.isin(year[test], year[rows]).any())
    return Fold("card", train, valid, test, by_place)


def _small_part(fold: Fold) -> tuple[str, Index] | None:
    """The first part of a fold that has too few samples: what it is for, and its samples; None if all have enough."""
    parts = {"learn from": fold.train, "validate on": fold.valid, "test on": fold.test}
    return next(((purpose, rows) for purpose, rows in parts.items() if len(rows) < LEAST), None)


def _refuse_if_small(fold: Fold, samples: _Samples, split: SplitName) -> None:
    """Raise `_Unfit` if a part has too few samples, with the year or place of the only one."""
    if (small := _small_part(fold)) is None:
        return
    purpose, rows = small
    held_out = samples.held_out_by(split)
    whose = f" ({held_out[0]} {held_out[1][rows[0]]})" if held_out and len(rows) else ""
    raise _Unfit(
        f"--split {split}: fold {fold.name} has {len(rows)} sample{'s' * (len(rows) != 1)} to {purpose}{whose}; at "
        f"least {LEAST} are needed",
        int(rows[0]) if len(rows) else None,
    )
