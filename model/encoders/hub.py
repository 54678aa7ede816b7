"""Weights on the model hub: from the local cache first, then from the network, with a short time-out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from model.encoders.spec import EncoderError

# On a closed network the hub's client retries for 46 s. This probe takes 2.5 s at most. Socket time-outs do not cover
# the name look-up, so the probe runs in a daemon thread that is left behind.
PROBE_SECONDS = 2.5


class NotFetched(EncoderError):
    """The hub does not provide a file. The caller may know an alternative."""


def cached(repo: str, filenames: Sequence[str]) -> Path | None:
    """The first of `filenames` that the local hub cache (HF_HOME, HF_HUB_CACHE) holds, or None. No network."""
    from huggingface_hub import try_to_load_from_cache

    for filename in filenames:
        path = try_to_load_from_cache(repo, filename)
        if isinstance(path, str):
            return Path(path)
    return None


def obstacle(repo: str, filename: str) -> Exception | None:
    """None if the hub offers this file, otherwise the reason. Returns within PROBE_SECONDS and honours proxies."""
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        return ConnectionError("HF_HUB_OFFLINE is set")
    url = hf_hub_url(repo, filename, endpoint=constants.ENDPOINT)
    answer: list[Exception | None] = []

    def ask() -> None:
        try:
            get_hf_file_metadata(url, timeout=PROBE_SECONDS)
        except (HTTPError, InvalidURL, OSError) as error:
            answer.append(error)
        else:
            answer.append(None)

    thread = threading.Thread(target=ask, daemon=True, name="hub-probe")
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[0] if answer else TimeoutError(f"no answer within {PROBE_SECONDS:g} s")


def in_words(error: Exception) -> str:
    """One line with the hub's address and why it does not provide a file."""
    from httpx2 import InvalidURL
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    hub, status = constants.ENDPOINT, getattr(getattr(error, "response", None), "status_code", None)
    if constants.HF_HUB_OFFLINE:
        return "downloads are switched off (HF_HUB_OFFLINE)"
    if isinstance(error, InvalidURL):
        return f"{hub} is no valid address (HF_ENDPOINT)"
    if isinstance(error, EntryNotFoundError | RepositoryNotFoundError | FileNotFoundError) or status == 404:
        return f"{hub} does not have it"
    if status is not None:
        return f"{hub} does not permit the download" if status in (401, 403) else f"{hub} answered with status {status}"
    if isinstance(error, TimeoutError):
        return f"{hub} gave {error}"
    return f"{hub} cannot be reached from here"


def fetch(reader: str, repo: str, filenames: Sequence[str]) -> Path:
    """The first of `filenames` that is in the cache or, failing that, on the hub. Raises NotFetched.

    reader: what needs the file, for messages, as in "Encoder openclip".
    """
    from huggingface_hub.errors import EntryNotFoundError

    if path := cached(repo, filenames):
        return path
    for filename in filenames:
        error = obstacle(repo, filename)
        if error is None:
            return _download(reader, repo, filename)
        if not isinstance(error, EntryNotFoundError):
            break
    raise NotFetched(
        f"{reader} needs {' or '.join(filenames)} of {repo}: the local hub cache has no such file, and "
        f"{in_words(error or FileNotFoundError())}{_detail(error)}. Fetch it once on a machine that reaches the hub "
        "and copy the cache (HF_HOME), or give the weights by path."
    )


def _detail(error: Exception | None) -> str:
    """The words of the network's error in brackets, for a person who has to repair it."""
    text = "" if error is None else " ".join(str(error).split())
    return f" ({text})" if text else ""


def _download(reader: str, repo: str, filename: str) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, filename))
    except (HTTPError, OSError) as error:
        raise NotFetched(
            f"{reader}: the hub offers {repo}/{filename}, but the download failed "
            f"({' '.join(str(error).split())}). Run the command again (it resumes)."
        ) from error
