"""The model against slow twins, under its masks, and through a short training."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import TimesCLIPConfig
from model.losses import completion_loss, info_nce
from model.norms import FeatureNorm, instance_norm
from model.presets import PRESETS
from model.text_branch import DayPositions, cut_patches
from model.timesclip import TimesCLIP, TimesCLIPOutput
from model.yield_head import HeadShape, YieldEnsemble, anomaly_loss
from tests import reference_model

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


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors here are tiny: a second thread would only wait, for very long where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


# Parts against their slow twins


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12)),
    share=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
)
def test_instance_norm_uses_observed_steps_alone(seed, shape, share):
    rng = np.random.default_rng(seed)
    values, observed = rng.normal(size=shape) * rng.choice([1e-3, 1, 50]), rng.random(shape) < share
    found = instance_norm(torch.from_numpy(values), torch.from_numpy(observed), 0.05)
    for ours, theirs in zip(found, reference_model.instance_norm(values, observed, 0.05), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    z, mean, std = found
    restored = (z * std[..., None] + mean[..., None]).numpy()
    np.testing.assert_allclose(restored[observed], values[observed], rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(patch=st.integers(1, 8), stride=st.integers(1, 5), extra=st.integers(0, 30))
def test_patches_repeat_the_end_for_one_stride(patch, stride, extra):
    window = patch + extra
    series = np.random.default_rng(extra).normal(size=(1, 1, window))
    found = cut_patches(torch.from_numpy(series), patch, stride)[0, 0].tolist()
    assert found == reference_model.patches(series[0, 0].tolist(), patch, stride)
    config = TimesCLIPConfig(1, window, 1, use_vision=False, patch=patch, stride=stride)
    assert config.patches(window) == len(found) == (window - patch) // stride + 2
    plain = cut_patches(torch.from_numpy(series), patch, stride, padding=False)[0, 0].tolist()
    assert plain == found[: len(plain)]
    assert replace(config, padding="none").patches(window) == len(plain) == len(found) - 1


@pytest.mark.parametrize(("window", "count"), [(18, 6), (36, 12), (6, 2)])
def test_patch_counts_of_the_method(window, count):
    assert TimesCLIPConfig(7, window, window, use_vision=False).patches(window) == count


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), absent=st.lists(st.booleans(), min_size=3, max_size=3).filter(lambda m: not all(m)))
def test_variate_selection_is_attention_over_present_variates(seed, absent):
    model = built(LANGUAGE, seed).double()
    text, series = (torch.from_numpy(x) for x in np.random.default_rng(seed).normal(size=(2, 1, 3, 16)))
    hidden = torch.tensor([absent])
    state = {name: value.numpy() for name, value in model.select.attention.state_dict().items()}
    found, weights = reference_model.attend(text[0].numpy(), series[0].numpy(), hidden[0].numpy(), state, heads=2)
    ours, our_weights = model.select(text, series, hidden)
    np.testing.assert_allclose(our_weights[0].detach(), weights, atol=1e-12)
    expected = model.select.feed_forward(model.select.norm(text[0] + torch.from_numpy(found)))
    np.testing.assert_allclose(ours[0].detach(), expected.detach(), atol=1e-12)


def test_the_feature_norm_standardises_what_moves_and_floors_what_does_not():
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(3, 2, size=(400, 2, 8)))
    rows[:, :, 0] = 1 + 1e-5 * rows[:, :, 0]  # a channel that is almost constant
    norm = FeatureNorm(2, 8)
    norm.fit([rows[:150], rows[150:]])
    out = norm(rows)
    np.testing.assert_allclose(out[..., 1:].mean(0), 0, atol=0.05)
    np.testing.assert_allclose(out[..., 1:].std(0), 1, atol=0.05)
    assert out[..., 0].abs().max() < 1e-3
    assert norm(rows + 1e6).abs().max() == 5
    assert norm(rows.half()).dtype == torch.float32


def test_the_feature_norm_leaves_absent_pictures_out():
    rows = torch.tensor(np.random.default_rng(0).normal(size=(50, 2, 4)))
    present = torch.ones(50, 2, dtype=torch.bool)
    present[30:, 0] = False
    spoiled = torch.where(present[..., None], rows, 1e4)
    masked, whole = FeatureNorm(2, 4), FeatureNorm(2, 4)
    masked.fit([spoiled], [present])
    whole.fit([rows])
    assert torch.equal(masked.mean[1], whole.mean[1])
    np.testing.assert_allclose(masked.mean[0], rows[:30, 0].mean(0), rtol=1e-5)


def test_float16_vectors_give_the_norm_of_their_float64_twins_whatever_the_rows():
    rng = np.random.default_rng(0)
    vectors = torch.tensor(rng.normal(3, rng.uniform(0.5, 2, 24), size=(900, 2, 24))).half()
    rows = torch.from_numpy(rng.permutation(900)[:700])
    half, double = FeatureNorm(2, 24), FeatureNorm(2, 24)
    half.fit([vectors], rows=rows)
    double.fit([vectors[rows].double()])
    np.testing.assert_allclose(half.mean, vectors[rows].double().mean(0), rtol=2e-6)
    np.testing.assert_allclose(half.scale, vectors[rows].double().std(0, correction=0), rtol=2e-6)
    torch.testing.assert_close(half.mean, double.mean, rtol=2e-6, atol=0)
    torch.testing.assert_close(half.scale, double.scale, rtol=2e-6, atol=0)


def test_the_feature_norm_leaves_its_input_as_it_was_and_passes_gradients_on():
    norm = FeatureNorm(2, 4)
    norm.fit([torch.randn(50, 2, 4)])
    vectors = torch.randn(3, 2, 4, requires_grad=True)
    before = vectors.detach().clone()
    norm(vectors).sum().backward()
    assert torch.equal(vectors.detach(), before)
    inside = ((before - norm.mean) / norm.scale).abs() < 5
    torch.testing.assert_close(vectors.grad, inside / norm.scale)


def test_pictures_before_the_fit_of_their_norm_are_an_error():
    model = TimesCLIP(SMALL)
    with pytest.raises(RuntimeError, match="fit_features"):
        model(*season(SMALL))


def test_the_fit_of_the_feature_norm_is_saved_with_the_weights():
    model, other = built(SMALL), TimesCLIP(SMALL)
    other.load_state_dict(model.state_dict())
    for ours, theirs in zip(tensors(model(*season(SMALL))), tensors(other.eval()(*season(SMALL))), strict=True):
        assert torch.equal(ours, theirs)


# Shapes and configurations


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("variates", [1, 3])
def test_shapes_are_as_documented(parts, variates):
    config = replace(PARTS[parts], variates=variates, horizon=5)
    inputs = season(config)
    model = built(config)
    out = model(*inputs)
    assert out.completion.shape == (5, variates, 5)
    token = (5, variates, 16)
    assert out.vision is None if not config.use_vision else out.vision.shape == token
    assert out.language is None if not config.use_language else out.language.shape == token
    selects = config.use_language and config.selection
    assert out.selection.shape == (5, variates, variates) if selects else out.selection is None
    assert model.features(*inputs).shape == (5, variates, config.feature_dim)
    assert all(x.isfinite().all() for x in [*tensors(out), model.features(*inputs)])


def test_a_season_of_twelve_months_has_one_patch_and_a_padded_one():
    config = TimesCLIPConfig(variates=3, window=6, horizon=6, use_vision=False)
    out = built(config)(*season(config)[:2])
    assert config.patches(6) == 2
    assert out.completion.isfinite().all()


def test_a_config_survives_json():
    assert TimesCLIPConfig(**asdict(SMALL)) == SMALL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 5}, "window of 5 steps is shorter than a patch of 6"),
        ({"use_vision": False, "use_language": False}, "both off"),
        ({"vision_dim": 0}, "vision_dim is 0"),
        ({"horizon": 0}, "at least 1"),
        ({"heads": 3}, "multiple of heads 3"),
        ({"start": 10}, "start at most the window"),
        ({"drivers": 1}, "steps is 0"),
        ({"temperature": 0.0}, "temperature 0.0 is out of its range"),
        ({"dropout": 1.0}, "dropout 1.0 is out of its range"),
        ({"picture_dropout": 1.1}, r"picture_dropout 1.1 is out of its range \(0 to 1\)"),
        ({"picture_dropout": 0.5, "use_vision": False}, "numbers to complete from without them"),
    ],
)
def test_sizes_that_cannot_work_are_refused_with_their_numbers(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize("hidden", [0.0, 0.5, 1.0])
def test_the_completion_does_without_hidden_pictures(hidden):
    """In training a share of samples does not read its picture; afterwards all do, unless none ever does."""
    model, (values, observed, embeddings) = (
        built(replace(SMALL, dropout=0.0, picture_dropout=hidden)),
        season(SMALL, samples=400),
    )
    other = torch.randn_like(embeddings)

    def reads() -> torch.Tensor:
        outs = []
        for seen in (embeddings, other):
            torch.manual_seed(7)
            outs.append(model(values, observed, seen).completion)
        return (outs[0] != outs[1]).flatten(1).any(1).float().mean()

    model.eval()
    assert reads() == (hidden < 1)
    assert model(values, observed, embeddings).vision.any()  # alignment and yield see them all the same
    model.train()
    assert reads() == pytest.approx(1 - hidden, abs=0.08)


def test_inputs_of_the_wrong_shape_are_refused():
    model, (values, observed, embeddings) = built(SMALL), season(SMALL)
    with pytest.raises(ValueError, match="starts from 9 steps; got 18"):
        model(torch.cat([values, values], -1), torch.cat([observed, observed], -1), embeddings)
    with pytest.raises(ValueError, match="embeddings must be"):
        model(values, observed, None)
    with pytest.raises(ValueError, match="embeddings must be"):
        model(values, observed, embeddings[..., :4])


def test_a_window_may_be_shorter_than_the_longest_one_even_shorter_than_a_patch():
    model, (values, observed, embeddings) = built(SMALL), season(SMALL)
    for steps in (8, 4, 1):
        seen = model.features(values[..., :steps], observed[..., :steps], embeddings)
        assert seen.shape == (5, 3, SMALL.feature_dim)
        assert seen.isfinite().all()
    with pytest.raises(ValueError, match="starts from 9 steps; got 8"):
        model(values[..., :8], observed[..., :8], embeddings)


def test_a_patch_has_one_day_whatever_window_it_is_cut_from():
    positions = DayPositions(patch=6, stride=3, step_days=10.0, width=8)
    assert positions.days(3, 0).tolist() == [30, 60, 90]
    torch.testing.assert_close(positions(4, 6)[:2], positions(4, 0)[2:])
    assert (positions(4, 0)[0] - positions(4, 0)[1]).abs().max() > 1e-4


@pytest.mark.parametrize("steps", range(1, 10))
def test_any_prefix_goes_through_one_model_and_later_values_change_nothing(steps):
    """The season's frame with what is not seen yet unobserved: the unified preset, as of a step."""
    config = PARTS["unified"]
    model, (values, observed, *others) = built(config), season(config)
    observed[..., steps:] = False
    before = model.features(values, observed, *others)
    values[..., steps:] = math.nan
    assert torch.equal(model.features(values, observed, *others), before)
    assert before.isfinite().all()


