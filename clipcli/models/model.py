"""A model as it comes from a checkpoint: the network, and all that belongs to it."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from clipcli.models.checkpoint.finite import float32_pieces
from clipcli.models.hashed import hashed
from clipcli.models.score import Score
from clipcli.models.text_tokens import TokenizerKind
from clipcli.network.clip import CLIP
from clipcli.network.config import EfficientNetLiteConfig
from clipcli.photos.preprocess import PreprocessConfig


@dataclass(frozen=True)
class Model:
    """A network on the CPU, and what it was trained with. Its numbers are float32, or as they are
    stored.

    tokenizer: what `text_tokens.open_tokenizer` takes; preprocess: how a photograph becomes its
    square; score: how its cosines become probabilities; tokenizer_sha256: of a file of its own.
    """

    network: CLIP
    preprocess: PreprocessConfig
    tokenizer: TokenizerKind = "clip"
    tokenizer_sha256: str | None = None

    @property
    def score(self) -> Score:
        """What this network's cosines mean."""
        mixes_classes = isinstance(self.network.config.vision, EfficientNetLiteConfig)
        bias = self.network.logit_bias
        scale = float(self.network.logit_scale.exp())
        return Score(scale, mixes_classes, None if bias is None else float(bias))

    def fingerprint(self) -> str:
        """SHA-256 of tensors by name, architecture and preprocessing, whatever file they were in.

        Caches, probes and files of embeddings know the model by it, so it must never change. A
        field of `hashed.LATER` is hashed only where it differs from its default.
        """
        tensors = {
            name: tensor
            for name, tensor in sorted(self.network.state_dict().items())
            if not name.endswith("num_batches_tracked")  # counts training steps, changes no answer
        }
        with ThreadPoolExecutor() as pool:  # hashing lets other threads run
            digests = list(pool.map(_tensor_digest, tensors.values()))
        described: dict[str, object] = {
            "tensors": dict(zip(tensors, digests, strict=True)),
            "config": hashed(self.network.config),
            "preprocess": hashed(self.preprocess),
        }
        if self.tokenizer_sha256 is not None:
            described["tokenizer"] = self.tokenizer_sha256
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _tensor_digest(tensor: torch.Tensor) -> str:
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    if not tensor.is_floating_point():
        digest.update(np.ascontiguousarray(tensor.numpy(), dtype="<i8").reshape(-1).data)
        return digest.hexdigest()
    for piece in float32_pieces(tensor):
        digest.update(np.ascontiguousarray(piece, dtype="<f4").data)
    return digest.hexdigest()
