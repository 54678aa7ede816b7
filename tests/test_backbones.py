"""What every language backbone promises, whatever its kind; and our own transformer against its slow twins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model.backbones import Backbone, build, rebuild
from model.backbones.transformer import Transformer
from model.training.freezing import Freeze
from model.training.optim import Schedule, optimizer_of
from tests import reference_model
from tests.tiny_text_towers import HEADS, LAYERS, WIDTH, clip_folder, sequences, transformers_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One spec of each kind."""
    folder = tmp_path_factory.mktemp("towers")
    return {
        "transformer": "transformer",
        "clip-text": f"clip-text:{clip_folder(folder / 'clip')}",
        "bert": f"bert:{transformers_folder(folder / 'bert')}",
    }


@pytest.fixture(params=["transformer", "clip-text", "bert"])
def backbone(request: pytest.FixtureRequest, specs: dict[str, str]) -> Backbone:
    """Each kind in turn, as it is after training: no dropout."""
    torch.manual_seed(2)
    return build(specs[request.param], WIDTH, HEADS, LAYERS, 0.1).eval()


# What every backbone promises


@pytest.mark.parametrize("learning", [False, True])
def test_what_stands_in_an_empty_token_changes_nothing_in_the_others(backbone: Backbone, learning: bool) -> None:
    tokens, empty = sequences()
    other = torch.where(empty[..., None], 1e4 * torch.randn_like(tokens), tokens)
    with torch.set_grad_enabled(learning):
        before, after = backbone(tokens, empty), backbone(other, empty)
    assert before.shape == tokens.shape
    assert torch.equal(before[~empty], after[~empty])
    assert not torch.equal(before, after)


def test_an_empty_token_is_as_one_that_is_not_there(backbone: Backbone) -> None:
    tokens, empty = sequences()
    for row in range(len(tokens)):
        kept = ~empty[row]
        alone = backbone(tokens[row : row + 1, kept])
        torch.testing.assert_close(backbone(tokens, empty)[row, kept], alone[0], rtol=1e-4, atol=1e-5)


def test_no_sequence_knows_another(backbone: Backbone) -> None:
    tokens, empty = sequences()
    other = tokens.clone()
    other[0] *= -1
    before, after = backbone(tokens, empty), backbone(other, empty)
    assert torch.equal(before[1:], after[1:])
    assert not torch.equal(before[0], after[0])


def test_the_first_token_sees_the_last(backbone: Backbone) -> None:
    # Under CLIP's own causal mask the class token, which comes first, would see itself alone.
    tokens, _ = sequences()
    other = tokens.clone()
    other[:, -1] *= -1
    assert ((backbone(tokens) - backbone(other))[:, 0].abs().amax(-1) > 1e-4).all()


def test_a_sequence_is_a_set_since_tokens_carry_their_own_positions(backbone: Backbone) -> None:
    tokens, empty = sequences()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    expected = backbone(tokens, empty)[:, order]
    found = backbone(tokens[:, order], empty[:, order])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (expected[0, 0] - expected[0, 1]).abs().max() > 0.1


def test_a_sequence_may_be_longer_than_the_tower_ever_read(backbone: Backbone) -> None:
    assert backbone(torch.randn(2, 12, WIDTH)).shape == (2, 12, WIDTH)  # CLIP's context is 5 here, BERT's 8


