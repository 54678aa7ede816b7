"""A picture tower that learns in stage 1: what moves, what stays, at which rate and with which gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model.completion_task import CompletionTask, SeasonRows
from model.config import TimesCLIPConfig
from model.encoders import EncoderError, resolve
from model.encoders.encoder_module import tower as tower_of
from model.encoders.trainable import Tower, blocks_of
from model.season_tensors import SeasonTensors
from model.timesclip import TimesCLIP
from model.training.distributed import ALONE
from model.training.optim import Schedule
from model.training.task import Draw
from model.training.trainer import Trainer
from model.vision_finetuning import VisionTask, VisionTimesCLIP
from tests.tasks import season
from tests.tiny_picture_tower import RGB, write_clip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny")


def seeing(name, blocks, seasons=None, **parts):
    """VisionTask on random seasons and random ink [views,24,3,32,32]."""
    seasons = seasons or [season()]
    torch.manual_seed(0)
    model = TimesCLIP(TimesCLIPConfig(variates=3, window=12, horizon=12, vision_dim=16, width=16, dropout=0.0, **parts))
    rng = np.random.default_rng(0)
    drawn = torch.from_numpy(rng.integers(0, 256, (len(seasons), 24, 3, 32, 32)).astype(np.uint8))
    tower = Tower(resolve(name), RGB, blocks)
    with torch.no_grad():
        model.fit_features([tower(drawn[0])])

    def ink(rows, views):
        return drawn[0 if views is None else views, rows]

    module = VisionTimesCLIP(model, tower)
    rows = SeasonRows(seasons, torch.arange(18))
    return VisionTask(module, rows, torch.arange(18, 24), 8, ink)


def moved_names(task, schedule, **trainer):
    before = {name: tensor.clone() for name, tensor in task.module.state_dict().items()}
    Trainer(schedule, **trainer).refit(task, "a/refit", 2)
    after = task.module.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


SCHEDULE = Schedule(epochs=2, batch_size=8, patience=9, lr=1e-3, lr_pretrained=1e-3)


def test_only_the_last_blocks_move_and_the_others_keep_every_bit(clip):
    names = moved_names(seeing(clip, 2), SCHEDULE)
    tower = {name.removeprefix("tower.sight.tower.") for name in names if name.startswith("tower.")}
    assert {int(name.split(".")[2]) for name in tower} == {1, 2}
    assert "transformer.resblocks.2.mlp.c_fc.weight" in tower
    assert all(name.startswith(("transformer.resblocks.1.", "transformer.resblocks.2.")) for name in tower)
    assert any(name.startswith("encoder.") for name in names)


def test_all_of_the_tower_moves_where_all_is_asked_for(clip):
    task = seeing(clip, None)
    names = moved_names(task, SCHEDULE)
    parameters = {f"tower.{name}" for name, _ in task.module.tower.named_parameters()}
    assert parameters - names <= {f"tower.sight.tower.transformer.resblocks.{n}.attn.in_proj_bias" for n in range(3)}


def test_the_tower_learns_at_the_rate_of_what_was_trained_before(clip):
    """AdamW's first step is as long as its rate, whatever the gradient."""
    task = seeing(clip, 1)
    before = {name: tensor.clone() for name, tensor in task.module.state_dict().items()}
    schedule = replace(SCHEDULE, batch_size=18, lr=1e-2, lr_pretrained=1e-5, weight_decay=1e-9, warmup=1e-9)
    Trainer(schedule).refit(task, "a/refit", 1)
    after = task.module.state_dict()
    steps = {part: max(float((after[n] - before[n]).abs().max()) for n in before if n.startswith(part))
             for part in ("tower.sight.tower.transformer.resblocks.2", "encoder.vision.project")}  # fmt: skip
    assert steps["encoder.vision.project"] / steps["tower.sight.tower.transformer.resblocks.2"] == pytest.approx(
        1e3, rel=0.2
    )


def test_micro_batches_give_the_gradients_of_the_whole_batch(clip):
    towers = []
    for accumulate in (1, 3):
        task = seeing(clip, 1)
        Trainer(replace(SCHEDULE, accumulate=accumulate)).refit(task, "a/refit", 1)
        towers.append(task.module.tower.state_dict())
    for name, tensor in towers[0].items():
        if "in_proj_bias" not in name:  # the key's bias has no gradient but rounding
            torch.testing.assert_close(tensor, towers[1][name], rtol=0, atol=2e-5)


