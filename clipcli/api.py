"""The Python surface: CLIP's own three functions, and three that go from paths to records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.labelling import labeller
from clipcli.labelling.labeller import Labeller, LabelRequest, classify_photos
from clipcli.labels.label import DEFAULT_TEMPLATE, Label, check_labels, word_label
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.locate import locate
from clipcli.photos import find
from clipcli.photos.preprocess import ImageTransform
from clipcli.records import Classified, Embedded, Failure, Match, PassedOver, RawFiles
from clipcli.search.query import QueryPart, encode_query
from clipcli.search.similar import similar_photos

if TYPE_CHECKING:
    import torch

    from clipcli.models.encoder import Encoder
    from clipcli.network.clip import CLIP

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def available_models() -> list[str]:
    """Names of the published models, as `load` takes them."""
    return catalogue.available_models()


def load(
    name_or_path: str, device: str | torch.device | None = None
) -> tuple[CLIP, ImageTransform]:
    """A model and its preprocessing: float32 on a CPU, float16 on CUDA, as the reference.

    `name_or_path`: one of `available_models()`, downloaded on first use, or a checkpoint.
    `preprocess` turns a PIL image into a float32 tensor [3, px, px]. `tokenize` is CLIP's, and no
    SigLIP's: an `Embedder` has the tokenizer of its model.
    """
    from clipcli.models.checkpoint import checkpoint
    from clipcli.runtime.devices import DTYPES, choose_device

    on_device = choose_device("auto" if device is None else str(device))
    model = checkpoint.load(locate(name_or_path))
    dtype = DTYPES["fp32" if on_device.type == "cpu" else "fp16"]
    return model.network.to_precision(dtype).to(on_device), ImageTransform(model.preprocess)


def open_labeller(
    request: LabelRequest,
    encoder: Encoder | Embedder,
    options: RunOptions = RunOptions(),
    truncate: bool = False,
) -> Labeller:
    """What `classify` labels with, to be used again: it can be pickled, and holds no model.

    Its `label` takes embeddings, float32 [n, d], of photographs that were prepared as `options`
    say. Raises UsageError for labels that cannot work, and for a calibration or a probe that was
    made by another model.
    """
    return labeller.open_labeller(request, _embedder(encoder), options.decode.name, truncate)


def classify(
    paths: Paths,
    labels: Sequence[str | Label] | LabelRequest | Labeller,
    encoder: Encoder | Embedder,
    *,
    templates: Sequence[str] = (DEFAULT_TEMPLATE,),
    top_k: int = 1,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    raw: RawFiles = "alone",
    options: RunOptions = RunOptions(),
) -> Iterator[Classified | Failure | PassedOver]:
    """The best labels of each photograph in files and folders.

    labels: words, to be put into `templates` (of a path, `animal/dog`, the last); or a
    `LabelRequest`, with all that `clipcli classify` can do; or a labeller. encoder: an `Encoder`,
    or an `Embedder`, which knows what was encoded before. raw: "always" tries a camera's raw file
    beside its JPEG too.
    Every file ends as one record; one that cannot be read is a `Failure`, not an exception.
    Raises UsageError for labels or templates that cannot work.
    """
    embedder = _embedder(encoder)
    if isinstance(labels, Sequence):
        made = [one if isinstance(one, Label) else word_label(one) for one in labels]
        labels = LabelRequest(
            tuple(check_labels(made, "labels")), templates=tuple(templates), top_k=top_k
        )
    if isinstance(labels, LabelRequest):
        labels = open_labeller(labels, embedder, options)
    return classify_photos(_find(paths, recursive, exclude, raw), embedder, labels, options)


def embed(
    paths: Paths,
    encoder: Encoder | Embedder,
    *,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    raw: RawFiles = "alone",
    options: RunOptions = RunOptions(),
) -> Iterator[Embedded | Failure | PassedOver]:
    """The embedding of each photograph in files and folders: unit float32 [d]."""
    return _embedder(encoder).embed_photos(_find(paths, recursive, exclude, raw), options)


def similar(
    query: str,
    paths: Paths,
    encoder: Encoder | Embedder,
    *,
    is_text: bool = False,
    top_k: int = 10,
    min_similarity: float = -1.0,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    raw: RawFiles = "alone",
    options: RunOptions = RunOptions(),
) -> Iterator[Match | Failure]:
    """The photographs nearest to a photograph, or with `is_text` to words, best first.

    Raises PhotoError if the query is a photograph that cannot be read.
    """
    part = QueryPart("text" if is_text else "image", query)
    embedder = _embedder(encoder)
    return similar_photos(
        encode_query([part], embedder, options),
        embedder.embed_photos(_find(paths, recursive, exclude, raw), options),
        top_k=top_k,
        min_similarity=min_similarity,
        leave_out=[] if is_text else [query],
    )


def _embedder(encoder: Encoder | Embedder) -> Embedder:
    return encoder if isinstance(encoder, Embedder) else Embedder.of(encoder)


def _find(
    paths: Paths, recursive: bool, exclude: Sequence[str], raw: RawFiles
) -> Iterator[find.FoundFile]:
    typed = [paths] if isinstance(paths, str | os.PathLike) else paths
    return find.find_photos(
        [os.fspath(path) for path in typed], recursive=recursive, exclude=exclude, raw=raw
    )
