"""The systems that can be trained: which parts of TimesCLIP each one uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PresetName = Literal["timesclip", "language-only", "vision-only", "no-alignment"]


@dataclass(frozen=True)
class Preset:
    """Which parts are on."""

    use_vision: bool = True
    use_language: bool = True
    use_alignment: bool = True


PRESETS: dict[PresetName, Preset] = {
    "timesclip": Preset(),
    "language-only": Preset(use_vision=False, use_alignment=False),
    "vision-only": Preset(use_language=False, use_alignment=False),
    "no-alignment": Preset(use_alignment=False),
}
