"""What every language backbone promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from model.dropout import Dropout


class Backbone(nn.Module, ABC):
    """Mixes the tokens of each sequence: n sequences of L tokens in, as many out, none of which knows another sequence.

    A sequence is a set: tokens say themselves where they stand. So one backbone reads both the patches of a series,
    which carry positions, and the variates of a sample, whose order means nothing.
    """

    architecture: Mapping[str, Any]
    """What `rebuild` needs to make the module again, with random weights: JSON, without a path of this machine."""
    pretrained: bool = False
    """Whether the parameters below `tower.` were trained before."""

    @abstractmethod
    def forward(self, tokens: Tensor, empty: Tensor | None = None) -> Tensor:
        """tokens [n,L,E], empty [n,L] bool or None -> [n,L,E].

        No token attends to an empty one: whatever (finite) stands there changes nothing in the others, bit for bit.
        Every sequence needs a token that is not empty; attention over nothing is NaN.
        """


class Adapted(Backbone):
    """A pretrained tower of its own widths between two linear layers: E -> R, the tower, W -> E and a layer norm.

    tower         tokens [n,L,R], empty -> [n,L,W]
    reads, tells  R and W
    scale         what tokens are multiplied by before the tower, so that they enter at about the spread of the words
                  that it was trained on
    dropout       between tower and last layer; the tower itself keeps the dropout that it was trained with
    """

    pretrained = True

    def __init__(
        self,
        tower: nn.Module,
        reads: int,
        tells: int,
        width: int,
        dropout: float,
        scale: float,
        architecture: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.into = nn.Linear(width, reads)
        self.tower = tower
        self.out = nn.Sequential(Dropout(dropout), nn.Linear(tells, width), nn.LayerNorm(width))
        self.scale, self.architecture = scale, architecture

    def forward(self, tokens: Tensor, empty: Tensor | None = None) -> Tensor:
        """tokens [n,L,E], empty [n,L] bool or None -> [n,L,E]."""
        mixed: Tensor = self.out(self.tower(self.scale * self.into(tokens), empty))
        return mixed
