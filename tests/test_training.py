"""The training loop keeps the best weights, stops when it should, and says where a loss went wrong."""

import math

import pytest
import torch
from torch import nn

from model.calibration import INTERVAL, conformal_margin
from model.training.distributed import ALONE, Processes
from model.training.errors import Diverged, Refused
from model.training.grad_cache import Share, add_gradients
from model.training.optim import Schedule, one_cycle, optimizer_of
from model.training.precision import Precision, choose
from model.training.timer import PARTS
from model.training.trainer import Silent, Trainer
from model.yield_head import AnomalyScale
from tests.tasks import Line, completion_task

SCHEDULE = Schedule(epochs=30, batch_size=4, lr=0.05, weight_decay=0.0, patience=5)
CPU = torch.device("cpu")


class Heard(Silent):
    """Remembers what it was told; may interrupt."""

    def __init__(self, task=None, interrupt_at=None):
        self.epochs, self.steps, self.task, self.interrupt_at, self.weights = [], [], task, interrupt_at, []

    def on_step(self, phase, epoch, step, steps):
        self.steps.append((phase, epoch, step, steps))

    def on_epoch(self, phase, epoch):
        if epoch.epoch == self.interrupt_at:
            raise KeyboardInterrupt
        self.epochs.append(epoch)
        self.weights += [self.task.module.weight.item()] if self.task else []


@pytest.mark.slow
def test_the_weights_of_the_best_epoch_are_kept_and_patience_ends_training():
    task = Line(iter([9.0, 5.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 1.0]))
    heard = Heard(task)
    result = Trainer(SCHEDULE, listener=heard).fit(task, "a/train")
    assert (result.best_epoch, result.best_score, len(result.epochs)) == (2, 3.0, 7)
    assert task.module.weight.item() == heard.weights[1] != heard.weights[-1]


def test_epoch_zero_wins_when_training_never_helps():
    task = Line(iter(range(99)))
    before = task.module.weight.item()
    assert Trainer(SCHEDULE).fit(task, "a/train").best_epoch == 0
    assert task.module.weight.item() == before


def test_ctrl_c_keeps_the_best_weights_so_far():
    task = Line()
    heard = Heard(task, interrupt_at=3)
    assert Trainer(SCHEDULE, listener=heard).fit(task, "a/train").interrupted
    assert len(heard.weights) == 2
    assert task.module.weight.item() != pytest.approx(Line().module.weight.item())


def test_ctrl_c_in_a_refit_ends_the_run_for_fewer_epochs_were_not_asked_for():
    task = Line()
    with pytest.raises(KeyboardInterrupt):
        Trainer(SCHEDULE, listener=Heard(task, interrupt_at=3)).refit(task, "a/refit", 5)


def test_a_loss_that_is_not_finite_stops_the_run_naming_epoch_and_step():
    task, calls = Line(), []

    def loss(outputs, batch, total, processes):
        calls.append(batch)
        return {"loss": outputs["y"].square().mean() * (math.nan if len(calls) == 5 else 1)}

    task.loss = loss  # type: ignore[method-assign]
    with pytest.raises(Diverged, match="epoch 2, step 1"):
        Trainer(SCHEDULE).fit(task, "a/train")


def test_every_position_is_drawn_once_an_epoch_and_a_refit_runs_the_same_schedule():
    task = Line()
    Trainer(SCHEDULE).refit(task, "a/refit", 2)
    assert sorted(task.drawn[:10]) == sorted(task.drawn[10:]) == list(range(10))
    scores = (float(abs(epoch - 2)) for epoch in range(99))
    again = Line(scores)
    Trainer(SCHEDULE).fit(again, "a/train")
    assert again.module.weight.item() == task.module.weight.item()


