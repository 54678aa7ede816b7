"""Windows: the part of a season that each stage may see. A picture never shows a step that its stage may not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Framing = Literal["halves", "season"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)


@dataclass(frozen=True)
class Window:
    """The frame of a picture is steps `start` to `stop` (excluded). Steps from `until` on are hidden in it."""

    name: str
    start: int
    stop: int
    until: int

    @property
    def length(self) -> int:
        """Number of steps in the frame."""
        return self.stop - self.start


def windows(steps: int, cut: int, framing: Framing = "halves") -> tuple[Window, Window]:
    """The window of stage 1, which shows the steps before `cut`, and the additional window of stage 2.

    halves  each part of the season, before and after the cut, fills a frame of its own
    season  both frames span the whole season, so that a step has the same place in every picture; `so-far` shows only
            the steps before the cut
    """
    if not 1 <= cut < steps:
        raise ValueError(f"a season of {steps} steps cannot be cut at step {cut}; at least one step on each side")
    if framing == "halves":
        return Window("first-half", 0, cut, cut), Window("second-half", cut, steps, steps)
    return Window("so-far", 0, steps, cut), Window("season", 0, steps, steps)


def window_called(name: str, steps: int, cut: int) -> Window:
    """The window of that name, in either framing."""
    return next(one for framing in FRAMINGS for one in windows(steps, cut, framing) if one.name == name)