def test_the_model_for_seven_bands_stays_small():
    config = TimesCLIPConfig(variates=7, window=18, horizon=18, vision_dim=1280)
    model, head = TimesCLIP(config), YieldEnsemble(1, HeadShape(config.feature_dim, 7))
    count = sum(p.numel() for p in model.parameters())
    head_count = sum(p.numel() for p in head.parameters())
    assert count < 700_000
    assert head_count < 15_000


# Masks


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("parts", PARTS)
def test_what_stands_under_a_mask_changes_nothing_bit_for_bit(parts, training):
    config = PARTS[parts]
    model, (values, observed, embeddings, *drivers) = built(config).train(training), season(config)
    present = observed.any(-1)
    outcomes = []
    for hidden in (0.0, 3e4, math.nan):
        inputs = (
            torch.where(observed, values, hidden),
            observed,
            torch.where(present[..., None], embeddings, hidden),
            *(
                torch.cat([torch.where(d.chunk(2, -1)[1] > 0, d.chunk(2, -1)[0], hidden), d.chunk(2, -1)[1]], -1)
                for d in drivers
            ),
        )
        torch.manual_seed(4)  # equal dropout
        outcomes.append([*tensors(model(*inputs)), model.features(*inputs)])
    for other in outcomes[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(other, outcomes[0], strict=True))


