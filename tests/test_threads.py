"""Tables of few rows are fitted on one thread, and the settings before are restored."""

import pytest
import torch
from threadpoolctl import threadpool_info

from model.threads import MOST_ROWS, threads_for


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def most_threads():
    """The largest number of threads of any BLAS or OpenMP library that is loaded."""
    return max(one["num_threads"] for one in threadpool_info())


def test_inside_the_block_every_library_has_one_thread(two_threads):
    with threads_for(MOST_ROWS):
        assert torch.get_num_threads() == 1
        assert most_threads() == 1
    assert torch.get_num_threads() == 2


def test_large_tables_keep_their_threads(two_threads):
    with threads_for(MOST_ROWS + 1):
        assert torch.get_num_threads() == 2


def test_an_error_restores_the_threads_too(two_threads):
    with pytest.raises(ValueError, match="stopped"), threads_for(1):
        raise ValueError("stopped")
    assert torch.get_num_threads() == 2
