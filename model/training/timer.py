"""Seconds of an epoch by part: data, forward, backward, optimizer, evaluation, save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARTS = ("data", "forward", "backward", "optimizer", "evaluation", "save")


class Clock:
    """Adds up seconds by part. On CUDA it records events on the stream and waits only when the totals are read."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Context that times a part of the work."""
        if self.cuda:
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            yield
            stop.record()
            self.events.append((part, start, stop))
        else:
            began = time.perf_counter()
            yield
            self.seconds[part] += time.perf_counter() - began

    def take(self) -> dict[str, float]:
        """Seconds by part since the last call."""
        if self.events:
            torch.cuda.synchronize()
            for part, start, stop in self.events:
                self.seconds[part] += start.elapsed_time(stop) / 1e3
            self.events.clear()
        taken, self.seconds = self.seconds, dict.fromkeys(PARTS, 0.0)
        return taken