def test_it_is_made_again_from_its_architecture_and_its_weights(
    backbone: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> None:
    architecture = json.loads(json.dumps(dict(backbone.architecture)))
    assert str(tmp_path_factory.getbasetemp()) not in json.dumps(architecture)
    again = rebuild(architecture).eval()
    again.load_state_dict(backbone.state_dict(), strict=True)
    assert again.pretrained == backbone.pretrained
    assert dict(again.architecture) == architecture
    tokens, empty = sequences()
    assert torch.equal(again(tokens, empty), backbone(tokens, empty))


def test_gradients_reach_the_tokens_and_every_parameter(backbone: Backbone) -> None:
    tokens, empty = sequences()
    tokens.requires_grad_()
    backbone.train()
    weights = torch.linspace(-1, 1, WIDTH)  # a plain sum would be cancelled by the last layer norm
    (backbone(tokens, empty)[:, :1] * weights).square().sum().backward()
    assert tokens.grad is not None
    assert (tokens.grad.abs().amax(-1) > 0)[~empty].all()
    assert (tokens.grad[empty] == 0).all()
    idle = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


def test_only_what_was_trained_before_lies_below_tower(backbone: Backbone) -> None:
    below = {name.startswith("tower.") for name, _ in backbone.named_parameters()}
    assert below == ({True, False} if backbone.pretrained else {False})
    new = [name for name, _ in backbone.named_parameters() if not name.startswith("tower.")]
    if backbone.pretrained:
        assert sorted({name.partition(".")[0] for name in new}) == ["into", "out"]


def test_it_learns_sequences_by_heart_with_a_rate_of_its_own_for_the_tower(backbone: Backbone) -> None:
    schedule = Schedule(lr=3e-3, lr_pretrained=3e-4, weight_decay=0)
    optimizer = optimizer_of(backbone, schedule, ("tower.",))
    below = sum(parameter.numel() for name, parameter in backbone.named_parameters() if name.startswith("tower."))
    rates = {group["lr"]: sum(parameter.numel() for parameter in group["params"]) for group in optimizer.param_groups}
    assert rates.get(3e-4, 0) == below
    tokens, empty = sequences()
    goal, weights = torch.tensor([0.4, -0.4, 0.2]), torch.linspace(-1, 1, WIDTH)  # a normed token reaches 0.6
    losses = []
    for _ in range(150):
        losses.append(((backbone(tokens, empty)[:, 0] * weights).mean(-1) - goal).square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < 0.001 < 0.05 < losses[0].item()


def test_a_frozen_tower_keeps_its_weights_while_the_layers_around_it_learn(specs: dict[str, str]) -> None:
    backbone = build(specs["clip-text"], WIDTH, HEADS, LAYERS, 0.1)
    model = torch.nn.ModuleDict({"language": torch.nn.ModuleDict({"backbone": backbone})})  # as TimesCLIP holds it
    Freeze(("tower",)).apply(model, epoch=1)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = optimizer_of(backbone, Schedule(), ("tower.",))
    tokens, empty = sequences()
    backbone(tokens, empty)[:, 0, 0].sum().backward()
    optimizer.step()
    changed = {name.partition(".")[0] for name, value in backbone.state_dict().items() if not value.equal(before[name])}
    assert changed == {"into", "out"}


def test_gradients_are_those_of_the_function(specs: dict[str, str]) -> None:
    tokens, empty = (x[:2, :4] for x in sequences())
    for spec in (specs["transformer"], specs["clip-text"]):
        backbone = build(spec, WIDTH, HEADS, 1, 0.0).double()
        function = lambda x, net=backbone: net(x, empty)[:, 0]  # noqa: E731
        assert torch.autograd.gradcheck(function, (tokens.double().requires_grad_(),), fast_mode=True)


# transformer


def test_transformer_gives_what_torch_gives_under_the_same_names() -> None:
    torch.manual_seed(4)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
    torch.manual_seed(4)
    ours = build("transformer", WIDTH, HEADS, LAYERS, 0.1)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    tokens, empty = sequences()
    for padding in (empty, None):
        found, expected = ours.eval()(tokens, padding), theirs.eval()(tokens, src_key_padding_mask=padding)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "quick_gelu"])
def test_transformer_gives_what_its_slow_twin_gives(activation: str) -> None:
    torch.manual_seed(6)
    net = Transformer(WIDTH, HEADS, LAYERS, feed_forward=24, activation=activation, norm_eps=1e-6).double().eval()
    for parameter in net.parameters():  # norms and biases start at one and zero, which would hide a mistake
        nn.init.normal_(parameter, std=0.3)
    tokens, empty = sequences()
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    with torch.no_grad():
        found = net(tokens.double(), empty).numpy()
    for row in range(len(tokens)):
        twin = reference_model.transformer(
            tokens[row].double().numpy(), empty[row].numpy(), state, HEADS, activation, 1e-6
        )
        np.testing.assert_allclose(found[row], twin, rtol=1e-9, atol=1e-9)


def test_our_own_backbone_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from model.backbones import build, rebuild; "
        "rebuild(build('transformer', 8, 2, 1, 0.1).architecture); "
        "print(sorted({'open_clip', 'transformers', 'timm', 'huggingface_hub', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