@pytest.mark.parametrize("parts", PARTS)
def test_an_absent_variate_is_zero_everywhere_and_draws_no_attention(parts):
    config = PARTS[parts]
    out = built(config)(*season(config))
    for part in tensors(out):
        assert (part[0, 0] == 0).all()
    if out.selection is not None:
        assert (out.selection[0, :, 0] == 0).all()
        np.testing.assert_allclose(out.selection[0, 1:].sum(-1).detach(), 1, rtol=1e-5)


def test_a_sample_without_any_observation_gives_zeros_and_finite_gradients():
    model, (values, observed, embeddings) = built(SMALL).train(), season(SMALL)
    observed[2] = False
    out = model(values, observed, embeddings)
    assert all((part[2] == 0).all() for part in tensors(out))
    loss = out.completion.square().sum() + info_nce(out.vision, out.language, observed.any(-1), model.log_temperature)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_patch_without_observations_is_not_attended_to():
    model, (values, observed, _) = built(LANGUAGE), season(LANGUAGE, gaps=0)
    observed[..., 3:] = False  # 9 steps: patches 0-5, 3-8, 6-11; the last two see nothing
    before = model(values, observed).language
    with torch.no_grad():  # what an empty patch would bring into attention: its position
        model.language.positions.table[1:] += 5
    assert torch.equal(model(values, observed).language, before)
    observed[..., 3:] = True
    assert not torch.equal(model(values, observed).language, before)


