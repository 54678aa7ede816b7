"""Initial weights: slices for any sizes, the file, and what does not fit."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.completion_task import SeasonRows, completion_outputs, completion_terms, train_completion
from model.config import TimesCLIPConfig
from model.initial_weights import InitialWeights, Start, read_initial_weights, save_initial_weights, sliced
from model.losses import info_nce
from model.presets import PRESETS
from model.pretraining import Pretrained, PretrainingTable, PretrainingTask, Weighting, largest_config, table_config
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP
from model.training.distributed import ALONE
from model.training.errors import Refused
from model.training.optim import Schedule
from model.training.trainer import Trainer

DIM, LONGEST = 12, 24
PARTS = replace(PRESETS["timesclip"], width=16, dropout=0.0)
LARGEST = largest_config(PARTS, DIM, LONGEST)


def window(rng, samples, variates, steps, start=0, until=None):
    values = torch.randn(samples, variates, steps, generator=rng)
    seen = torch.rand(samples, variates, steps, generator=rng) > 0.1
    if until is not None:
        seen[..., until:] = False
    vectors = torch.randn(samples, variates, DIM, generator=rng).half()
    return WindowTensors(torch.where(seen, values, 0), seen, vectors, None, start)


def table(seed, samples=9, variates=3, first=10, second=8, whole=False):
    rng = torch.Generator().manual_seed(seed)
    if whole:
        steps = first + second
        season = SeasonTensors(window(rng, samples, variates, steps, until=first),
                               window(rng, samples, variates, steps), first)  # fmt: skip
    else:
        season = SeasonTensors(window(rng, samples, variates, first), window(rng, samples, variates, second, first))
    return PretrainingTable(season, table_config(LARGEST, season, 10.0), torch.rand(variates, 2, generator=rng) + 0.1)


def made(seed=0):
    torch.manual_seed(seed)
    module = Pretrained(LARGEST)
    module.fit_norm([table(1), table(2, whole=True)])
    return module.eval()


def weights_of(module):
    return InitialWeights({n: t.detach() for n, t in module.tensors().items()}, LARGEST, "digest", {"by": "test"})


@settings(max_examples=30, deadline=None)
@given(first=st.integers(6, LONGEST), second=st.integers(1, LONGEST), variates=st.integers(1, 9),
       whole=st.booleans(), seed=st.integers(0, 99))  # fmt: skip
def test_a_run_starts_with_the_model_that_was_pretrained(first, second, variates, whole, seed):
    if whole and first + second > LONGEST:
        first, second = 6, LONGEST - 6
    one, module = table(seed, variates=variates, first=first, second=second, whole=whole), made()
    with torch.no_grad():
        trained = module(one, one.season)
        model = Start(weights_of(module), one.to_range).build(replace(one.config, level=False))
        model.eval()
        out = model(*one.season.first.inputs())
        later = model.tokens(*one.season.second.inputs())
    assert torch.equal(out.completion, trained["completion"])
    assert torch.equal(out.vision, trained["vision"])
    assert torch.equal(out.language, trained["language"])
    assert torch.equal(later[1], trained["later language"])


@pytest.mark.parametrize("off", ["use_vision", "use_language", "selection"])
def test_models_that_read_less_take_a_part_of_the_weights(off):
    config = replace(table(0).config, **{off: False}, alignment="none")
    weights = weights_of(made())
    model = TimesCLIP(weights.config_of(config))
    names = weights.load_into(model)
    read = {"use_vision": "language.cls", "use_language": "vision.project.1.weight", "selection": "language.cls"}
    assert read[off] in names
    assert all(name in model.state_dict() for name in names)


def test_gradients_of_a_step_reach_only_the_slice_of_its_table():
    module = made().train()
    one = table(5, first=8, second=4)
    module(one, one.season)["completion"].sum().backward()
    head = module.weights.head[1].weight.grad
    assert head[:4].abs().sum() > 0
    assert (head[4:] == 0).all()
    patches = LARGEST.patches(8)
    assert (head[:, : -(patches + 1) * 16] == 0).all()
    assert module.weights.season["head"][1].weight.grad is None


def test_what_each_window_reads_is_named_by_its_size():
    halves, whole = table(0).config, table(0, whole=True).config
    tensors = made().tensors()
    assert sliced(tensors, halves)["head.1.weight"].shape == (8, (LARGEST.patches(10) + 1) * 16)
    season = sliced(tensors, whole)
    assert season["head.1.weight"].shape == (8, (LARGEST.patches(18) + 1) * 16)
    assert "language.positions.table" not in season
    assert set(season) >= {"language.positions.project.weight", "language.positions.project.bias"}


def test_the_file_holds_everything(tmp_path):
    weights = weights_of(made())
    save_initial_weights(weights, tmp_path / "w.safetensors")
    read = read_initial_weights(tmp_path / "w.safetensors")
    assert (read.largest, read.encoder, read.record) == (LARGEST, "digest", {"by": "test"})
    assert read.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())
    save_initial_weights(weights, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(Refused, match="cannot be read"):
        read_initial_weights(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(Refused, match="cannot be read"):
        read_initial_weights(tmp_path / "text.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(Refused, match="holds no initial weights"):
        read_initial_weights(tmp_path / "other.safetensors")


@pytest.mark.parametrize(("change", "encoder", "said"), [
    ({"width": 32}, "digest", "width is 32"), ({"patch": 4}, "digest", "patch is 4"),
    ({"backbone": "bert:minilm"}, "digest", "backbone"), ({}, "other", "another encoder"),
    ({"window": LONGEST + 1}, "digest", "window of 25"), ({"horizon": 30}, "digest", "horizon of 30"),
])  # fmt: skip
def test_what_does_not_fit_is_said(change, encoder, said):
    config = replace(table(0).config, **change)
    assert said in weights_of(made()).misfit(config, encoder)
    assert weights_of(made()).misfit(table(0).config, "digest") is None
    assert weights_of(made()).misfit(replace(table(0).config, use_vision=False, alignment="none"), None) is None


def test_pretraining_lowers_its_loss_and_keeps_what_belongs_to_a_table():
    tables, valid = [table(seed, samples=16) for seed in range(3)], [table(9, whole=True)]
    module = made()
    before = module.weights.language.variates.clone()
    task = PretrainingTask(module, tables, valid, Weighting(samples=8), rounds=3)
    fit = Trainer(schedule=Schedule(epochs=6, batch_size=1, lr=3e-3, patience=6)).fit(task, "x/train")
    losses = [epoch.train["loss"] for epoch in fit.epochs]
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(module.weights.language.variates, before)
    assert not any("variates" in name or "to_range" in name for name in module.tensors())


def trained(season, start, config):
    """The weights after two epochs on rows 0 to 7, with rows 8 to 11 for validation."""
    rows = SeasonRows([season], torch.arange(8))
    trainer = Trainer(schedule=Schedule(epochs=2, batch_size=4, lr=1e-3, patience=2))
    model, _ = train_completion(config, rows, torch.arange(8, 12), trainer=trainer, phase="x/train", start=start)
    return model.state_dict()


@pytest.mark.parametrize("whole", [False, True])
def test_a_pretrained_start_aligns_the_second_windows_of_its_training_rows_too(whole):
    one, module = table(4, samples=12, whole=whole), made()
    start = Start(weights_of(module), one.to_range)
    base = trained(one.season, start, one.config)
    for rows, differ in ((slice(0, 8), True), (slice(8, 12), False)):
        vectors = one.season.second.embeddings.clone()
        vectors[rows] = vectors[rows].flip(0)
        changed = replace(one.season, second=replace(one.season.second, embeddings=vectors))
        again = trained(changed, start, one.config)
        assert any(not torch.equal(again[name], weight) for name, weight in base.items()) == differ


@pytest.mark.parametrize(("scratch", "alignment", "both"),
                         [(True, "flat", False), (False, "none", False), (False, "flat", True)])  # fmt: skip
def test_only_a_pretrained_start_with_an_alignment_reads_second_pictures(monkeypatch, scratch, alignment, both):
    one, tasks = table(4, samples=12), []
    monkeypatch.setattr(Trainer, "fit", lambda self, task, phase: tasks.append(task))
    start = None if scratch else Start(weights_of(made()), one.to_range)
    config = replace(one.config, alignment=alignment, level=not scratch, shared_norm=not scratch)
    train_completion(config, SeasonRows([one.season], torch.arange(8)), torch.arange(8, 12),
                     trainer=Trainer(schedule=Schedule()), phase="x/train", start=start)  # fmt: skip
    (task,) = tasks
    assert (task.train.seasons[0].second.embeddings is not None) == both
    outputs = task.forward(task.train.seasons[0])
    assert ("later vision" in outputs) == both
    assert ("vision" in outputs) == (alignment != "none")


def test_the_alignment_of_two_windows_is_the_mean_of_both():
    one, module = table(4, samples=12), made()
    model = Start(weights_of(module), one.to_range).build(one.config).eval()
    season = one.season
    with torch.no_grad():
        both = completion_terms(model, completion_outputs(model, season.first, season.second), season, ALONE)
        first, second = (info_nce(*model.tokens(*window.inputs()), window.present, model.log_temperature)
                         for window in season.windows)  # fmt: skip
    assert float(both["alignment"]) == pytest.approx(float(first + second) / 2, rel=1e-5)
    assert float(both["loss"]) == pytest.approx(float(both["completion"] + 0.1 * both["alignment"]), rel=1e-5)


def test_level_and_spread_reach_the_text_token_only_if_the_pictures_show_them():
    config = TimesCLIPConfig(variates=2, window=10, horizon=4, vision_dim=DIM, level=True)
    torch.manual_seed(0)
    model = TimesCLIP(config)
    model.fit_features([torch.randn(5, 2, DIM)])
    model.eval()
    one = table(3, variates=2, first=10).season.first
    shifted = replace(one, values=torch.where(one.observed, 2 * one.values + 1, 0))
    for slope, differ in ((0.0, False), (0.2, True)):
        model.show_levels(torch.tensor([[slope, 0.5 * (slope > 0)]] * 2))
        with torch.no_grad():
            plain, moved = (model.tokens(*w.inputs())[1] for w in (one, shifted))
        assert (not torch.allclose(plain, moved, atol=1e-4)) == differ


def test_a_config_with_level_needs_one_sequence_per_variate():
    with pytest.raises(ValueError, match="level"):
        TimesCLIPConfig(variates=2, window=10, horizon=4, vision_dim=DIM, level=True, sequence="joint")
