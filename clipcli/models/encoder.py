"""A model ready to encode: the only place where a name or a path becomes one."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from clipcli.errors import ModelError, UsageError
from clipcli.models import catalogue
from clipcli.models.checkpoint import checkpoint
from clipcli.models.default_model import AUTO, resolve_auto
from clipcli.models.locate import locate
from clipcli.models.spec import ModelSpec
from clipcli.models.tokenizer import clip_tokenizer, token_rows
from clipcli.network.clip import CLIP
from clipcli.network.efficientnet_lite import EfficientNetLite
from clipcli.network.vision_transformer import VisionTransformer
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Activation, Precision
from clipcli.runtime import int8_check
from clipcli.runtime.device_pool import Replica, Replicas
from clipcli.runtime.devices import (
    DTYPES,
    choose_device,
    choose_precision,
    compute_float32_exactly,
    dtype_of,
    replica_devices,
)
from clipcli.runtime.forward import (
    Tower,
    has_int8_products,
    image_tower,
    int8_image_tower,
    text_tower,
)
from clipcli.runtime.process import keep_freed_memory

__all__ = ["DTYPES", "Encoder", "choose_device", "choose_precision"]

N_TOKENS_AT_ONCE = 4096  # of all prompts in a batch: enough for any device, and bounds the memory
N_FOR_A_CORE = 16  # photographs at once; more are no faster
N_COMPILED_AT_ONCE = 256  # photographs, where finding out would mean compiling twice


class Encoder:
    """A model on its device, in its precision.

    `spec` says all there is to know of it. Of `model`, the architecture and what is not part of
    an encoder is for all to read; the encoders' weights may have been laid out anew elsewhere.
    """

    def __init__(
        self,
        spec: ModelSpec,
        model: CLIP,
        images: Replicas,
        make_text_tower: Callable[[], Tower],
    ) -> None:
        self.spec = spec
        self.model = model
        self._images = images
        self._make_text_tower = make_text_tower
        self._text_tower: Tower | None = None
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        name_or_path: str,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        activation: Activation | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        on_progress: Callable[[int, int | None], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        compile: bool = False,
        known: ModelSpec | None = None,
    ) -> Encoder:
        """A published model by name, downloaded if it is not on disk, or a checkpoint by path.

        `lite` is the embedded model, `auto` is ViT-B/32 where that can be had, else `lite`.
        A name wins over a file of that name; `./ViT-B/32` is a path. `on_progress` gets the
        bytes downloaded and the total, `on_note` a line of talk. `compile` has torch.compile
        work on the image encoder, which takes minutes. `known` is what an earlier opening of the
        same files with the same options came to: nothing is then hashed, compared or chosen.
        Raises ModelError where there is no such model, UsageError for a device that is not here
        and for options that do not go together.
        """
        note = on_note or _say_nothing
        on_device = choose_device(known.device if known else device)
        chosen = known.precision if known else choose_precision(precision, on_device, note)
        if compile and precision == "int8":
            raise UsageError("--precision int8 is not compiled; leave out --compile")
        if name_or_path == AUTO:
            root = catalogue.cache_root(cache_dir)
            name_or_path = resolve_auto(root, on_progress, on_note)
        path = locate(name_or_path, cache_dir, on_progress, on_note)
        model, preprocess = checkpoint.load(path, activation)
        fingerprint = known.fingerprint if known else model_fingerprint(model, preprocess)
        if on_device.type == "cpu":
            keep_freed_memory()  # after loading: weights that are laid out anew are handed back
        if on_device.type == "cuda" and chosen == "fp32":
            compute_float32_exactly()
        images, chosen = _open_images(
            model, preprocess, on_device, chosen, compile, note, is_known=known is not None
        )
        spec = ModelSpec(
            name=name_or_path,
            path=str(path.absolute()),
            activation=activation,
            fingerprint=fingerprint,
            preprocess=preprocess,
            embed_dim=model.config.embed_dim,
            context_length=model.config.text.context_length,
            logit_scale=float(model.logit_scale.exp()),
            judges_words=model.evidence is not None,
            device=str(on_device),
            precision=chosen,
        )
        return cls(
            spec,
            model,
            images,
            lambda: text_tower(model, dtype_of(chosen), replica_devices(on_device)[0]),
        )

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
        """What cosines are multiplied with before the softmax."""
        return self.spec.logit_scale

    @cached_property
    def default_batch_size(self) -> int:
        """Photographs for one call of `encode_pixels` where the user does not say.

        On CUDA, found by a try. On a CPU more at once is no faster, and comes later.
        """
        replicas = self._images.replicas
        if self.device.type == "cpu" and not replicas[0].one_size:
            return min(N_FOR_A_CORE * len(replicas), 256)
        if self.device.type == "cuda" and not replicas[0].one_size:
            sizes = [replica.fitting_batch_size(self.preprocess.px) for replica in replicas]
            return len(sizes) * min(sizes)
        return len(replicas) * N_COMPILED_AT_ONCE

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Photographs uint8 [n, px, px, 3] -> unit float32 [n, d].

        Several threads may call it; on CUDA, one then copies while another computes. A batch that
        memory is too small for is cut in halves, and so are all later ones.
        """
        if not len(pixels):
            return np.empty((0, self.embed_dim), dtype=np.float32)
        return self._images.encode(pixels)

    def encode_texts(self, texts: Sequence[str], truncate: bool = False) -> NDArray[np.float32]:
        """Texts -> unit float32 [n, d]. Texts of the same tokens get exactly the same embedding.

        Raises TextTooLongError unless `truncate`, and ModelError for a model whose vocabulary
        is not CLIP's.
        """
        text_config = self.model.config.text
        if text_config.vocab_size != clip_tokenizer().n_tokens:
            raise ModelError(
                f"{self.name}: a vocabulary of {text_config.vocab_size:,} tokens; expected CLIP's"
                f" {clip_tokenizer().n_tokens:,}; only its image embeddings can be used here"
            )
        if not texts:
            return np.empty((0, self.embed_dim), dtype=np.float32)
        rows = [tuple(row) for row in token_rows(texts, text_config.context_length, truncate)]
        # by length: what stands behind the end mark has no say, and is not computed
        distinct = sorted(set(rows), key=lambda row: (len(row), row))
        with self._lock:
            if self._text_tower is None:
                self._text_tower = self._make_text_tower()
        device = replica_devices(self.device)[0]
        with torch.inference_mode():
            embeddings = [
                self._text_tower(torch.from_numpy(batch).to(device)).cpu().numpy()
                for batch in _token_batches(distinct)
            ]
        place = {row: index for index, row in enumerate(distinct)}
        return np.concatenate(embeddings)[[place[row] for row in rows]]

    def lacks_evidence(self, words: Sequence[str], prompts: Sequence[str]) -> list[bool]:
        """For each word and the prompt it stands in, whether it names nothing this model learned.

        Only the embedded model can tell; for others nothing is in doubt.
        """
        evidence, visual = self.model.evidence, self.model.visual
        if evidence is None or not isinstance(visual, EfficientNetLite):
            return [False] * len(words)
        embeddings = torch.from_numpy(self.encode_texts(prompts, truncate=True))
        with torch.inference_mode():
            classes = visual.class_embedding.cpu()
            known: list[bool] = evidence(list(words), embeddings, classes).tolist()
        return [not one for one in known]


