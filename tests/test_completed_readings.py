"""A season in progress that stage 1 completes for the heads: what is measured stays."""

import torch

from model.completion_task import complete
from model.config import TimesCLIPConfig
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP
from stages.yields.yield_forecaster import NEURAL, Anomalies, Forecaster, ReadingFit


class Heads:
    """Stands for the yield heads: keeps the season that they read."""

    def __init__(self, encoder):
        self.encoder, self.read = encoder, None

    def forecast(self, season):
        self.read = season
        zero = torch.zeros(len(season)).double().numpy()
        return Anomalies(zero, zero, zero)


def test_steps_measured_after_the_step_of_the_reading_are_not_completed():
    """The run has readings after 5 and 7 of 8 steps, and 6 are known."""
    torch.manual_seed(0)
    config = TimesCLIPConfig(
        variates=2, window=4, horizon=4, use_vision=False, alignment="none", patch=2, stride=1, width=8, layers=1,
        heads=2,
    )  # fmt: skip
    values = torch.randn(3, 2, 8) * (torch.arange(8) < 6)
    seen = (torch.arange(8) < 6).expand(3, 2, 8)
    season = SeasonTensors(
        WindowTensors(values[..., :4], seen[..., :4]), WindowTensors(values[..., 4:], seen[..., 4:], start=4)
    )
    heads = Heads(TimesCLIP(config).eval())
    readings = (ReadingFit(None, False, 0.1, {NEURAL: 1.0}), *(ReadingFit(s, True, 0.1, {NEURAL: 1.0}) for s in (5, 7)))
    forecaster = Forecaster(offset=None, known=None, neural=heads, readings=readings)
    completed, _ = complete(heads.encoder, season.first, 3)
    for step, kept in ((6, 2), (5, 1)):
        forecaster.as_of(step)._members(None, season, torch.zeros(3).numpy())
        assert heads.read.second.observed.all()
        torch.testing.assert_close(heads.read.second.values[..., :kept], values[..., 4 : 4 + kept])
        torch.testing.assert_close(heads.read.second.values[..., kept:], completed[..., kept:])
