"""Stage 1: complete the second half of a season from the first, and align pictures with numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from model.alignment_scores import alignment_floor, alignment_scores
from model.config import AlignmentName, TimesCLIPConfig
from model.initial_weights import Start
from model.linear_completion import LinearCompletion, best_weight
from model.losses import alignment_loss, completion_loss, false_negatives
from model.season_tensors import SeasonTensors, WindowTensors, in_views
from model.timesclip import TimesCLIP
from model.training.distributed import ALONE, Processes
from model.training.task import Draw, Outputs, Terms
from model.training.trainer import Fit, Trainer


@dataclass(frozen=True, eq=False)
class SeasonRows:
    """Training rows of stage 1: `rows` [n] of `seasons`, one entry per view (the first: as measured)."""

    seasons: Sequence[SeasonTensors]
    rows: Tensor
    weights: Tensor | None = None  # [n] sampling weights, in proportion

    def batch(self, draw: Draw) -> SeasonTensors:
        """The samples of a draw, mixed with their partners if the draw has any."""
        chosen = in_views(self.seasons, self.rows[draw.rows], draw.views)
        if draw.partner is None:
            return chosen
        return chosen.mixed(in_views(self.seasons, self.rows[draw.partner], draw.partner_views), draw.weight)


class SeasonTask:
    """The part of a training task that follows from its training rows `train` of seasons."""

    train: SeasonRows

    @property
    def latest_forecasts(self) -> Tensor | None:
        """None: this task keeps no forecast per epoch."""
        return None

    @property
    def samples(self) -> int:
        """Number of training rows."""
        return len(self.train.rows)

    @property
    def weights(self) -> Tensor | None:
        """[samples] sampling weights, in proportion."""
        return self.train.weights

    @property
    def views(self) -> int:
        """Number of views in addition to the seasons as measured."""
        return len(self.train.seasons) - 1


@dataclass(frozen=True, eq=False)
class CompletionTask(SeasonTask):
    """TimesCLIP, its training rows, and the validation rows `valid` [m] of the seasons as measured.

    both_windows  also align the second windows of training rows, which then need their pictures
    """

    module: TimesCLIP
    train: SeasonRows
    valid: Tensor
    batch_size: int
    both_windows: bool = False

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Name prefixes of pretrained parameters."""
        return self.module.pretrained

    def batch(self, draw: Draw) -> SeasonTensors:
        """The seasons of a draw, on the module's device."""
        return self.train.batch(draw).to(self.module.log_temperature.device)

    def forward(self, batch: SeasonTensors) -> Outputs:
        """Completion [b,V,H] and, if the model aligns them, vision and text class tokens [b,V,E] of each window."""
        return completion_outputs(self.module, batch.first, batch.second if self.both_windows else None)

    def loss(self, outputs: Outputs, batch: SeasonTensors, total: int, processes: Processes) -> Terms:
        """MSE over the observed steps of the second half + `alignment_weight` * alignment."""
        return completion_terms(self.module, outputs, batch, processes)

    def validate(self, processes: Processes) -> dict[str, float]:
        """Metrics of the validation rows; the completion error is the score that selects the epoch."""
        metrics = evaluate(
            self.module, self.train.seasons[0], self.valid, batch_size=self.batch_size, processes=processes
        )
        return {"score": metrics["completion"], **metrics}


def train_completion(
    config: TimesCLIPConfig,
    train: SeasonRows,
    valid: Tensor,
    *,
    trainer: Trainer,
    phase: str,
    start: Start | None = None,
) -> tuple[TimesCLIP, Fit]:
    """Fit a model on the training rows, from `start` or from scratch; the validation rows select its epoch.

    A model with a start aligns both windows of a season, as in pretraining. On a CPU equal seeds give equal weights.
    """
    torch.manual_seed(trainer.seed)
    model = TimesCLIP(config) if start is None else start.build(config)
    fit_features(model, train.seasons[0], train.rows)
    model = model.to(trainer.processes.device)
    both = start is not None and config.aligned
    seasons = train.seasons if both else [season.to_complete() for season in train.seasons]
    rows = SeasonRows(seasons, train.rows, train.weights)
    task = CompletionTask(model, rows, valid, trainer.schedule.batch_size, both)
    return model, trainer.fit(task, phase)


