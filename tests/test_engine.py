"""The engine that runs an image tower: chosen openly, and the same vectors whichever it is."""

import importlib.util

import numpy as np
import pytest
import torch

from model.encoders import EncoderError, choose, load, resolve
from model.encoders.encoder import CPU_BATCH
from model.encoders.engine import compiled
from tests.test_encoders import colours, sine_ink

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="OpenVINO is not installed (requirements-fast.txt)")


@needs_openvino
def test_both_engines_give_the_same_vectors_in_whole_and_partial_batches():
    spec = resolve("efficientnet-lite0")
    ink, rgb = sine_ink(CPU_BATCH + 3), colours(CPU_BATCH + 3)
    by_torch, by_openvino = (load(spec, engine).encode(ink, rgb) for engine in ("torch", "openvino"))
    np.testing.assert_allclose(by_openvino.astype(np.float32), by_torch.astype(np.float32), atol=1e-3, rtol=1e-3)
    assert np.abs(by_torch.astype(np.float32)).max() > 0.1


@needs_openvino
def test_a_tower_that_openvino_cannot_convert_is_an_error_that_names_the_way_out():
    class Odd(torch.nn.Module):
        def forward(self, images):
            return torch.linalg.eigvals(images[:, 0]).real

    with pytest.raises(EncoderError, match="--engine torch"):
        compiled(Odd().eval(), 8, 2)


def test_openvino_without_its_package_is_an_error_and_auto_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("model.encoders.engine.importlib.util.find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"requirements-fast\.txt"):
        choose("openvino")
    engine, _, why = choose("auto")
    assert engine == "torch"
    assert torch.cuda.is_available() or "requirements-fast.txt" in why


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert choose("auto") == ("torch", "cuda", "torch on a GPU")
