"""The presets: named choices of parts of one model (docs/models.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from model.config import Parts

FramingName = Literal["halves", "season"]
LinkName = Literal["frozen", "error", "scratch"]


@dataclass(frozen=True, kw_only=True)
class Preset(Parts):
    """Parts of a model, the windows of the season it reads, and the way its features reach the yield forecast."""

    framing: FramingName = "halves"
    """Windows: both halves of a season, or the season so far and then all of it, through one encoder."""
    link: LinkName = "frozen"
    """Input of stage 2 from stage 1: frozen features, the completion's errors as extra channels, or nothing."""

    def parts(self) -> dict[str, Any]:
        """The parts of the model alone, by name."""
        return {field.name: getattr(self, field.name) for field in fields(Parts)}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


PresetName = Literal[
    "timesclip",
    "baseline",
    "language-only",
    "vision-only",
    "no-alignment",
    "simple",
    "hierarchical",
    "unified",
    "optimal",
]

PRESETS: dict[PresetName, Preset] = {
    "timesclip": Preset(),
    "baseline": Preset(selection=False, link="scratch"),
    "language-only": Preset(use_vision=False, alignment="none"),
    "vision-only": Preset(use_language=False, alignment="none"),
    "no-alignment": Preset(alignment="none"),
    "simple": Preset(use_vision=False, alignment="none", selection=False, layers=6, head="mlp"),
    "hierarchical": Preset(alignment="hierarchical"),
    "unified": Preset(framing="season", positions="day"),
    "optimal": Preset(
        use_vision=False,
        alignment="none",
        sequence="joint",
        positions="day",
        pool="mean",
        selection=False,
        framing="season",
        width=256,
        layers=6,
        heads=8,
    ),
}