def fit_features(model: TimesCLIP, season: SeasonTensors, rows: Tensor) -> None:
    """Fit the norm of the picture embeddings on the training rows [n] of both windows; does nothing without vision."""
    windows = (season.first, season.second)
    pictures = [window.embeddings for window in windows if window.embeddings is not None]
    if model.config.use_vision:
        model.fit_features(pictures, [window.present for window in windows], rows)


def mix_in_ridge(model: TimesCLIP, ridge: LinearCompletion, held: SeasonTensors, batch_size: int) -> None:
    """Give the model this ridge, with its best weight on the held-out seasons `held` [n].

    Does nothing for a model without a linear completion. `held` has the embeddings of its first window.
    """
    if model.linear is None:
        return
    model.linear.load_state_dict(ridge.state_dict())
    model.linear.mixing_weight.zero_()
    own, _ = complete(model, held.first, batch_size)
    linear = ridge(held.first.values, held.first.observed).cpu()
    truth, seen = (part.cpu() for part in held.rest)
    model.linear.mixing_weight.fill_(best_weight(own, linear, truth, seen & held.first.present.cpu()[..., None]))


def completion_outputs(model: TimesCLIP, first: WindowTensors, second: WindowTensors | None = None) -> Outputs:
    """The model outputs that the loss reads: from the first window and, to align both, tokens of the second."""
    out = model(*first.inputs())
    outputs = {"completion": out.completion}
    if out.vision is None or out.language is None or not model.config.aligned:
        return outputs
    outputs |= {"vision": out.vision, "language": out.language}
    if second is not None:
        vision, language = model.tokens(*second.inputs())
        assert vision is not None
        assert language is not None
        outputs |= {"later vision": vision, "later language": language}
    return outputs


def alignment_of_windows(
    name: AlignmentName, outputs: Outputs, season: SeasonTensors, log_temperature: Tensor, processes: Processes = ALONE
) -> Tensor:
    """The mean alignment loss of the windows whose tokens are in `outputs`. Different windows are not compared."""
    windows = {"": season.first, "later ": season.second}
    losses = [
        alignment_loss(
            name,
            outputs[f"{which}vision"],
            outputs[f"{which}language"],
            variate_mask=window.present,
            log_temperature=log_temperature,
            processes=processes,
        )
        for which, window in windows.items()
        if f"{which}vision" in outputs
    ]
    return torch.stack(losses).mean()


def completion_terms(model: TimesCLIP, outputs: Outputs, season: SeasonTensors, processes: Processes) -> Terms:
    """MSE over the observed steps to complete + `alignment_weight` * alignment, as named terms."""
    completion = completion_loss(outputs["completion"], *season.rest, processes)
    if "vision" not in outputs:
        return {"loss": completion, "completion": completion}
    config = model.config
    alignment = alignment_of_windows(config.alignment, outputs, season, model.log_temperature, processes)
    loss = completion + config.alignment_weight * alignment
    return {"loss": loss, "completion": completion, "alignment": alignment}