def test_a_frozen_tower_computes_what_the_cached_path_computes(clip):
    """On the tower's own vectors CompletionTask and VisionTask are one: terms, gradients of the model, validation."""
    task = seeing(clip, 1)
    with torch.no_grad():
        vectors = task.module.tower(task.ink(torch.arange(24), None))
    own = task.train.seasons[0]
    cached = SeasonTensors(replace(own.first, embeddings=vectors), replace(own.second, embeddings=None))
    other = CompletionTask(task.module.encoder, SeasonRows([cached], torch.arange(18)), torch.arange(18, 24), 8)
    draw = Draw(torch.arange(8), 8)
    gradients = []
    for one in (task, other):
        one.module.zero_grad()
        batch = one.batch(draw)
        terms = one.loss(one.forward(batch), batch, 8, ALONE)
        terms["loss"].backward()
        encoder = task.module.encoder
        gradients.append([terms["loss"].detach(), encoder.vision.project[1].weight.grad.clone()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    with torch.inference_mode():
        assert task.validate(ALONE) == pytest.approx(other.validate(ALONE), rel=1e-5)


def test_views_and_mixed_seasons_are_seen_with_their_own_pictures(clip):
    task = seeing(clip, 1, [season(seed=0), season(seed=1)])
    rows, views = torch.tensor([3, 1, 2]), torch.tensor([1, 0, 1])
    partner, others = torch.tensor([2, 3, 1]), torch.tensor([0, 0, 1])
    batch = task.batch(Draw(rows, 3, views, partner, others, 0.4))
    outputs = task.forward(batch)
    tower = task.module.tower
    both = [torch.cat([tower(task.ink(r[None], v[None])) for r, v in zip(*pair, strict=True)])
            for pair in ((rows, views), (partner, others))]  # fmt: skip
    mixed = replace(batch.season.first, embeddings=0.4 * both[0] + 0.6 * both[1])
    torch.testing.assert_close(outputs["completion"], task.module.encoder(*mixed.inputs()).completion)


def test_the_training_loss_falls_further_where_the_tower_learns(clip):
    """Pictures of noise and seasons that have nothing to do with them: there is only learning by heart."""
    losses = []
    for rate in (1e-30, 3e-3):
        task = seeing(clip, 1, use_language=False, alignment="none")
        schedule = Schedule(epochs=20, batch_size=6, patience=99, lr=3e-3, lr_pretrained=rate)
        losses.append(Trainer(schedule).fit(task, "a/train").epochs[-1].train["completion"])
    assert losses[1] < 0.9 * losses[0], losses


def test_batch_norms_and_dropout_of_a_tower_stand_still_while_it_learns(tmp_path):
    import timm

    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=0)
    save_file(net.state_dict(), tmp_path / "resnet.safetensors")
    spec = resolve(f"timm:resnet10t/{tmp_path / 'resnet.safetensors'}")
    with pytest.raises(EncoderError, match=r"no blocks that can be counted.*--finetune-vision all"):
        Tower(spec, RGB[:1], 1)
    tower = Tower(spec, RGB[:1], None)
    buffers = {name: buffer.clone() for name, buffer in tower.named_buffers()}
    ink = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    tower.train()
    together = tower(ink)
    torch.testing.assert_close(together[:1], tower(ink[:1]), rtol=1e-4, atol=1e-5)
    together.sum().backward()
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in tower.named_buffers())
    assert tower.net.conv1[0].weight.grad.abs().sum() > 0


def test_every_kind_of_tower_tells_its_blocks(clip, tmp_path):
    import timm
    import transformers

    assert len(blocks_of(tower_of(resolve("efficientnet-lite0")))) == 16
    assert len(blocks_of(tower_of(resolve(clip)))) == 3
    for name, count in (("vit_tiny_patch16_224", 12), ("convnext_atto", 4), ("resnet10t", 0)):
        assert len(blocks_of(timm.create_model(name, num_classes=0))) == count
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
             "image_size": 32, "patch_size": 16}  # fmt: skip
    kinds = {
        "clip": transformers.CLIPModel(transformers.CLIPConfig(
            vision_config=small, projection_dim=16,
            text_config={**{k: v for k, v in small.items() if "size" not in k or "d" in k}, "vocab_size": 32})),
        "clip_vision": transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**small)),
        "vit": transformers.ViTModel(transformers.ViTConfig(**small), add_pooling_layer=False),
        "dinov2": transformers.Dinov2Model(transformers.Dinov2Config(**small)),
    }  # fmt: skip
    for kind, model in kinds.items():
        model.save_pretrained(tmp_path / kind)
        assert len(blocks_of(tower_of(resolve(f"transformers:{tmp_path / kind}")))) == 2, kind


def test_more_blocks_than_there_are_is_refused_with_their_number(clip):
    with pytest.raises(EncoderError, match=r"has 3 blocks. Give at most 3 or all"):
        Tower(resolve(clip), RGB, 4)
