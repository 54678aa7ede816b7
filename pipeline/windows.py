"""Windows: the stretches of a season that a task may see. A picture never holds a step its task may not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.errors import InputError

Framing = Literal["halves", "season"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)


@dataclass(frozen=True)
class Window:
    """Steps `start` to `stop` (excluded) are the frame of a picture; from step `until` on nothing is seen in it."""

    name: str
    start: int
    stop: int
    until: int

    @property
    def length(self) -> int:
        """Number of steps of the frame."""
        return self.stop - self.start


def windows(steps: int, cut: int, framing: Framing = "halves") -> tuple[Window, Window]:
    """What stage 1 sees, steps before `cut`, and what stage 2 sees beside it.

    halves  each part of the season fills its own frame: what is before the cut, what comes from it on
    season  both frames are the whole season, so that a step has one place in every picture: `so-far` ends at the cut
    """
    if not 1 <= cut < steps:
        raise ValueError(f"a season of {steps} steps cannot be cut at step {cut}; at least one step on each side")
    if framing == "halves":
        return Window("first-half", 0, cut, cut), Window("second-half", cut, steps, steps)
    return Window("so-far", 0, steps, cut), Window("season", 0, steps, steps)


def steps_named(text: str | None) -> tuple[int, ...]:
    """The step numbers of a flag, as in "6,9,12", each once and ascending; none for None. Raises `InputError`."""
    if text is None:
        return ()
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise InputError(f"--steps is {text!r}; it takes whole numbers with commas between, as in 6,9,12.") from None


def window_called(name: str, steps: int, cut: int) -> Window:
    """The window of that name, of whichever framing."""
    return next(one for framing in FRAMINGS for one in windows(steps, cut, framing) if one.name == name)
