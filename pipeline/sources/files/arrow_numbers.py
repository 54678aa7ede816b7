"""Arrow numbers as numpy arrays, without `to_numpy` of pyarrow: it imports pandas, which takes 0.4 s."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def numbers_of(array: Any, missing: float) -> NDArray[Any]:
    """The numbers [R] of an Arrow array of numbers, with `missing` in place of nulls. It may be read-only."""
    valid, numbers = array.buffers()
    rows = slice(array.offset, array.offset + len(array))
    found = np.frombuffer(numbers, array.type.to_pandas_dtype())[rows] if len(array) else np.zeros(0)
    if array.null_count == 0:
        return found
    known = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[rows].astype(bool)
    return np.where(known, found, found.dtype.type(missing))
