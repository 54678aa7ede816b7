"""A picture tower that learns in stage 1: what moves, what stays, and the encoder that it becomes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import predict
import render_cache
import train
from cache.store import Store
from model.completion_task import CompletionTask, SeasonRows
from model.config import TimesCLIPConfig
from model.encoders import EncoderError, TunedOn, finetuned, load, resolve
from model.encoders.encoder_module import tower as tower_of
from model.encoders.trainable import Tower, blocks_of
from model.season_tensors import SeasonTensors
from model.timesclip import TimesCLIP
from model.training.distributed import ALONE
from model.training.optim import Schedule
from model.training.task import Draw
from model.training.trainer import Trainer
from model.vision_finetuning import VisionTask, VisionTimesCLIP
from pipeline.program import Terminated
from report.run import RunFolder
from tests.conftest import CARD, ROOT, small_seasons
from tests.tasks import season

pytestmark = pytest.mark.slow

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1},
}
RGB = torch.tensor([[31, 119, 180], [214, 39, 40], [44, 160, 44]], dtype=torch.uint8)


def write_clip(folder, seed=0):
    """A tiny random CLIP as open_clip reads it from a folder; returns the encoder's name."""
    import open_clip

    folder.mkdir()
    torch.manual_seed(seed)
    save_file(open_clip.CLIP(**TINY_CLIP).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": {}}))
    return f"open_clip:tiny/{folder}"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny")


def run(main, *given):
    return main(list(map(str, given)))


@pytest.fixture(scope="module")
def chain(tmp_path_factory, clip):
    """render, stage 1 with a tower that learns, render with the tuned tower, stage 2, predict, on the small table."""
    folder = tmp_path_factory.mktemp("tuned")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    data = ["--data", folder / "card.toml", "--cache", folder / "cache", "--style.size", 64]
    assert run(render_cache.main, *data, "--encoder", clip) == 0
    one = [*data, "--encoder", clip, "--stage", 1, "--epochs", 3, "--lr-pretrained", 1e-2, "--out", folder / "one"]
    assert run(train.main, *one, "--finetune-vision", 1) == 0
    assert run(render_cache.main, *data, "--encoder", f"tuned:{folder / 'one'}") == 0
    two = [*data, "--stage", 2, "--epochs", 3, "--from", folder / "one", "--out", folder / "two"]
    assert run(train.main, *two) == 0
    return folder, data


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


# The whole chain


def test_the_tuned_tower_is_an_encoder_of_its_own(chain, clip):
    folder, _ = chain
    moved = load_file(folder / "one" / "tower" / "moved.safetensors")
    assert moved
    assert all(name.startswith("transformer.resblocks.2.") for name in moved)
    base, spec = resolve(clip), resolve(f"tuned:{folder / 'one'}")
    assert spec.weights_digest != base.weights_digest
    assert spec.label == "tuned:<path> of open_clip:tiny/<path>"
    assert str(folder) not in json.dumps(spec.to_dict())
    stores = {store.spec.id: store for store in Store.open_all(folder / "cache", "embeddings")}
    results = {name: RunFolder.open(folder / name).read_json("result.json") for name in ("one", "two")}
    assert results["one"]["encoder"] == results["two"]["encoder"] == spec.label
    assert results["one"]["cache_spec"] == results["two"]["cache_spec"]
    mine = stores.pop(results["one"]["cache_spec"])
    (others,) = stores.values()
    keys = mine.slabs()[0].keys
    assert np.abs(mine.reader().read(keys).astype(float) - others.reader().read(keys)).max() > 1e-2


def test_stage_1_was_judged_by_the_vectors_that_the_tuned_tower_gives(chain):
    """The cached vectors of the tuned tower give the very completion that the run wrote down."""
    from pipeline.render import Style
    from pipeline.sources import read
    from pipeline.splits import make_folds
    from stages.completion_stage import load_model
    from stages.fold_data import Pictures, prepare

    folder, _ = chain
    table = read(str(folder / "card.toml"))
    (fold,) = make_folds(table.year, table.place, table.sample_id, "year", 0)
    pictures = Pictures.find(folder / "cache", Style(size=64), table, resolve(f"tuned:{folder / 'one'}"), "")
    season = prepare(table, fold, "halves", pictures).seasons[0]
    model = load_model(RunFolder.open(folder / "one"), fold.name)
    with torch.inference_mode():
        completed = model(*season.first.rows(torch.from_numpy(fold.test)).inputs()).completion
    scaler = prepare(table, fold, "halves", pictures).scales.scaler
    native = scaler.inverse(completed.numpy().astype(np.float64))
    written = pd.read_parquet(folder / "one" / "predictions.parquet")
    at = {name: i for i, name in enumerate(table.sample_id[fold.test])}
    rows = written["sample_id"].map(at).to_numpy()
    variates = written["variate"].map({name: v for v, name in enumerate(table.variate_names)}).to_numpy()
    found = native[rows, variates, written["step"].to_numpy() - table.cut]
    np.testing.assert_allclose(found, written["y_pred"], atol=5e-3)


def test_predict_forecasts_with_the_tower_that_the_run_keeps(chain, tmp_path):
    folder, _ = chain
    kept = tmp_path / "kept"
    shutil.copytree(folder / "two", kept)
    out = tmp_path / "forecast.csv"
    given = ["--run", kept, "--data", folder / "card.toml", "--cache", tmp_path / "cache", "--out", out]
    assert run(predict.main, *given) == 0
    forecast = pd.read_csv(out).set_index("sample_id")["y_pred"]
    test = pd.read_parquet(kept / "predictions.parquet").query("split == 'test'").set_index("sample_id")["y_pred"]
    np.testing.assert_allclose(forecast[test.index], test, atol=2e-3)


def test_stage_3_and_an_export_go_on_with_the_tuned_tower(chain, tmp_path):
    from model.export.__main__ import main as export_main

    folder, data = chain
    given = [*data, "--stage", 3, "--epochs", 1, "--from", folder / "two", "--out", tmp_path / "three"]
    assert run(train.main, *given) == 0
    assert run(export_main, "--run", tmp_path / "three", "--out", tmp_path / "mine", "--no-onnx") == 0
    assert resolve(f"tuned:{tmp_path / 'mine'}") == replace(
        resolve(f"tuned:{folder / 'one'}"), name=f"tuned:{tmp_path / 'mine'}"
    )


def test_without_the_tuned_vectors_stage_2_names_the_command_that_makes_them(
    chain, clip, tmp_path, capsys, monkeypatch
):
    folder, data = chain
    cache = tmp_path / "cache"
    data = [*data[:3], cache, *data[4:]]
    assert run(render_cache.main, *data, "--encoder", clip) == 0
    capsys.readouterr()
    assert run(train.main, *data, "--stage", 2, "--from", folder / "one", "--out", tmp_path / "two") == 2
    said = capsys.readouterr().err
    assert f"holds no embeddings of tuned:{folder / 'one'}" in said
    assert f"python render_cache.py --data {folder / 'card.toml'}" in said
    assert f"--encoder tuned:{folder / 'one'}" in said
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "one", tmp_path / "runs" / "one")
    assert run(train.main, *data, "--stage", 2) == 2
    assert "runs/one, which fine-tuned its own tower, fits: --from runs/one" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_a_tuned_tower_tests_no_rows_that_it_has_learnt_from(chain, capsys):
    folder, data = chain
    given = [*data, "--stage", 1, "--encoder", f"tuned:{folder / 'one'}", "--split", "leave-year-out"]
    assert run(train.main, *given, "--folds", "2018") == 2
    said = capsys.readouterr().err
    assert "was fine-tuned on the training rows of fold 2022 of split year" in said
    assert "--split year --folds 2022" in said


