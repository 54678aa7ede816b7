"""Names of encoders: which one auto chooses, with a model hub and without, and names that lead nowhere."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from model.encoders import EncoderError, resolve
from model.encoders.openclip import DEFAULT, DEFAULT_REPO, HUB_FILES

pytestmark = pytest.mark.slow


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty local hub cache, and a fresh client, so that proxies are read anew."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()
    yield tmp_path
    huggingface_hub.close_session()


# Names that cannot be resolved


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:mine/<path>", "given by path"),
        ("resnet50", "is unknown. Known are: auto"),
        ("open_clip:ViT-B-32", "is incomplete"),
        ("open_clip:ViT-B-33/openai", "knows no architecture 'ViT-B-33'"),
        ("open_clip:ViT-B-32/laion9b", "laion2b_s34b_b79k"),
        ("transformers:", "is incomplete"),
        ("transformers:/nowhere/at/all", "there is no folder"),
        ("timm:no_such_model", "timm knows no model"),
        ("timm:tf_efficientnet_lite0/nowhere.pth", "there is no weight file nowhere.pth"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_write_instead(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message.replace("(", r"\(")):
        resolve(name)


@pytest.mark.parametrize("name", [DEFAULT, "transformers:openai/clip-vit-base-patch32", "timm:resnet18.a1_in1k"])
def test_a_named_encoder_without_its_weights_is_an_error_never_another_encoder(
    name: str, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match=r"HF_HUB_OFFLINE is set.*efficientnet-lite0"):
        resolve(name)


# auto


class Hub(BaseHTTPRequestHandler):
    """A hub on loopback that offers one weight file, or answers a chosen status."""

    status = 200
    asked: list[str]
    body = b"weights of a picture encoder"

    def do_HEAD(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        status = self.status if self.path.endswith(HUB_FILES[0]) else 404
        self.send_response(status)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", str(len(self.body) if status == 200 else 0))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.status == 200:
            self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Stays quiet."""


@pytest.fixture
def hub(empty_hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    handler = type("FreshHub", (Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_to(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
    server.server_close()


def point_to(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_auto_takes_the_packaged_encoder_in_3_s_when_the_hub_never_answers(
    empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as blackhole:  # accepts, never answers
        point_to(monkeypatch, f"http://127.0.0.1:{blackhole.getsockname()[1]}")
        began = time.monotonic()
        spec = resolve("auto")
        seconds = time.monotonic() - began
    assert seconds < 4  # the requirement is 3 s; one more for a busy machine
    assert spec == resolve("efficientnet-lite0")
    assert spec.reason.startswith("efficientnet-lite0 was chosen, because CLIP ViT-B/32 is not on this machine and ")
    assert "127.0.0.1" in spec.reason
    assert "\n" not in spec.reason


def test_auto_does_not_wait_for_a_name_look_up_that_hangs(empty_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(30)
        raise OSError("name look-up failed")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", hang)
    began = time.monotonic()
    spec = resolve("auto")
    seconds = time.monotonic() - began
    released.set()
    assert seconds < 4
    assert "no answer within 2.5 s" in spec.reason


def test_auto_downloads_clip_where_the_hub_can_be_reached(hub: type[Hub], empty_hub: Path) -> None:
    spec = resolve("auto")
    assert spec.name == DEFAULT
    assert "downloaded from the hub" in spec.reason
    assert Path(spec.location).read_bytes() == Hub.body
    assert any(line.startswith("GET") for line in hub.asked)


def test_auto_takes_clip_from_the_local_cache_without_asking_the_hub(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve("auto")
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = resolve("auto")
    assert again == first
    assert "its weights are on this machine" in again.reason
    assert hub.asked == []


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, "does not permit the download."), (404, "does not have it."), (503, "answered with status 503.")],
)
def test_auto_takes_the_packaged_encoder_where_the_hub_refuses(hub: type[Hub], status: int, says: str) -> None:
    hub.status = status
    spec = resolve("auto")
    assert spec.name == "efficientnet-lite0"
    assert spec.reason.endswith(says)
    assert "Error" not in spec.reason


def test_the_hub_is_asked_through_the_proxy_of_the_environment(
    hub: type[Hub], empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", constants.ENDPOINT)
    monkeypatch.delenv("NO_PROXY", raising=False)
    point_to(monkeypatch, "http://hub.invalid")
    huggingface_hub.close_session()
    assert resolve("auto").name == DEFAULT
    assert hub.asked[0] == f"HEAD http://hub.invalid/{DEFAULT_REPO}/resolve/main/{HUB_FILES[0]}"
