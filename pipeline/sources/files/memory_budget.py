"""The memory that reading may use. A file that needs more is rejected."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import InputError

SHARE_OF_AVAILABLE = 0.6
GB = 1e9
_MEMINFO = Path("/proc/meminfo")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_bytes() -> int:
    """Memory in bytes that is available without swapping: the kernel's estimate, or a container's limit if smaller."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if _MEMINFO.exists():
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    if _CGROUP_LIMIT.exists() and (limit := _CGROUP_LIMIT.read_text().strip()).isdigit():
        free = min(free, int(limit))
    return free


class Budget:
    """Bytes that may be used; each file claims its share before it is read."""

    def __init__(self, memory_gb: float | None = None) -> None:
        if memory_gb is not None and not memory_gb > 0:
            raise InputError(f"--memory-gb is {memory_gb}; it must be above 0.")
        self.limit = available_bytes() * SHARE_OF_AVAILABLE if memory_gb is None else memory_gb * GB
        self.claimed = 0.0

    def claim(self, path: Path, rows: int, bytes_per_row: float) -> None:
        """Set the memory aside, or raise `InputError` with the numbers."""
        self.claimed += rows * bytes_per_row
        if self.claimed <= self.limit:
            return
        raise InputError(
            f"{path}: about {rows:,} rows, read with their columns, take the memory to {self.claimed / GB:.3g} GB, "
            f"but {self.limit / GB:.3g} GB may be used. Give more (memory_gb), name fewer variates in the dataset "
            "card, or read the files in parts, a year at a time."
        )