def test_an_epoch_says_where_its_seconds_went():
    heard, task = Heard(), completion_task()
    Trainer(Schedule(epochs=2, batch_size=8), listener=heard).fit(task, "a/train")
    for epoch in heard.epochs:
        assert tuple(epoch.parts) == PARTS
        assert all(epoch.parts[part] > 0 for part in ("data", "forward", "backward", "optimizer", "evaluation"))
        assert sum(epoch.parts[part] for part in ("data", "forward", "backward", "optimizer")) <= epoch.seconds
    assert [step[2:] for step in heard.steps] == [(1, 3), (2, 3), (3, 3)] * 2


def test_the_learning_rate_moves_once_an_optimizer_step_and_ends_where_the_last_step_does():
    schedule = Schedule(epochs=4, batch_size=4, lr=0.1, warmup=0.25, accumulate=2, patience=9)  # 10 rows: 3 steps
    module = nn.Linear(1, 1)
    rates = one_cycle(optimizer_of(module, schedule, ()), schedule, 10)
    assert rates.total_steps == 12
    task, heard = Line(iter(range(99, 0, -1))), Heard()
    Trainer(schedule, listener=heard).fit(task, "a/train")
    seen = [epoch.lr for epoch in heard.epochs]
    expected = [rates.get_last_lr()[0]]
    for _ in range(11):
        rates.optimizer.step()
        rates.step()
        expected.append(rates.get_last_lr()[0])
    assert seen == pytest.approx(expected[::3])
    assert max(expected) == pytest.approx(0.1)
    assert expected[-1] < 1e-5


def test_pretrained_parts_learn_at_a_rate_of_their_own():
    module = nn.ModuleDict({"old": nn.Linear(1, 1), "new": nn.Linear(1, 1)})
    groups = optimizer_of(module, Schedule(lr=1e-2, lr_pretrained=1e-4), ("old.",)).param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert {rates[id(p)] for p in module["old"].parameters()} == {1e-4}
    assert {rates[id(p)] for p in module["new"].parameters()} == {1e-2}


@pytest.mark.parametrize("micro_batches", [2, 3, 5])
def test_accumulated_steps_end_in_the_parameters_of_the_large_batch(micro_batches):
    ends = []
    for accumulate in (1, micro_batches):
        task = completion_task()  # 18 rows, batches of 8: the last window has 2 rows
        Trainer(Schedule(epochs=3, batch_size=8, accumulate=accumulate, patience=9)).fit(task, "a/train")
        ends.append(without_key_bias(task.module.state_dict()))
    for name, weight in ends[0].items():
        assert torch.allclose(weight.double(), ends[1][name].double(), rtol=0, atol=1e-6), name


def without_key_bias(weights, width=16):
    """A key's bias has no gradient (softmax ignores it); AdamW divides what rounding leaves of it by its own size."""
    return {name: torch.cat([weight[:width], weight[2 * width :]]) if "in_proj_bias" in name else weight
            for name, weight in weights.items()}  # fmt: skip


def test_the_contrastive_gradient_is_that_of_the_whole_batch_and_dropout_is_replayed():
    """Beside the cached gradient: all micro-batches with their graphs in memory, as nobody could afford it."""
    task = completion_task(dropout=0.3)
    task.module.train()
    batch = task.train.seasons[0].rows(torch.arange(8))
    torch.manual_seed(5)
    terms = add_gradients(
        task,
        Share(batch, 8, 8),
        4,
        precision=Precision("fp32", CPU),
        processes=ALONE,
        clock=lambda part: torch.enable_grad(),
    )
    cached = {name: p.grad.clone() for name, p in task.module.named_parameters()}
    after = torch.get_rng_state()
    task.module.zero_grad()
    torch.manual_seed(5)
    parts = [task.forward(batch.part(start, start + 2)) for start in range(0, 8, 2)]
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    direct = task.loss(whole, batch, 8, ALONE)
    direct["loss"].backward()
    assert terms["alignment"].item() == pytest.approx(direct["alignment"].item(), abs=1e-6)
    for name, parameter in task.module.named_parameters():
        assert torch.allclose(parameter.grad, cached[name], atol=1e-6), name
    assert torch.equal(after, torch.get_rng_state())


