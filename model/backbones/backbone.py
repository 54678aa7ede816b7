"""The interface of language backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from model.dropout import Dropout


class Backbone(nn.Module, ABC):
    """Mixes the tokens within each sequence: n sequences of L tokens in and out; sequences do not interact.

    A sequence is a set; tokens carry their own positions. So one backbone reads both the patches of a series, which
    carry positions, and the variates of a sample, which have no order.
    """

    architecture: Mapping[str, Any]
    """JSON from which `rebuild` makes the module again, with random weights. It holds no path of this machine."""
    pretrained: bool = False
    """Whether the parameters below `tower.` are pretrained."""

    @abstractmethod
    def forward(self, tokens: Tensor, empty: Tensor | None = None) -> Tensor:
        """tokens [n,L,E], empty [n,L] bool or None -> [n,L,E].

        No token attends to an empty one: its (finite) value changes no bit of the others. Every sequence needs a token
        that is not empty, because attention without keys is NaN.
        """


class Adapted(Backbone):
    """A pretrained tower with its own widths between two linear layers: E -> R, the tower, W -> E and a layer norm.

    tower         tokens [n,L,R], empty -> [n,L,W]
    reads, writes  R and W
    scale         factor on tokens before the tower, so that their spread is about that of the words of its pretraining
    dropout       between tower and last layer; the tower keeps the dropout of its pretraining
    """

    pretrained = True

    def __init__(
        self,
        tower: nn.Module,
        reads: int,
        writes: int,
        *,
        width: int,
        dropout: float,
        scale: float,
        architecture: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.into = nn.Linear(width, reads)
        self.tower = tower
        self.out = nn.Sequential(Dropout(dropout), nn.Linear(writes, width), nn.LayerNorm(width))
        self.scale, self.architecture = scale, architecture

    def forward(self, tokens: Tensor, empty: Tensor | None = None) -> Tensor:
        """tokens [n,L,E], empty [n,L] bool or None -> [n,L,E]."""
        mixed: Tensor = self.out(self.tower(self.scale * self.into(tokens), empty))
        return mixed
