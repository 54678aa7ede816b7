"""Resolve an encoder's name to its spec. Cheap: builds no tower, and the packaged encoder needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model.encoders import efficientnet, finetuned, hub, openclip
from model.encoders.spec import BY_PATH, EncoderError, EncoderSpec

NAMES = (
    "auto", "efficientnet-lite0", "open_clip:<arch>/<tag, file or folder>", "transformers:<folder or id>",
    "timm:<name>[/<file>]", "tuned:<run folder>", "random:efficientnet-lite0 (a control)",
)  # fmt: skip


def resolve(name: str) -> EncoderSpec:
    """The spec of the encoder called `name`. Finds (or downloads) and digests the weights, but does not load them.

    Raises EncoderError if the name is unknown or its weights are unavailable. Only `auto` substitutes another encoder.
    """
    try:
        return _resolve(name)
    except hub.NotFetched as error:
        raise EncoderError(
            f"{error} Or take --encoder efficientnet-lite0, which is installed with this project."
        ) from error


def _resolve(name: str) -> EncoderSpec:
    if BY_PATH in name:
        raise EncoderError(
            f"Encoder {name!r} is how a cache or run records weights that were given by path. Give their path on this "
            "machine in place of <path> in --encoder; equal weights have the same namespace."
        )
    if name == "auto":
        return _auto()
    if name == efficientnet.NAME:
        return efficientnet.resolve()
    if name == efficientnet.RANDOM:
        return efficientnet.resolve_random()
    if name.startswith("open_clip:"):
        return openclip.resolve(name)
    if name.startswith("transformers:"):
        from model.encoders import huggingface

        return huggingface.resolve(name)
    if name.startswith("timm:"):
        from model.encoders import timm_models

        return timm_models.resolve(name)
    if name.startswith(finetuned.PREFIX):
        return finetuned.resolve(name, _resolve)
    raise EncoderError(f"Encoder {name!r} is unknown. Known are: {'; '.join(NAMES)}.")


def is_by_path(name: str) -> bool:
    """Whether a name holds a path on this machine; a cache then records the encoder under another name."""
    kind, _, where = name.partition(":")
    if kind in ("open_clip", "timm"):
        where = where.partition("/")[2]
    return kind == "tuned" or bool(where and BY_PATH not in where and Path(where).expanduser().exists())


def _auto() -> EncoderSpec:
    """CLIP ViT-B/32 if it is in the local cache or on the hub, otherwise the packaged encoder, after 3 s at most."""
    repo, files = openclip.DEFAULT_REPO, openclip.HUB_FILES
    if hub.cached(repo, files):
        return _taken(openclip.resolve(openclip.DEFAULT), "its weights are on this machine")
    error = hub.obstacle(repo, files[0])
    if error is not None:
        why = f"CLIP ViT-B/32 is not on this machine and {hub.in_words(error)}"
        return _taken(efficientnet.resolve(), why)
    try:
        spec = openclip.resolve(openclip.DEFAULT)
    except EncoderError as failure:
        return _taken(efficientnet.resolve(), f"CLIP ViT-B/32 could not be downloaded ({failure.__cause__})")
    return _taken(spec, "its weights were downloaded from the hub")


def _taken(spec: EncoderSpec, why: str) -> EncoderSpec:
    return replace(spec, reason=f"{spec.name} was chosen, because {' '.join(why.split())}.")