def _open_images(
    model: CLIP,
    preprocess: PreprocessConfig,
    device: torch.device,
    precision: Precision,
    compiled: bool,
    note: Callable[[str], None],
    is_known: bool,
) -> tuple[Replicas, Precision]:
    """The image encoder on its devices, and the precision that it came to."""
    visual = model.visual
    if precision == "int8":
        tower = _int8_tower(visual, preprocess, device, note, is_known)
        if tower is not None:
            visual.to("meta")  # its weights live on in the tower
            return Replicas.of_cores(tower, torch.get_num_threads()), "int8"
        precision = choose_precision("auto", device)
    devices = replica_devices(device)
    dtype = dtype_of(precision)
    if device.type == "cpu" and not compiled:
        tower = image_tower(visual, preprocess, dtype, device)
        return Replicas.of_cores(tower, torch.get_num_threads()), precision
    parts = [visual, *(copy.deepcopy(visual) for _ in devices[1:])]
    replicas = [
        Replica(image_tower(part, preprocess, dtype, one, compiled=compiled), one, compiled)
        for part, one in zip(parts, devices, strict=True)
    ]
    return Replicas(replicas), precision


def _int8_tower(
    visual: torch.nn.Module,
    preprocess: PreprocessConfig,
    device: torch.device,
    note: Callable[[str], None],
    is_known: bool,
) -> Tower | None:
    """The image encoder in int8, or None and a note why not."""
    if not isinstance(visual, VisionTransformer):
        note("int8 is for vision transformers, and this model is none: --precision auto instead")
        return None
    if not has_int8_products():
        note("this PyTorch has no int8 products: --precision auto instead")
        return None
    tower = int8_image_tower(visual, preprocess, dtype_of("int8"))
    if not is_known:
        exact = image_tower(visual, preprocess, torch.float32, device)
        cosine = int8_check.lowest_cosine(exact, tower, preprocess.px)
        if not cosine >= int8_check.LEAST_COSINE:  # not a number, too
            note(
                f"int8 changes this model's embeddings too much (a cosine of {cosine:.3f} to"
                f" float32, {int8_check.LEAST_COSINE} is the least): --precision auto instead"
            )
            return None
    return tower


def model_fingerprint(model: CLIP, preprocess: PreprocessConfig) -> str:
    """SHA-256 of a float32 model's tensors by name, its architecture and its preprocessing."""
    tensors = {
        name: tensor
        for name, tensor in sorted(model.state_dict().items())
        if not name.endswith("num_batches_tracked")  # counts training steps, changes no answer
    }
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        digests = list(pool.map(_tensor_digest, tensors.values()))
    described = {
        "tensors": dict(zip(tensors, digests, strict=True)),
        "config": asdict(model.config),
        "preprocess": asdict(preprocess),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _tensor_digest(tensor: torch.Tensor) -> str:
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    number = "<f4" if tensor.is_floating_point() else "<i8"
    digest.update(np.ascontiguousarray(tensor.numpy(), dtype=number).reshape(-1).data)
    return digest.hexdigest()


def _token_batches(rows: Sequence[tuple[int, ...]]) -> Iterator[NDArray[np.int64]]:
    """Rows sorted by length -> int64 [n, length of the longest among them], zeros behind."""
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


def _say_nothing(line: str) -> None:
    pass
