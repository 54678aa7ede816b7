"""A small TimesCLIP of every preset, with random seasons as its input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from model.config import TimesCLIPConfig
from model.presets import PRESETS
from model.timesclip import TimesCLIP, TimesCLIPOutput

SMALL = TimesCLIPConfig(variates=3, window=9, horizon=9, vision_dim=10, width=16, heads=2, layers=1)
LANGUAGE = replace(SMALL, use_vision=False)
VISION = replace(SMALL, use_language=False)
NARROW = {"width": 16, "heads": 2, "layers": 1}  # of presets that are wide or deep


def config_of(preset: str, **changes: object) -> TimesCLIPConfig:
    """A preset's model, narrow, with one driver where it reads numbers."""
    parts = {**PRESETS[preset].parts(), **NARROW, **changes}
    drivers = 1 if parts["use_language"] else 0
    dim = 10 if parts["use_vision"] else 0
    return TimesCLIPConfig(3, 9, 9, vision_dim=dim, drivers=drivers, steps=18, **parts)


PARTS = {name: config_of(name) for name in PRESETS} | {
    "mlp, no padding": config_of("timesclip", head="mlp", padding="none")
}


def season(config: TimesCLIPConfig, samples: int = 5, seed: int = 0, gaps: float = 0.2):
    """values [B,V,W], observed [B,V,W] bool, embeddings [B,V,D], drivers [B,R,2T] where they are read.

    Sample 0 lacks variate 0 where there are several, and its drivers.
    """
    rng = np.random.default_rng(seed)
    shape = (samples, config.variates, config.window)
    values = rng.normal(size=(*shape[:2], 1)) + np.cumsum(rng.normal(size=shape), axis=2) / 2
    observed = rng.random(shape) >= gaps
    observed[..., 0] = True
    if config.variates > 1:
        observed[0, 0] = False
    embeddings = rng.normal(size=(*shape[:2], config.vision_dim))
    given = torch.tensor(values, dtype=torch.float32), torch.tensor(observed), torch.tensor(embeddings).half()
    if not config.drivers:
        return given
    mask = rng.random((samples, config.drivers, config.steps)) > 0.2
    mask[0] = False
    drivers = np.concatenate([rng.normal(size=mask.shape) * mask, mask], -1)
    return *given, torch.tensor(drivers, dtype=torch.float32)


def built(config: TimesCLIPConfig, seed: int = 0) -> TimesCLIP:
    """A seeded model in evaluation mode, its feature norm fitted on random embeddings."""
    torch.manual_seed(seed)
    model = TimesCLIP(config)
    if config.use_vision:
        rng = np.random.default_rng(1)
        model.fit_features([torch.tensor(rng.normal(size=(40, config.variates, config.vision_dim)))])
    return model.eval()


def tensors(output: TimesCLIPOutput) -> list[torch.Tensor]:
    return [part for part in output if part is not None]
