"""Freeze parts of a module, for the whole training or its first epochs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

DEEP = {"tower": "language.backbone.tower"}  # parts that are not children of the model


@dataclass(frozen=True)
class Freeze:
    """Names of the frozen parts of the module, and the last epoch in which they are frozen (None: always)."""

    parts: tuple[str, ...] = ()
    until: int | None = None

    def is_on(self, epoch: int) -> bool:
        """Whether the parts are frozen in an epoch."""
        return bool(self.parts) and (self.until is None or epoch <= self.until)

    def apply(self, module: nn.Module, epoch: int) -> None:
        """Switch the gradients of the parts off or on for an epoch."""
        for part in self._modules(module):
            part.requires_grad_(not self.is_on(epoch))

    def still(self, module: nn.Module, epoch: int) -> None:
        """Switch dropout off in frozen parts, so that they compute the same as after their own training."""
        if self.is_on(epoch):
            for part in self._modules(module):
                part.eval()

    def _modules(self, module: nn.Module) -> Iterable[nn.Module]:
        paths = {DEEP.get(part, part) for part in self.parts}
        for name, part in module.named_modules():
            if name.removeprefix("encoder.") in paths:
                yield part
