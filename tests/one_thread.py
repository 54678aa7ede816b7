"""Run the tests of a module on one thread of torch."""

from collections.abc import Iterator

import torch


def one_torch_thread() -> Iterator[None]:
    """Tensors here are tiny: a second thread would only wait, for very long where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