@torch.inference_mode()
def evaluate(
    model: TimesCLIP,
    season: SeasonTensors,
    rows: Tensor,
    *,
    batch_size: int,
    processes: Processes = ALONE,
    embed: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Metrics of some rows [n], independent of the batch size. Without alignment there is only the first.

    completion       MSE over observed steps
    alignment        its loss, the mean over batches
    false_negatives  share of the pairs in a batch that the loss pushes apart although their series are nearly equal

    Each process takes whole batches in turn, so every number is the same for any number of processes.
    embed: rows [b] -> embeddings [b,V,D] of their first window, if the season holds none.
    """
    device = model.log_temperature.device
    names = ("completion", "alignment", "false_negatives")
    sums = torch.zeros(len(names), 2, dtype=torch.float64, device=device)  # sum, weight
    season = season.to_complete()
    for number, positions in enumerate(torch.split(rows, batch_size)):
        if number % processes.size != processes.rank:
            continue
        batch = season.rows(positions).to(device)
        if embed is not None:
            batch = replace(batch, first=replace(batch.first, embeddings=embed(positions)))
        terms = completion_terms(model, completion_outputs(model, batch.first), batch, ALONE)
        observed = batch.rest[1].sum()
        sums[0] += torch.stack([terms["completion"].double() * observed, observed])
        if "alignment" in terms:
            size = sums.new_tensor(len(positions))
            sums[1] += torch.stack([terms["alignment"] * size, size])
            sums[2] += torch.stack(false_negatives(batch.first.values, batch.first.observed))
    totals = processes.sum(sums).tolist()
    return {name: total / max(weight, 1.0) for name, (total, weight) in zip(names, totals, strict=True) if weight > 0}


@torch.inference_mode()
def alignment_by_pairs(model: TimesCLIP, first: WindowTensors, batch_size: int) -> dict[str, float]:
    """`alignment_scores` of first windows, and the loss of a model that fails on near-equal series only.

    Empty for a model that aligns nothing. `first` has its embeddings.
    """
    if not model.config.aligned:
        return {}
    model.eval()
    sides = [model.tokens(*batch.inputs()) for batch in _batches(model, first, batch_size)]
    vision = torch.cat([seen.cpu() for seen, _ in sides if seen is not None])
    language = torch.cat([read.cpu() for _, read in sides if read is not None])
    scores = alignment_scores(vision, language, first.present.cpu(), model.log_temperature.detach().cpu())
    floor = alignment_floor(first.values.cpu(), first.observed.cpu())
    return scores | {f"{name}_floor": value for name, value in floor.items()}


@torch.inference_mode()
def complete(model: TimesCLIP, first: WindowTensors, batch_size: int) -> tuple[Tensor, Tensor | None]:
    """The completed rest of the season [n,V,H], standardised, and the variate-selection weights [V,V].

    The weights are averaged over samples. They are None if the model does not select variates.
    """
    model.eval()
    completions, weights = [], []
    for batch in _batches(model, first, batch_size):
        out = model(*batch.inputs())
        completions.append(out.completion.cpu())
        if out.selection is not None:
            weights.append(out.selection.cpu())
    return torch.cat(completions), torch.cat(weights).mean(0) if weights else None


@torch.inference_mode()
def features(model: TimesCLIP, window: WindowTensors, batch_size: int) -> Tensor:
    """The frozen model's features of each variate in one window: [n,V,F], on the CPU."""
    model.eval()
    return torch.cat([model.features(*batch.inputs()).cpu() for batch in _batches(model, window, batch_size)])


def _batches(model: TimesCLIP, window: WindowTensors, size: int) -> Iterator[WindowTensors]:
    device = model.log_temperature.device
    return (window.part(start, start + size).to(device) for start in range(0, len(window), size))


@torch.inference_mode()
def continued(model: TimesCLIP, season: SeasonTensors, step: int, batch_size: int) -> SeasonTensors:
    """Seasons known after `step` steps, with the completion in place of steps that lie ahead; numbers only.

    The completion starts at the cut or at `step`, whichever is later. It covers variates that the first window
    observes.
    """
    first, second = season.first, season.second
    cut = first.values.shape[2] if season.cut is None else season.cut
    completed, _ = complete(model, first, batch_size)
    later = (torch.arange(cut, cut + completed.shape[2]) >= step) & first.present[..., None]
    if season.cut is not None:
        completed, later = functional.pad(completed, (cut, 0)), functional.pad(later, (cut, 0), value=False)
    values = torch.where(later, completed.to(second.values.device), second.values)
    return replace(season, second=replace(second, values=values, observed=second.observed | later))


@torch.inference_mode()
def with_errors(model: TimesCLIP, season: SeasonTensors, batch_size: int) -> SeasonTensors:
    """The whole season with the completion's errors as V extra variates: the part that the first half did not predict.

    Variates 0 to V-1 are the season [n,V,T] unchanged. Variates V to 2V-1 are completed minus measured from the cut on,
    at steps that have both, and unobserved before the cut. Numbers only, on the steps of the whole season.
    """
    cut = season.first.values.shape[2] if season.cut is None else season.cut
    completed, _ = complete(model, season.first, batch_size)
    values, known = season.rest
    known = known & season.first.present[..., None]
    errors = torch.where(known, completed.to(values.device) - values, 0)
    if season.cut is None:
        whole = torch.cat([season.first.values, season.second.values], -1)
        seen = torch.cat([season.first.observed, season.second.observed], -1)
    else:
        whole, seen = season.second.values, season.second.observed
    channels = torch.cat([whole, functional.pad(errors, (cut, 0))], 1)
    observed = torch.cat([seen, functional.pad(known, (cut, 0), value=False)], 1)
    after = WindowTensors(channels, observed, None, season.second.drivers)
    before = observed.clone()
    before[..., cut:] = False
    return SeasonTensors(
        WindowTensors(channels * before, before, None, season.first.drivers), after, cut, season.static
    )