def test_a_tower_can_be_tuned_again_and_remembers_both(chain, tmp_path):
    folder, data = chain
    given = [*data, "--stage", 1, "--epochs", 1, "--encoder", f"tuned:{folder / 'one'}", "--lr-pretrained", 1e-2]
    assert run(train.main, *given, "--finetune-vision", 2, "--out", tmp_path / "again") == 0
    spec = resolve(f"tuned:{tmp_path / 'again'}")
    assert (len(spec.tuned_on), spec.base.name[:9]) == (2, "open_clip")
    loaded = Tower(spec, RGB, 1)
    assert set(loaded.moved(spec.base)) == set(load_file(tmp_path / "again" / "tower" / "moved.safetensors"))


def test_a_stopped_run_goes_on_to_the_same_bytes(chain, clip, tmp_path, monkeypatch):
    _, data = chain
    given = [*data, "--stage", 1, "--encoder", clip, "--epochs", 4, "--finetune-vision", "all", "--lr-pretrained", 1e-3,
             "--checkpoint-seconds", 1e-9]  # fmt: skip
    assert run(train.main, *given, "--out", tmp_path / "whole") == 0
    from stages.epoch_log import EpochLog

    told = EpochLog.on_epoch

    def stop(self, phase, epoch):
        told(self, phase, epoch)
        if epoch.epoch == 3:
            raise Terminated  # as its handler of SIGTERM does (tests/test_resume.py sends a real one)

    monkeypatch.setattr(EpochLog, "on_epoch", stop)
    assert run(train.main, *given, "--out", tmp_path / "stopped") == 143
    monkeypatch.undo()
    assert run(train.main, "--resume", tmp_path / "stopped") == 0
    for name in ("model.safetensors", "tower/moved.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_two_processes_tune_the_tower_as_one_does(chain, clip, tmp_path):
    data = chain[1]
    given = [*data, "--stage", 1, "--encoder", clip, "--epochs", 2, "--finetune-vision", 1, "--dropout", 0,
             "--batch-size", 25]  # fmt: skip
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    command = [*launcher, *map(str, given), "--out", str(tmp_path / "both")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert run(train.main, *given, "--out", tmp_path / "alone") == 0
    both, alone = (RunFolder.open(tmp_path / name) for name in ("both", "alone"))
    for one, other in zip(both.metrics(), alone.metrics(), strict=True):
        assert one["train"] == pytest.approx(other["train"], rel=1e-4)
        assert one["valid"] == pytest.approx(other["valid"], rel=1e-4)
    assert (both.path / "tower" / "moved.safetensors").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stage", 1, "--finetune-vision", 0], "must be a number of blocks, at least 1"),
        (["--stage", 1, "--finetune-vision", "some"], "must be a number of blocks, at least 1"),
        (["--stage", 2, "--finetune-vision", 1], "is for stage 1, but this is stage 2"),
        (["--stage", 1, "--finetune-vision", 1, "--preset", "language-only"], "reads no pictures"),
        (["--stage", 1, "--finetune-vision", 1, "--split", "forward"], "Choose one, as in --folds 2022"),
        (["--stage", 1, "--finetune-vision", 1, "--control", "noise"], "Leave one of the two out"),
        (["--stage", 1, "--finetune-vision", 9], "has 3 blocks"),
        (["--stage", 1, "--finetune-vision", 1, "--encoder", "tuned:/nowhere"], "holds no tuned tower"),
    ],
)
def test_what_cannot_be_tuned_is_refused_and_nothing_is_written(chain, clip, tmp_path, capsys, flags, message):
    given = [*chain[1], *([] if "--encoder" in flags else ["--encoder", clip]), *flags, "--out", tmp_path / "run"]
    assert run(train.main, *given) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_pictures_that_are_gone_are_named_with_the_command(chain, clip, tmp_path, capsys):
    folder, data = chain
    cache = tmp_path / "cache"
    shutil.copytree(folder / "cache", cache)
    shutil.rmtree(cache / "images")
    given = [*data[:3], cache, *data[4:], "--encoder", clip, "--stage", 1, "--finetune-vision", 1]
    assert run(train.main, *given, "--out", tmp_path / "run") == 2
    assert "168 of 168 plots are not in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_tuned_tower_without_the_weights_it_was_tuned_from_says_where_to_name_them(clip, tmp_path):
    where = tmp_path / "base"
    name = write_clip(where, seed=1)
    spec = resolve(name)
    net = tower_of(spec)
    changed = {"ln_post.bias": net.ln_post.bias.detach() + 1}
    finetuned.save(tmp_path, spec, changed, [TunedOn("x", "year", "2022", 0)])
    mine = resolve(f"tuned:{tmp_path}")
    rgb, ink = RGB.numpy(), np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    vectors = [load(one, "torch").encode(ink, rgb) for one in (mine, spec)]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1
    where.rename(tmp_path / "elsewhere")
    with pytest.raises(EncoderError, match=r'which is not available.*write their new path under "base"'):
        resolve(f"tuned:{tmp_path}")
    shutil.copytree(tmp_path / "elsewhere", where)
    write_clip(tmp_path / "other", seed=2)
    shutil.copy(tmp_path / "other" / "open_clip_model.safetensors", where)
    with pytest.raises(EncoderError, match=r"with weights .* that name now has the weights"):
        resolve(f"tuned:{tmp_path}")
    finetuned.save(tmp_path, spec, {"no.such": torch.zeros(1)}, [])
    shutil.rmtree(where)
    (tmp_path / "elsewhere").rename(where)
    with pytest.raises(EncoderError, match=r"the tower has no no.such"):
        load(resolve(f"tuned:{tmp_path}"), "torch")
