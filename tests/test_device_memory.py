"""Tables go to a device as a whole, or training refuses before it moves one."""

from dataclasses import dataclass, replace

import pytest
import torch

from model.season_tensors import gathered
from model.training import device_memory
from model.training.device_memory import ROOM_TO_WORK, free_bytes, move_to_device, tensors_of
from model.training.errors import Refused
from tests.tasks import completion_task

CPU = torch.device("cpu")
SEASON = completion_task(samples=9).train.seasons[0]
BYTES = 2 * 9 * 3 * (12 * 4 + 12 * 1 + 16 * 2)  # halves, samples, variates, (numbers, mask, float16 vector)


@dataclass(frozen=True)
class Table:
    numbers: torch.Tensor
    inner: object = None

    def to(self, device):
        return replace(self, numbers=self.numbers.to(device))


def test_every_tensor_of_a_season_counts():
    assert sum(tensor.nbytes for tensor in tensors_of(SEASON)) == BYTES
    nested = Table(torch.zeros(3), Table(torch.zeros(2, dtype=torch.float64), "no tensor"))
    assert sorted(tensor.nbytes for tensor in tensors_of(nested)) == [12, 16]


@pytest.mark.parametrize("views", [1, 3])
def test_what_fits_is_moved_and_one_byte_more_is_refused_before_anything_moves(monkeypatch, views):
    monkeypatch.setattr(device_memory, "describe", lambda device: "a small GPU")
    needed = views * BYTES + ROOM_TO_WORK
    assert len(move_to_device([SEASON] * views, CPU, lambda device: needed)) == views
    moved = []
    monkeypatch.setattr(type(SEASON), "to", lambda self, device: moved.append(device))
    with pytest.raises(Refused, match=r"take 0\.0 GB, and cpu \(a small GPU\) has 1\.1 GB free.*--device cpu") as told:
        move_to_device([SEASON] * views, CPU, lambda device: needed - 1)
    assert moved == []
    assert ("in 3 views" in str(told.value)) == (views == 3)


def test_on_a_cpu_nothing_is_asked_and_nothing_copied():
    assert free_bytes(CPU) is None
    (season,) = move_to_device([SEASON], CPU)
    assert season.first.values.data_ptr() == SEASON.first.values.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bool])
@pytest.mark.parametrize("shape", [(9, 3, 8), (9, 3, 5), (9, 1, 1), (9, 4, 0)])
def test_gathered_rows_are_those_of_plain_indexing(dtype, shape):
    table = torch.randn(shape).to(dtype)
    index = torch.tensor([3, 0, 8, 3])
    for one in (table, table.transpose(1, 2), table[1:]):
        assert torch.equal(gathered(one, index.clamp(max=len(one) - 1)), one[index.clamp(max=len(one) - 1)])
