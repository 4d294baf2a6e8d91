"""What `classify`, `embed` and `similar` do alike: find, open the model, write rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options import ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.report import Report
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.embedding_file import EmbeddingWriter, Header
    from clipcli.encoder import Encoder
    from clipcli.images import Found
    from clipcli.labels import Label
    from clipcli.part_file import PartFile
    from clipcli.pipeline import RunOptions
    from clipcli.records import Failure, PassedOver
    from clipcli.writers import Format, RowWriter


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
    from clipcli import images

    if not paths:
        raise UsageError("no PATH; expected photographs, folders, or - for a list on stdin")
    if paths.count("-") > 1:
        raise UsageError("- is given twice; there is one list on stdin")
    named: list[str] = []
    for path in paths:
        if path == "-":
            named += images.read_path_list(sys.stdin.buffer, photo.null)
        else:
            named.append(path)
    return list(images.find(named, recursive=photo.recursive, exclude=photo.exclude or ()))


def settled(found: Sequence[Found]) -> list[PassedOver | Failure]:
    """Those whose end is known without a model."""
    from clipcli.records import Photo

    return [record for record in found if not isinstance(record, Photo)]


def open_encoder(model: ModelOptions, report: Report) -> Encoder:
    """The model that the options name, downloaded with a bar if it is not on disk."""
    from clipcli.default_model import wanted
    from clipcli.encoder import Encoder

    with report.downloading() as on_progress:
        return Encoder.open(
            wanted(model.model),
            device=model.device,
            precision="fp32" if model.reference else model.precision,
            activation=model.activation,
            cache_dir=model.cache_dir,
            on_progress=on_progress,
            on_note=report.note,
        )


def warn_of_unknown_labels(encoder: Encoder, labels: Sequence[Label], report: Report) -> None:
    """Say, once, which labels name nothing that the model learned."""
    from clipcli.pipeline import labels_without_evidence

    unknown = labels_without_evidence(encoder, labels)
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        report.note(
            f"{encoder.name} has no evidence for {', '.join(unknown[:10])}{more}: it learned"
            " nothing near these words, and its answers to them mean little; a larger model"
            " may know them: --model ViT-B/32"
        )


def describe(encoder: Encoder) -> str:
    """Model, precision and device, for the summary."""
    return f"{encoder.name}, {encoder.precision} on {encoder.device}"


def run_options(model: ModelOptions, photo: PhotoOptions) -> RunOptions:
    from clipcli.decode import DecodeOptions
    from clipcli.pipeline import RunOptions

    decode = DecodeOptions(photo.fit, model.reference, photo.max_megapixels)
    return RunOptions(decode, photo.batch_size, photo.workers)


def choose_format(out: OutputOptions, allowed: Sequence[Format]) -> Format:
    """The format asked for, or the one that --output's suffix names, or the first allowed."""
    by_suffix = Path(out.output).suffix.removeprefix(".") if out.output else ""
    for format in allowed:
        if format == (out.format or by_suffix):
            return format
    if out.format:
        raise UsageError(f"--format {out.format}: expected {' or '.join(allowed)}")
    return allowed[0]


@contextmanager
def open_rows(out: OutputOptions, format: Format, columns: Sequence[str]) -> Iterator[RowWriter]:
    """Rows on stdout, or in the file of --output."""
    from clipcli.part_file import PartFile
    from clipcli.writers import RowWriter, Stdout

    if out.output is None:
        stdout = Stdout()
        try:
            yield RowWriter(stdout, format, columns)
        finally:
            stdout.flush()
        return
    file = PartFile(Path(out.output))
    with _whole_or_part(file):
        yield RowWriter(file, format, columns)


@contextmanager
def open_embeddings(path: str, header: Header) -> Iterator[EmbeddingWriter]:
    """A file of embeddings."""
    from clipcli.embedding_file import writer_for

    writer = writer_for(Path(path), header)
    with _whole_or_part(writer):
        yield writer


@contextmanager
def _whole_or_part(file: PartFile | EmbeddingWriter) -> Iterator[None]:
    """The file appears when the run is whole; after an error the rows so far stay in NAME.part,
    which is added to the error's line."""
    try:
        yield
    except BaseException as error:
        kept = file.abandon()
        if kept is not None:
            error.add_note(f"the rows so far are in {kept}")
        raise
    file.commit()