def test_averaging_the_contrastive_loss_of_micro_batches_would_be_another_loss():
    task = completion_task()
    batch = task.train.seasons[0].rows(torch.arange(8))
    whole = task.loss(task.forward(batch), batch, 8, ALONE)["alignment"]
    parts = [batch.part(0, 4), batch.part(4, 8)]
    mean = sum(task.loss(task.forward(part), part, 4, ALONE)["alignment"] for part in parts) / 2
    assert whole.item() - mean.item() > 0.5


def test_gradients_are_clipped_after_they_were_scaled_down():
    clipped = []
    for name in ("fp32", "fp16"):
        torch.manual_seed(0)
        module = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        precision = Precision(name, CPU, start_scale=1024.0)
        precision.backward(100 * module(torch.ones(1, 1)).sum())
        before = module.weight.item()
        assert precision.step(optimizer, list(module.parameters()), clip=0.5)
        clipped.append(before - module.weight.item())
    assert clipped[0] == pytest.approx(0.5 / math.sqrt(2), rel=1e-5)
    assert clipped[1] == pytest.approx(clipped[0], rel=1e-5)


def test_a_gradient_that_overflows_takes_no_step_and_lowers_the_scale():
    module = nn.Linear(1, 1)
    optimizer, precision = torch.optim.SGD(module.parameters(), lr=1.0), Precision("fp16", CPU, start_scale=1024.0)
    precision.backward(module(torch.ones(1, 1)).sum() * math.inf)
    before = module.weight.item()
    assert not precision.step(optimizer, list(module.parameters()), clip=0.5)
    assert module.weight.item() == before
    assert precision.scaler.get_scale() == 512.0


def test_bf16_is_refused_without_the_instructions_and_never_chosen_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(Refused, match="no bf16 instructions"):
        choose("bf16", CPU)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert choose("bf16", CPU).name == "bf16"
    assert choose("auto", CPU).name == "fp32"
    with pytest.raises(Refused, match="fp16 needs a CUDA GPU"):
        choose("fp16", CPU)


def test_bf16_computes_forward_in_bf16_and_learns_about_the_same():
    losses = {}
    for name in ("fp32", "bf16"):
        heard = Heard()
        Trainer(Schedule(epochs=3, batch_size=8), precision=Precision(name, CPU), listener=heard).fit(
            completion_task(), "a/train"
        )
        losses[name] = [epoch.train["loss"] for epoch in heard.epochs]
    assert losses["fp32"] != losses["bf16"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Refused, match="finds no CUDA GPU"):
        Processes.start("cuda")


def test_the_conformal_margin_is_the_rank_that_covers():
    residuals = torch.arange(1.0, 100.0).numpy()  # 1..99: rank ceil(100 * 0.9) = 90
    assert conformal_margin(residuals) == math.ceil(100 * INTERVAL)
    assert conformal_margin(residuals[:3]) == 3.0


def test_anomalies_come_back_from_their_scale():
    anomaly = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).numpy()
    scale = AnomalyScale.fit(anomaly)
    assert scale.inverse(scale.apply(anomaly)) == pytest.approx(anomaly, rel=1e-6)
    assert AnomalyScale.fit(anomaly[:1]).spread == 1.0


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 20])
def test_a_run_of_any_number_of_steps_has_finite_rates_that_rise_before_they_fall(steps):
    module = nn.Linear(1, 1)
    schedule = Schedule(epochs=steps, batch_size=8, lr=0.1)
    rates = one_cycle(optimizer_of(module, schedule, ()), schedule, 8)
    seen = [rates.get_last_lr()[0]]
    for _ in range(steps - 1):
        rates.optimizer.step()
        rates.step()
        seen.append(rates.get_last_lr()[0])
    rates.optimizer.step()
    rates.step()  # as the trainer does after the last step
    assert all(0 < rate <= 0.1 * (1 + 1e-9) for rate in seen)
    assert steps < 2 or max(seen) == pytest.approx(0.1)
