"""Columns that say what a row is about (its crop, item, element or unit) and that the card does not use.

A file of a statistics office has many kinds of rows in one column of numbers. Without a choice, yields of two crops
would be read as one yield.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.files.columns import Columns, column_names, joined, load_columns
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Wanted
from pipeline.sources.names.place_names import TWO_OF_ONE_NAME
from pipeline.sources.place_column import state_column

# Names of such columns in small letters, with a blank between words: FAOSTAT, USDA NASS, Eurostat, and other languages.
_KINDS = frozenset((
    "item", "items", "element", "data item", "short desc", "commodity", "commodity desc", "crop", "crops", "crop name",
    "crop type", "season", "crop season", "unit", "units", "unit desc", "practice", "production practice",
    "prodn practice desc", "util practice desc", "class desc", "statisticcat desc", "domain", "domain desc", "strucpro",
    "kultur", "fruchtart", "feldfrucht", "einheit", "culture", "produit", "unité", "unite", "cultivo", "producto",
    "unidad", "cultura", "produto", "unidade",
))  # fmt: skip
_MILD = frozenset(("variety", "cultivar", "sorte", "variété", "variedad", "variedade"))  # often mixed on purpose
MOST_VALUES = 20
SHOWN = 3  # values or columns in a sentence
LONGEST = 60  # characters of a value in a sentence
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_NUMBER = re.compile(r"[\s\d.,+-]*")


def mixed_yields(
    files: Sequence[Path], wanted: Wanted, place: NDArray[np.int64], target: NDArray[np.float64], budget: Budget
) -> tuple[Finding, ...]:
    """Findings about columns that tell kinds of yields apart. place, target [R]: of the rows of all files.

    `wanted` says which columns of the files are in use already.
    """
    labelled = np.flatnonzero(~np.isnan(target))
    if not len(labelled):
        return ()
    headers = [column_names(path, wanted.keys) for path in files]
    named = {_kind_of(name)[0] for name in headers[0] if not _kind_of(name)[1]}
    found = []
    for name in headers[0]:
        kind, coded = _kind_of(name)
        if kind not in _KINDS | _MILD or name in wanted.names or any(header.count(name) != 1 for header in headers):
            continue
        if coded and kind in named:  # such as Item Code beside Item
            continue
        alone = Wanted(text=(name,), keys=wanted.keys, places=(name,), keep=wanted.keep)
        text = joined(load_columns([(path, alone) for path in files], budget)).text[name]
        used, codes = np.unique(text.codes[labelled], return_inverse=True)
        values = [str(text.names[code]) for code in used.tolist() if code >= 0]
        numbers = any(_NUMBER.fullmatch(one) for one in values) and not coded
        if not 2 <= len(values) <= MOST_VALUES or numbers or any(_YEAR.search(one) for one in values):
            continue
        if _varies_within(place[labelled], target[labelled], codes):
            continue
        commonest = str(text.names[used[np.argmax(np.where(used >= 0, np.bincount(codes), 0))]])
        sentence = (
            f"{files[0].name}: column {name} has {len(values)} values among the yields, {listed(values)}, and the "
            "card does not use it, so all are read as one yield. If they are not one, keep the rows of one value."
        )
        found.append(Finding("note" if kind in _MILD else "warning", sentence, keep_line(name, commonest)))
    return tuple(found)


def _varies_within(place: NDArray[np.int64], target: NDArray[np.float64], kind: NDArray[np.int64]) -> bool:
    """Whether most rows share place and yield with a row of another kind, as dates of one season may do."""
    _, group = np.unique(np.stack([place.astype(np.float64), target]), axis=1, return_inverse=True)
    pairs = np.unique(np.stack([group.reshape(-1), kind]), axis=1)
    several = np.bincount(pairs[0]) > 1
    return bool(several[group].mean() > 0.5)


def kind_columns(names: Sequence[str]) -> list[str]:
    """The columns whose names say that they tell what a row is about."""
    return [name for name in names if _kind_of(name)[0] in _KINDS]


def _kind_of(name: str) -> tuple[str, bool]:
    """The name of a column as in `_KINDS`, and whether it holds codes, as `crop_code` does."""
    words = name.strip().replace("_", " ").casefold()
    return words.removesuffix(" code"), words.endswith(" code")


def advice_on_two_rows(columns: Columns, one: int, other: int, otherwise: str = TWO_OF_ONE_NAME) -> str:
    """What to do about two rows of one place and time: which unread columns tell them apart.

    otherwise   the advice if no column of texts does, or if one that holds states does
    """
    return advice_on_texts(columns.unread(one), columns.unread(other), otherwise)


def advice_on_texts(one: Mapping[str, str], other: Mapping[str, str], otherwise: str = TWO_OF_ONE_NAME) -> str:
    """As `advice_on_two_rows`, from the unread texts of both rows."""
    differ = [name for name in one if name in other and one[name] != other[name]]
    numbers = [name for name in differ if _NUMBER.fullmatch(one[name]) and _NUMBER.fullmatch(other[name])]
    differ = [name for name in differ if name not in numbers or name in kind_columns(numbers)]
    if not differ or state_column(differ) is not None:
        return otherwise
    # The columns that usually say what a row is about come first.
    differ.sort(key=lambda name: name not in kind_columns(differ))
    listed = " and ".join(f"{name} ({_short(one[name])} / {_short(other[name])})" for name in differ[:SHOWN])
    return (
        f"These two rows differ in {listed}. If such a column says what a row measures, keep the rows of one value, as "
        f"in {keep_line(differ[0], other[differ[0]])} in the dataset card. If it distinguishes places of one name, "
        "add it to `place`."
    )


def keep_line(name: str, value: str) -> str:
    """The line of a card that keeps the rows of one value."""
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
    return f"keep = {{ {key} = {json.dumps(value, ensure_ascii=False)} }}"


def listed(values: Sequence[str]) -> str:
    """The first values, and how many more there are."""
    shown = [*map(_short, values[:SHOWN])]
    if len(values) > SHOWN:
        return f"{', '.join(shown)} and {len(values) - SHOWN} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
