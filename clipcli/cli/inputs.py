"""What `classify`, `embed` and `similar` do alike: find photographs, open the model."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipcli.cli.options import ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.report import Report
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.embedding.embedder import Embedder
    from clipcli.embedding.local import RunOptions
    from clipcli.labels.label import Label
    from clipcli.photos.find import Found
    from clipcli.records import Failure, PassedOver


def check_options(model: ModelOptions, photo: PhotoOptions, out: OutputOptions) -> None:
    """Refuse, by name, options that contradict each other."""
    if model.reference and model.precision != "auto":
        raise UsageError("--reference sets the precision, and --precision too; give one of them")
    if model.reference and photo.fit != "crop":
        raise UsageError(f"--reference crops and --fit asks to {photo.fit}; give one of them")
    if (
        out.output
        and out.failures
        and os.path.realpath(out.output) == os.path.realpath(out.failures)
    ):
        raise UsageError("--output and --failures name the same file; give each its own")


def find_photos(paths: Sequence[str] | None, photo: PhotoOptions) -> list[Found]:
    """All files that PATHs name or hold; `-` is a list on stdin."""
    from clipcli.photos import find

    if not paths:
        raise UsageError("no PATH; expected photographs, folders, or - for a list on stdin")
    if paths.count("-") > 1:
        raise UsageError("- is given twice; there is one list on stdin")
    named: list[str] = []
    for path in paths:
        if path == "-":
            named += find.read_path_list(sys.stdin.buffer, photo.null)
        else:
            named.append(path)
    return list(find.find(named, recursive=photo.recursive, exclude=photo.exclude or ()))


def settled(found: Sequence[Found]) -> list[PassedOver | Failure]:
    """Those whose end is known without a model."""
    from clipcli.records import Photo

    return [record for record in found if not isinstance(record, Photo)]


def open_embedder(model: ModelOptions, report: Report) -> Embedder:
    """The model that the options name, downloaded with a bar if it is not on disk."""
    from clipcli.embedding.embedder import Embedder
    from clipcli.models.default_model import wanted

    with report.downloading() as on_progress:
        embedder = Embedder.open(
            wanted(model.model),
            device=model.device,
            precision="fp32" if model.reference else model.precision,
            activation=model.activation,
            compile=model.compile,
            cache_dir=model.cache_dir,
            remember=model.cache,
            on_progress=on_progress,
            on_note=report.note,
            on_warning=report.complain,
        )
    return embedder


def warn_of_unknown_labels(embedder: Embedder, labels: Sequence[Label], report: Report) -> None:
    """Say, once, which labels name nothing that the model learned."""
    from clipcli.labelling.pipeline import labels_without_evidence

    unknown = labels_without_evidence(embedder, labels)
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        report.note(
            f"{embedder.spec.name} has no evidence for {', '.join(unknown[:10])}{more}: it learned"
            " nothing near these words, and its answers to them mean little; a larger model"
            " may know them: --model ViT-B/32"
        )


def describe(embedder: Embedder) -> str:
    """Model, precision and device, for the summary."""
    return f"{embedder.spec.name}, {embedder.spec.precision} on {embedder.spec.device}"


def run_options(model: ModelOptions, photo: PhotoOptions) -> RunOptions:
    from clipcli.embedding.local import RunOptions
    from clipcli.photos.decode import DecodeOptions

    decode = DecodeOptions(photo.fit, model.reference, photo.exact, photo.max_megapixels)
    return RunOptions(decode, photo.batch_size, photo.workers)
