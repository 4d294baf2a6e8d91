"""A model ready to encode: the only place where a name or a path becomes one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from clipcli.errors import ModelError, UsageError
from clipcli.models.checkpoint import checkpoint
from clipcli.models.model import Model
from clipcli.models.on_disk.fetch import OnProgress
from clipcli.models.on_disk.locate import locate
from clipcli.models.request import ModelOptions, ModelRequest
from clipcli.models.spec import N_COMPILED_AT_ONCE, ModelSpec
from clipcli.models.text_tokens import open_tokenizer
from clipcli.models.tokenizer import shortened
from clipcli.models.unit_length import check_unit_length
from clipcli.photos.budget import hand_back_freed_memory
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Precision
from clipcli.runtime.device_pool import DevicePool
from clipcli.runtime.devices import (
    choose_device,
    choose_precision,
    devices_of,
    dtype_of,
)
from clipcli.runtime.forward import Forward, text_forward
from clipcli.runtime.image_encoder import open_image_encoder
from clipcli.runtime.process import compute_float32_exactly, keep_freed_memory

N_TOKENS_AT_ONCE = 4096  # in a batch of prompts: enough for any device, in little memory


class Encoder:
    """A model on its device, in its precision.

    `spec` is all that is known of it. Of `model`, read the architecture but not the encoders'
    weights, which may have been moved and laid out in another way.
    """

    def __init__(self, spec: ModelSpec, model: Model, images: DevicePool) -> None:
        self.spec = spec
        self.model = model
        self._images = images
        self._text_forward: Forward | None = None
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        model: str | ModelRequest,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[ModelOptions],
    ) -> Encoder:
        """A model by name or path, with the options of a `ModelRequest`; downloaded if need be.

        on_progress: gets the bytes downloaded and the total. Raises ModelError where there is no
        such model, UsageError for a device that is not here and for options that do not go
        together.
        """
        request = ModelRequest.of(model, options)
        device = choose_device(request.device)
        precision = choose_precision(request.precision, device)
        if request.compile and precision == "int8":
            raise UsageError("--precision int8 is not compiled; leave out --compile")
        request = request.resolved(on_progress)
        path = locate(request.name_or_path, request.cache_dir, on_progress)
        opened = checkpoint.load(path, request.activation, as_stored=True)
        config = opened.network.config
        spec = ModelSpec(
            name=request.name_or_path,
            path=str(path.absolute()),
            activation=request.activation,
            fingerprint=opened.fingerprint(),
            preprocess=opened.preprocess,
            tokenizer=opened.tokenizer,
            score=opened.score,
            embed_dim=config.embed_dim,
            context_length=config.text.context_length,
            judges_words=opened.network.evidence is not None,
            device=str(device),
            precision=precision,
            compiled=request.compile,
            vocab_size=config.text.vocab_size,
        )
        return cls._on_device(spec, opened, is_tried=False)

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Encoder:
        """The same model again, also in another process: nothing is hashed, tried or chosen.

        Raises ModelError where its checkpoint is gone, UsageError where its device is.
        """
        return cls._on_device(
            spec, checkpoint.load(Path(spec.path), spec.activation, as_stored=True), is_tried=True
        )

    @classmethod
    def _on_device(cls, spec: ModelSpec, model: Model, is_tried: bool) -> Encoder:
        device = choose_device(spec.device)
        if device.type == "cpu":
            hand_back_freed_memory()  # what was converted to be checked and hashed
        if device.type == "cuda" and spec.precision == "fp32":
            compute_float32_exactly()
        images, precision = open_image_encoder(
            model.network.visual,
            spec.preprocess,
            device,
            spec.precision,
            compiled=spec.compiled,
            is_tried=is_tried,
        )
        if device.type == "cpu":
            keep_freed_memory()  # after loading, whose own memory is handed back
        return cls(replace(spec, precision=precision), model, images)

    @property
    def name(self) -> str:
        """What the user called the model."""
        return self.spec.name

    @property
    def preprocess(self) -> PreprocessConfig:
        """What the model was trained to see."""
        return self.spec.preprocess

    @property
    def fingerprint(self) -> str:
        """SHA-256 of tensors, architecture and preprocessing, whatever file they came from."""
        return self.spec.fingerprint

    @property
    def precision(self) -> Precision:
        """What the images are encoded in."""
        return self.spec.precision

    @property
    def device(self) -> torch.device:
        """`cuda` without a number stands for all GPUs."""
        return torch.device(self.spec.device)

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return self.spec.embed_dim

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with before the softmax or sigmoid."""
        return self.spec.score.scale

    @cached_property
    def default_batch_size(self) -> int:
        """Photographs for one call of `encode_pixels` where the user does not say.

        On CUDA, as many as a trial finds room for. On a CPU more would be no faster.
        """
        encoders = self._images.encoders
        known = self.spec.batch_size(len(encoders))
        if known is not None:
            return known
        if self.spec.compiled:
            return len(encoders) * N_COMPILED_AT_ONCE
        sizes = [one.fitting_batch_size(self.preprocess.px) for one in encoders]
        return len(sizes) * min(sizes)

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Photographs uint8 [n, px, px, 3] -> unit float32 [n, d].

        Several threads may call it; on CUDA, one then copies while another computes. Where memory
        is too small for a batch, this and all later ones are cut in halves. Raises
        NoEmbeddingError, which has the others' embeddings, for photographs to which the model
        gives numbers that are not finite, or no length.
        """
        if not len(pixels):
            return np.empty((0, self.embed_dim), dtype=np.float32)
        embeddings = self._images.encode(pixels)
        check_unit_length(
            embeddings, lambda row: f"{self.name}, photograph {row + 1}", self.precision
        )
        return embeddings

    def encode_texts(self, texts: Sequence[str], truncate: bool = False) -> NDArray[np.float32]:
        """Texts -> unit float32 [n, d]. Texts of the same tokens get exactly the same embedding.

        Raises TextTooLongError unless `truncate`, and ModelError for a model whose vocabulary
        is not CLIP's, or that gives a text no finite embedding.
        """
        tokenizer = open_tokenizer(self.spec.tokenizer, Path(self.spec.path))
        vocab_size = self.model.network.config.text.vocab_size
        if not tokenizer.suits(vocab_size):
            whose = "CLIP's" if self.spec.tokenizer == "clip" else "its tokenizer's"
            raise ModelError(
                f"{self.name}: a vocabulary of {vocab_size:,} tokens; expected {whose}"
                f" {tokenizer.n_tokens:,}; only its image embeddings can be used here"
            )
        if not texts:
            return np.empty((0, self.embed_dim), dtype=np.float32)
        rows = [tuple(row) for row in tokenizer.rows(texts, self.spec.context_length, truncate)]
        # by length: padding after the end token is not computed
        distinct = sorted(set(rows), key=lambda row: (len(row), row))
        with self._lock:
            device = devices_of(self.device)[0]
            if self._text_forward is None:
                dtype = dtype_of(self.precision)
                self._text_forward = text_forward(self.model.network, dtype, device)
        with torch.inference_mode():
            of_distinct = np.concatenate(
                [
                    self._text_forward(torch.from_numpy(batch).to(device)).cpu().numpy()
                    for batch in _token_batches(distinct)
                ]
            )
        place = {row: index for index, row in enumerate(distinct)}
        embeddings: NDArray[np.float32] = of_distinct[[place[row] for row in rows]]
        check_unit_length(
            embeddings, lambda row: f"{self.name}, text {shortened(texts[row])}", self.precision
        )
        return embeddings

    def lacks_evidence(self, words: Sequence[str], prompts: Sequence[str]) -> list[bool]:
        """For each word and the prompt it stands in, whether it is unknown to this model.

        Only the embedded model can tell; for others every word counts as known.
        """
        network = self.model.network
        if network.evidence is None:
            return [False] * len(words)
        embeddings = torch.from_numpy(self.encode_texts(prompts, truncate=True))
        with torch.inference_mode():
            known: list[bool] = network.knows_words(list(words), embeddings).tolist()
        return [not one for one in known]


def _token_batches(rows: Sequence[tuple[int, ...]]) -> Iterator[NDArray[np.int64]]:
    """Rows sorted by length -> int64 [n, length of the longest of the n], filled up with zeros."""
    start = 0
    while start < len(rows):
        stop = start + 1
        while stop < len(rows) and (stop + 1 - start) * len(rows[stop]) <= N_TOKENS_AT_ONCE:
            stop += 1
        tokens = np.zeros((stop - start, len(rows[stop - 1])), dtype=np.int64)
        for index, row in enumerate(rows[start:stop]):
            tokens[index, : len(row)] = row
        yield tokens
        start = stop
