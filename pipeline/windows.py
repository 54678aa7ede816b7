"""Windows: the stretches of a season that a task may see. A picture never holds a step its task may not see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Steps `start` (included) to `stop` (excluded) of a season."""

    name: str
    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of steps."""
        return self.stop - self.start


def half_seasons(steps: int) -> tuple[Window, Window]:
    """The first T//2 steps (what stage 1 sees) and the rest (what it completes). Stage 2 sees both."""
    if steps < 2:
        raise ValueError(f"a season of {steps} steps has no two halves; at least 2 are needed")
    return Window("first-half", 0, steps // 2), Window("second-half", steps // 2, steps)
