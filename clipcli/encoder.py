"""A model ready to encode: the only place where a name or a path becomes one."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from clipcli import checkpoint, hub
from clipcli.default_model import AUTO, resolve_auto
from clipcli.errors import ModelError, UsageError
from clipcli.locate import locate
from clipcli.model.clip import CLIP
from clipcli.model.efficientnet_lite import EfficientNetLite
from clipcli.preprocess import PreprocessConfig, normalise
from clipcli.records import Activation, Precision
from clipcli.spec import ModelSpec
from clipcli.tokenizer import clip_tokenizer, token_rows

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
N_PROMPTS_AT_ONCE = 256  # bounds the memory of a long list of labels


@dataclass(frozen=True)
class Encoder:
    """A model on its device, in its precision.

    `name` is what the user called it; `fingerprint` is the SHA-256 of its tensors,
    architecture and preprocessing, the same whatever file it came from.
    """

    name: str
    model: CLIP
    preprocess: PreprocessConfig
    fingerprint: str
    device: torch.device
    precision: Precision
    path: str = ""

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
        bytes downloaded and the total, `on_note` a line of talk.
        Raises ModelError where there is no such model, UsageError for a device that is not here.
        """
        on_device = choose_device(device)
        chosen = choose_precision(precision, on_device)
        if on_device.type == "cpu":
            _keep_freed_memory()
        if name_or_path == AUTO:
            root = hub.cache_root(cache_dir)
            name_or_path = resolve_auto(root, on_progress, on_note)
        path = locate(name_or_path, cache_dir, on_progress, on_note)
        model, preprocess = checkpoint.load(path, activation)
        fingerprint = model_fingerprint(model, preprocess)
        model = model.to_precision(DTYPES[chosen]).to(on_device)
        return cls(name_or_path, model, preprocess, fingerprint, on_device, chosen)

    @property
    def spec(self) -> ModelSpec:
        """What there is to know without the model."""
        text = self.model.config.text
        return ModelSpec(
            self.name,
            str(self.path),
            None,
            self.fingerprint,
            self.preprocess,
            self.embed_dim,
            text.context_length,
            self.logit_scale,
            self.model.evidence is not None,
            str(self.device),
            self.precision,
        )

    @property
    def default_batch_size(self) -> int:
        """Photographs in one forward pass where the user does not say."""
        return 16 if self.device.type == "cpu" else 256

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return self.model.config.embed_dim

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with before the softmax."""
        return float(self.model.logit_scale.exp())

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Photographs uint8 [n, px, px, 3] -> unit float32 [n, d]."""
        with torch.inference_mode(), self._exact_float32():
            pictures = normalise(torch.from_numpy(pixels).to(self.device), self.preprocess)
            return _unit(self.model.encode_image(pictures))

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
        rows = [tuple(row) for row in token_rows(texts, text_config.context_length, truncate)]
        distinct = {row: index for index, row in enumerate(dict.fromkeys(rows))}
        tokens = torch.zeros(len(distinct), text_config.context_length, dtype=torch.int64)
        for row, index in distinct.items():
            tokens[index, : len(row)] = torch.tensor(row)
        with torch.inference_mode(), self._exact_float32():
            embeddings = [
                _unit(self.model.encode_text(part.to(self.device)))
                for part in torch.split(tokens, N_PROMPTS_AT_ONCE)
            ]
        return np.concatenate(embeddings)[[distinct[row] for row in rows]]

    def lacks_evidence(self, words: Sequence[str], prompts: Sequence[str]) -> list[bool]:
        """For each word and the prompt it stands in, whether it names nothing this model learned.

        Only the embedded model can tell; for others nothing is in doubt.
        """
        evidence, visual = self.model.evidence, self.model.visual
        if evidence is None or not isinstance(visual, EfficientNetLite):
            return [False] * len(words)
        embeddings = torch.from_numpy(self.encode_texts(prompts, truncate=True)).to(self.device)
        with torch.inference_mode():
            known: list[bool] = evidence(list(words), embeddings, visual.class_embedding).tolist()
        return [not one for one in known]

    def _exact_float32(self) -> AbstractContextManager[object]:
        """CUDA's convolutions use 10-bit mantissas for float32 unless told not to."""
        if self.device.type == "cuda" and self.precision == "fp32":
            return torch.backends.cudnn.flags(allow_tf32=False)
        return nullcontext()


def choose_device(device: str) -> torch.device:
    """`auto` is CUDA, then MPS, then the CPU. Raises UsageError for a device that is not here."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or not (number.isdigit() or ":" not in device):
        raise UsageError(f"--device {device}: expected auto, cpu, cuda, cuda:1 or mps")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {device}: {torch.cuda.device_count()} CUDA devices found;"
            " pass --device auto or --device cpu"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"--device {device}: no MPS device found; pass --device auto")
    return torch.device(device)


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """`auto` is float32 on a CPU and float16 on accelerators, as the reference."""
    if precision == "auto":
        return "fp32" if device.type == "cpu" else "fp16"
    return precision


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


def _keep_freed_memory() -> None:
    """Let glibc keep what a layer frees for the next one, rather than hand it back to the system.

    Fetching each large tensor anew costs ViT-B/32 7 % and lite half its speed at a batch of 32
    (two cores).
    """
    with suppress(OSError, AttributeError):  # another C library, which has no such switch
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the most it takes


def _tensor_digest(tensor: torch.Tensor) -> str:
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    number = "<f4" if tensor.is_floating_point() else "<i8"
    digest.update(np.ascontiguousarray(tensor.numpy(), dtype=number).reshape(-1).data)
    return digest.hexdigest()


def _unit(embeddings: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = F.normalize(embeddings.float(), dim=-1).cpu().numpy()
    return array
