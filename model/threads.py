"""Threads of the small models. Products of a few hundred rows take longer on two threads than on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

FEW_ROWS = 2_000  # a table of at most so many rows is small (docs/performance.md)


@contextmanager
def one_thread(when: bool) -> Iterator[None]:
    """Torch, BLAS and OpenMP compute on one thread in the block, if `when`. The settings before it are restored."""
    if not when:
        yield
        return
    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
