"""The whole model: its shapes, under its masks, under symmetries, and through a short training."""

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
from model.norms import instance_norm
from model.timesclip import TimesCLIP
from model.yield_head import HeadShape, YieldEnsemble
from tests.one_thread import one_torch_thread
from tests.small_timesclip import LANGUAGE, PARTS, SMALL, VISION, built, season, tensors


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    yield from one_torch_thread()


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