# Symmetries


@pytest.mark.parametrize("parts", PARTS)
def test_permuting_samples_permutes_outputs(parts):
    config = PARTS[parts]
    model, inputs, order = built(config), season(config), torch.tensor([3, 0, 4, 1, 2])
    straight = tensors(model(*inputs))
    permuted = tensors(model(*(x[order] for x in inputs)))
    for ours, theirs in zip(permuted, straight, strict=True):
        torch.testing.assert_close(ours, theirs[order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parts", PARTS)
def test_permuting_variates_with_their_own_parameters_permutes_outputs(parts):
    config = PARTS[parts]
    model, (*inputs, drivers), order = built(config), (*season(config), None)[:4], torch.tensor([2, 0, 1])
    other = built(config)
    with torch.no_grad():
        if config.use_language:
            other.language.variates.copy_(model.language.variates[order])
        if config.use_vision:
            other.vision.norm.mean.copy_(model.vision.norm.mean[order])
            other.vision.norm.scale.copy_(model.vision.norm.scale[order])
    moved = [x[:, order] for x in inputs]
    straight, permuted = model(*inputs, drivers), other(*moved, drivers)
    for name in ("completion", "vision", "language"):
        if getattr(straight, name) is not None:
            torch.testing.assert_close(getattr(permuted, name), getattr(straight, name)[:, order], atol=1e-5, rtol=1e-5)
    if straight.selection is not None:
        torch.testing.assert_close(permuted.selection, straight.selection[:, order][:, :, order], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(*moved, drivers).completion, permuted.completion, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(shift=st.floats(-20, 20), scale=st.floats(0.5, 20), seed=st.integers(0, 99))
def test_a_shifted_and_scaled_season_is_completed_shifted_and_scaled_alike(shift, scale, seed):
    model = built(LANGUAGE).double()
    values, observed, _ = season(LANGUAGE, seed=seed)
    values, present = values.double(), observed.any(-1)
    _, _, std = instance_norm(values, observed, 0.0)
    above_the_floor = present & (std > 0.1)
    plain, moved = model(values, observed).completion, model(shift + scale * values, observed).completion
    torch.testing.assert_close(
        moved[above_the_floor], (shift + scale * plain)[above_the_floor], atol=1e-9 * (1 + scale), rtol=1e-9
    )


def test_the_numbers_of_the_season_reach_the_features_of_stage_2():
    model, (values, observed, _) = built(LANGUAGE), season(LANGUAGE)
    before, moved = model.features(values, observed), model.features(values + 2, observed)
    first = before.shape[-1] - LANGUAGE.plain_dim
    torch.testing.assert_close(moved[1:, :, :first], before[1:, :, :first], atol=1e-4, rtol=1e-4)  # tokens: no level
    torch.testing.assert_close(moved[1:, :, -2], before[1:, :, -2] + 2, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved[1:, :, -1], before[1:, :, -1], atol=1e-4, rtol=1e-4)
    assert torch.equal(moved[..., first:-2], torch.where(observed, values + 2, 0))
    short = model.features(values[..., :6], observed[..., :6])
    assert torch.equal(short[..., first : first + 6], torch.where(observed, values, 0)[..., :6])
    assert not short[..., first + 6 : -2].any()


def test_vision_only_reads_no_number():
    model, (values, observed, embeddings) = built(VISION), season(VISION)
    assert torch.equal(model(values, observed, embeddings)[0], model(values * 3 + 1, observed, embeddings)[0])
    assert not torch.equal(model(values, observed, embeddings)[0], model(values, observed, embeddings * 2)[0])


# Training


@pytest.mark.slow
@pytest.mark.parametrize("parts", PARTS)
def test_eight_samples_are_learnt_by_heart(parts):
    # Through pictures only, the head is linear in D numbers: 24 series need more than 10 of them.
    config = replace(PARTS[parts], dropout=0.0, width=32, vision_dim=40 * PARTS[parts].use_vision)
    (values, observed, *others), model = season(config, 8, gaps=0.1), built(config).train()
    goal, known, *_ = season(config, 8, seed=9, gaps=0.1)
    known &= observed.any(-1, keepdim=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0)
    first = None
    for _ in range(200 if config.pool == "class" else 400):  # one token tells less than all patches
        loss = completion_loss(model(values, observed, *others).completion, goal, known)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01 < 0.3 < first


@pytest.mark.slow
def test_alignment_teaches_each_picture_its_own_series():
    config = replace(SMALL, dropout=0.0)
    inputs, model = season(config, 8), built(config).train()
    present = inputs[1].any(-1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(100):
        out = model(*inputs)
        loss = info_nce(out.vision, out.language, present, model.log_temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5


def test_every_parameter_of_every_part_learns():
    model, inputs = built(SMALL).train(), season(SMALL)
    out = model(*inputs)
    present = inputs[1].any(-1)
    (out.completion.square().mean() + info_nce(out.vision, out.language, present, model.log_temperature)).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_one_seed_gives_the_same_weights_and_the_same_step_bit_for_bit():
    def one_step() -> list[torch.Tensor]:
        model, inputs = built(SMALL, seed=5).train(), season(SMALL)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        model(*inputs).completion.square().mean().backward()
        optimizer.step()
        return list(model.state_dict().values())

    assert all(torch.equal(a, b) for a, b in zip(one_step(), one_step(), strict=True))


# The yield head


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), members=st.integers(1, 3), static=st.integers(0, 2))
def test_yield_heads_side_by_side_are_their_slow_twin(seed, members, static):
    torch.manual_seed(seed)
    shape = HeadShape(6, 3, plain=2, static=static, quantiles=(0.5,))
    heads, features, present = YieldEnsemble(members, shape), torch.randn(5, 3, 12), torch.rand(5, 3) < 0.8
    heads.fit_features(features, present)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter)
    more = torch.randn(5, static) if static else None
    found = heads.eval()(features, present, more)
    for member in range(members):
        weights = {name: value[member].detach().double().numpy() for name, value in heads.named_parameters()}
        for sample in range(5):
            normed, known = heads.norm(features)[sample].double().numpy(), present[sample].numpy()
            extra = None if more is None else more[sample].double().numpy()
            told = reference_model.yield_head(weights, normed, known, extra, plain=2)
            assert found[member, sample].tolist() == pytest.approx(told, rel=1e-4, abs=1e-4)


def test_an_untrained_yield_head_predicts_exactly_the_offset():
    head, present = YieldEnsemble(2, HeadShape(10, 3)), torch.ones(6, 3, dtype=torch.bool)
    features = torch.randn(6, 3, 20, generator=torch.Generator().manual_seed(0))
    head.fit_features(features, present)
    assert torch.equal(head(features, present), torch.zeros(2, 6, 1))


def test_a_yield_head_ignores_absent_variates_and_keeps_variates_apart():
    torch.manual_seed(0)
    head = YieldEnsemble(1, HeadShape(10, 3)).eval()
    torch.nn.init.normal_(head.out.weight)
    features, present = torch.randn(6, 3, 20), torch.ones(6, 3, dtype=torch.bool)
    head.fit_features(features, present)
    present[:, 1] = False
    spoiled = features.clone()
    spoiled[:, 1] = math.nan
    assert torch.equal(head(spoiled, present), head(features, present))
    assert not torch.allclose(head(features[:, [2, 1, 0]], present), head(features, present), atol=1e-3)


def test_a_yield_head_learns_a_linear_yield_and_beats_its_start():
    torch.manual_seed(0)
    head, features = YieldEnsemble(1, HeadShape(10, 3)), torch.randn(200, 3, 20)
    present = torch.ones(200, 3, dtype=torch.bool)
    head.fit_features(features, present)
    anomaly = features[:, 0, :5].sum(1) / 5**0.5
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (head(features, present)[0, :, 0] - anomaly).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (head.eval()(features, present)[0, :, 0] - anomaly).square().mean() < 0.2 * anomaly.square().mean()


def test_static_numbers_reach_the_yield():
    torch.manual_seed(0)
    head, features = YieldEnsemble(1, HeadShape(10, 3, static=2)), torch.zeros(200, 3, 20)
    present, static = torch.ones(200, 3, dtype=torch.bool), torch.randn(200, 2)
    head.fit_features(features, present)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (head(features, present, static)[0, :, 0] - static[:, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (head.eval()(features, present, static)[0, :, 0] - static[:, 0]).square().mean() < 0.2


@pytest.mark.slow
def test_quantiles_are_learnt_where_the_spread_depends_on_the_season():
    """Noise that grows with a feature: the told 90 % range must grow with it and hold about 90 % of the yields."""
    torch.manual_seed(0)
    shape = HeadShape(10, 1, windows=1, quantiles=(0.05, 0.5, 0.95))
    heads, features = YieldEnsemble(1, shape), torch.randn(4000, 1, 10)
    present = torch.ones(4000, 1, dtype=torch.bool)
    heads.fit_features(features, present)
    spread = 0.2 + (features[:, 0, -1] > 0).float()
    anomaly = spread * torch.randn(4000)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-2)
    for _ in range(300):
        loss = anomaly_loss(heads(features, present).transpose(0, 1), anomaly, 4000, shape.quantiles)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    told = heads.eval()(features, present)[0].detach()
    inside = (told[:, 1] <= anomaly) & (anomaly <= told[:, 3])
    assert 0.85 < inside.float().mean() < 0.95
    width = told[:, 3] - told[:, 1]
    assert width[spread > 1].mean() > 2.5 * width[spread < 1].mean()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), members=st.integers(1, 3), samples=st.integers(1, 6))
def test_the_loss_of_a_yield_is_its_slow_twin(seed, members, samples):
    rng, quantiles = np.random.default_rng(seed), (0.05, 0.5, 0.95)
    told, true = rng.normal(size=(samples, members, 4)), rng.normal(size=samples)
    found = anomaly_loss(torch.from_numpy(told), torch.from_numpy(true), samples, quantiles)
    assert float(found) == pytest.approx(reference_model.yield_loss(told, true, quantiles))


@pytest.mark.parametrize("preset", sorted(PARTS))
def test_filled_gaps_change_nothing_of_whole_seasons_and_the_padding_of_short_windows(preset):
    config = PARTS[preset]
    if not config.use_language:
        pytest.skip("reads no numbers")
    for length in (config.window, config.patch - 2):
        model = built(config)
        values, observed, *rest = season(config, gaps=0.0)
        observed[:] = True
        inputs = (values[..., :length], observed[..., :length], *rest)
        plain = model.features(*inputs)
        model.config = replace(config, filled=True)
        torch.testing.assert_close(model.features(*inputs), plain, rtol=0, atol=0)


def test_filled_gaps_change_the_features_of_seasons_with_gaps():
    model = built(SMALL)
    inputs = season(SMALL, gaps=0.4)
    plain = model.features(*inputs)
    model.config = replace(SMALL, filled=True)
    assert not torch.allclose(model.features(*inputs), plain, atol=1e-2)
