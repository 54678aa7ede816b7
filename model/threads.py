"""Threads of the small models. Products of a few hundred rows take longer on two threads than on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

MOST_ROWS = 2_000  # of a table that is fitted on one thread (docs/performance.md)


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """In the block, torch, BLAS and OpenMP compute on one thread if a table has at most MOST_ROWS rows.

    The settings before it are restored.
    """
    if rows > MOST_ROWS:
        yield
        return
    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
