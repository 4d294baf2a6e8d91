"""Photographs and the model that looks at them, as the options name them."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options.shared import LabelledOptions, ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.surroundings import check_temporary_directory
from clipcli.cli.work import progress
from clipcli.cli.work.output import check_fallback, maker_of
from clipcli.cli.work.report import Report
from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.errors import ExitCode, ModelError, NothingReadError, OutputError, UsageError
from clipcli.files.part_file import write_whole
from clipcli.files.rows import PASSED_OVER_COLUMNS, Writer, csv_line
from clipcli.files.suffixes import check_suffix
from clipcli.models.on_disk.catalogue import ON_THE_HUB
from clipcli.models.on_disk.default_model import AUTO, is_fallback, wanted
from clipcli.models.on_disk.locate import find_weights, kind_of, locate
from clipcli.models.on_disk.snapshots import stated_licence
from clipcli.models.request import ModelRequest
from clipcli.photos import find
from clipcli.photos.decode import DecodeOptions
from clipcli.photos.find import FoundFile
from clipcli.records import TEXT, Embedded, Failure, MadeBy, PassedOver, Photo, Record

if TYPE_CHECKING:
    from clipcli.cli.work.sort import Sorting

logger = logging.getLogger(__name__)


def check_options(model: ModelOptions, photo: PhotoOptions, **files: str | None) -> None:
    """Refuse, by name, options that contradict each other. files: what each option writes."""
    if model.reference and model.precision != "auto":
        raise UsageError("--reference sets the precision, and --precision too; give one of them")
    if model.reference and photo.fit != "crop":
        raise UsageError(
            f"--reference fits as the model was trained and --fit asks to {photo.fit};"
            " give one of them"
        )
    if model.compile:
        check_temporary_directory()
    seen: dict[str, str] = {}
    for option, path in files.items():
        other = option if path is None else seen.setdefault(os.path.realpath(path), option)
        if other != option:
            both = f"--{other} and --{option}".replace("_", "-")
            raise UsageError(f"{both} name the same file; give each its own")
    check_suffix("--failures", files.get("failures"), ".csv")
    check_suffix("--passed-over", files.get("passed_over"), ".csv")
    for path in filter(None, files.values()):
        _check_folder(path)


def _check_folder(path: str) -> None:
    """Refuse now what could not be written at the end."""
    folder = os.path.dirname(path) or os.curdir
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OutputError(
            f"{path}: cannot be written: there is no folder {folder}; make it first"
        ) from error
    except OSError:
        pass  # whoever opens the file says why


def find_photos(
    paths: Sequence[str] | None,
    photo: PhotoOptions,
    allow_empty: bool,
    needs_list: bool = False,
    sorting: Sorting | None = None,
) -> list[FoundFile]:
    """All files that PATHs name or hold; `-` is a list on stdin, which may be empty unless
    `needs_list`: NothingReadError. Where they are sorted, with those that were moved from there
    before, and without those in the destination."""
    if not paths:
        raise UsageError("no PATH; expected photographs, folders, or - for a list on stdin")
    if paths.count("-") > 1:
        raise UsageError("- is given twice; there is one list on stdin")
    named: list[str] = []
    for path in paths:
        some = _listed_on_stdin(photo.null) if path == "-" else [path]
        if needs_list and not some:
            raise NothingReadError(
                "-: no path on stdin; --update changed nothing; expected a list of paths"
            )
        named += some
    if sorting is not None:
        sorting.check_paths(named)
    found = find.find_photos(
        named,
        recursive=photo.recursive,
        exclude=photo.exclude or (),
        raw=photo.raw,
        empty_fails=not allow_empty,
        leave_out=None if sorting is None else sorting.sorter.root,
    )
    return list(found) if sorting is None else sorting.found(list(found), named, photo)


def _listed_on_stdin(nul_separated: bool) -> list[str]:
    if sys.stdin.isatty():
        logger.info("-: paths are read from the terminal, one a line; Ctrl-D ends the list")
    try:
        return find.read_path_list(sys.stdin.buffer, nul_separated)
    except OSError as error:
        why = "is closed" if error.errno == errno.EBADF else f"cannot be read: {error.strerror}"
        raise UsageError(f"-: stdin {why}; expected a list of paths") from error


def check_models(names: Sequence[str], cache_dir: str | None, quiet: bool) -> None:
    """Have all these models on disk, downloaded if they are not, and known to be checkpoints.

    Raises ModelError. Their tensors are only read when their turn comes.
    """
    with progress.of_download(quiet) as on_progress:
        for name in names:
            if name.lower() != AUTO:
                kind_of(find_weights(locate(name, cache_dir, on_progress)))


@dataclass
class PhotoRun:
    """Files that were found, and the model that is opened when one of them needs it.

    remark: what the summary says of its answers. only_wanted: an option under which no other
    model may answer than the one wanted, since its answers act.
    """

    found: list[FoundFile]
    model: ModelOptions
    photo: PhotoOptions
    report: Report
    remark: str = field(default="", kw_only=True)
    only_wanted: str | None = field(default=None, kw_only=True)
    # of a probe, a calibration or embeddings that are used
    made_by: MadeBy | None = field(default=None, kw_only=True)

    @cached_property
    def embedder(self) -> Embedder:
        """The model that the options name, downloaded with a bar if it is not on disk.

        Where they name none, the one that made the file they name: no other understands it.
        """
        model = self.model
        name = wanted(model.model)
        if self.made_by is not None and name.lower() == AUTO:
            name = self.made_by.model
        request = ModelRequest(
            name,
            device=model.device,
            precision="fp32" if model.reference else model.precision,
            activation=model.activation,
            compile=model.compile,
            cache_dir=model.cache_dir,
        )
        quiet = self.report.quiet
        with progress.of_download(quiet) as on_progress:
            embedder = Embedder.open(
                request,
                remember=model.cache,
                on_progress=on_progress,
                while_opening=partial(progress.of_opening, quiet=quiet),
            )
        if self.only_wanted and name.lower() == AUTO and is_fallback(embedder.spec.name):
            raise ModelError(
                f"{self.only_wanted}: not with {embedder.spec.name}, which nobody asked for;"
                f" nothing was changed; give --model {embedder.spec.name} if that is all right"
            )
        return embedder

    @cached_property
    def options(self) -> RunOptions:
        photo = self.photo
        decode = DecodeOptions(photo.fit, self.model.reference, photo.exact, photo.max_megapixels)
        return RunOptions(decode, photo.batch_size, photo.workers)

    @property
    def described(self) -> str:
        """Model, precision and device, for the summary; the licence of a model that is not in our
        table, which may not be for everyone."""
        if "embedder" not in vars(self):  # never asked for
            return "no model needed"
        spec = self.embedder.spec
        name = spec.name
        if name.startswith(ON_THE_HUB) and (licence := stated_licence(Path(spec.path))):
            name += f" (licence {licence})"
        return f"{name}, {spec.precision} on {spec.device}{self.remark}"

    @property
    def photo_paths(self) -> Iterator[str]:
        """Of the files to try."""
        return (record.path for record in self.found if isinstance(record, Photo))

    @property
    def needs_model(self) -> bool:
        """Whether there is a photograph: the end of all other files is known without a model."""
        return any(isinstance(record, Photo) for record in self.found)

    def has_no_rows(self, out: OutputOptions, format: str) -> bool:
        """Whether there is nothing to write, and nothing to replace an old file with."""
        failures = [record for record in self.found if isinstance(record, Failure)]
        if self.needs_model:
            return False
        if not failures:  # an empty list on stdin, which a pipe may well bring
            return not out.allow_empty and os.path.isfile(out.output or "")
        is_json = format.startswith("json")  # where a failure is an object
        return not is_json or all(failure.error == find.NO_PHOTOGRAPH for failure in failures)

    def embedded(self) -> Iterator[Embedded | Failure]:
        """The embedding of each photograph, counted by the report."""
        records: Iterator[Embedded | Failure | PassedOver] = self.settled()
        if self.needs_model:
            records = self.embedder.embed_photos(self.found, self.options)
        return self.report.follow(records, len(self.found))

    def write(
        self,
        records: Iterable[Record],
        writer: AbstractContextManager[Writer],
        out: OutputOptions,
        format: str,
        summary: str | None = None,
    ) -> int:
        """Write the rows, then say `summary`, or without one how the run ended: the exit code."""
        if summary is None and self.has_no_rows(out, format):
            return self.write_nothing(out)
        self._check_fallback(out)
        self.tell_passed_over(out)
        with self.report.failures_to(out.failures), writer as rows:
            for record in records:
                rows.write(record)
            rows.finish()
            # with --allow-empty no row at all may be what is written
            return self.conclude(summary, None if out.allow_empty else _kept(out))

    def exhaust(self, records: Iterable[Record]) -> int:
        """Go through all of them and write no rows, then say how the run ended: the exit code."""
        for _ in records:
            pass
        return self.conclude()

    def _check_fallback(self, out: OutputOptions) -> None:
        """Raises OutputError where `auto` became a model whose rows are not to replace the old
        ones. The model is opened now, while nothing has been written."""
        before = maker_of(out.output)
        is_used = self.needs_model or "embedder" in vars(self)
        if before is None or not is_used or wanted(self.model.model).lower() != AUTO:
            return
        if self.made_by is None and is_fallback(self.embedder.spec.name):
            check_fallback(str(out.output), before, self.embedder.spec.made_by(TEXT))

    def tell_passed_over(self, out: OutputOptions | LabelledOptions) -> None:
        """Name, or write, each file that was passed over, which is known before the run."""
        passed_over = [record for record in self.found if isinstance(record, PassedOver)]
        if out.verbose:
            for record in passed_over:
                logger.info(f"{record.path}: passed over, {record.reason}")
        if out.passed_over is not None:
            rows = [[record.path, record.reason] for record in passed_over]
            text = "".join(map(csv_line, [PASSED_OVER_COLUMNS, *rows]))
            write_whole(Path(out.passed_over), text.encode("utf-8", "surrogateescape"))

    def write_nothing(self, out: OutputOptions) -> int:
        """Say why there are no rows, and leave the file of --output alone: the exit code."""
        self.tell_passed_over(out)
        with self.report.failures_to(out.failures):
            list(self.report.follow(self.settled(), len(self.found)))
            return self.conclude(kept=_kept(out))

    def conclude(self, summary: str | None = None, kept: str | None = None) -> ExitCode:
        """Say what of the cache was damaged, and how the run ended: the exit code.

        kept: a file of rows that stays as it was, where nothing could be read.
        """
        if "embedder" in vars(self):
            self.embedder.warn_of_damage()
        if summary is None:
            return self.report.conclude(self.described, kept)
        logger.info(summary)
        return ExitCode.OK

    def settled(self) -> Iterator[PassedOver | Failure]:
        """How the files end that are no photographs."""
        return (record for record in self.found if not isinstance(record, Photo))


def _kept(out: OutputOptions) -> str | None:
    """The file of rows that is there before the run."""
    return out.output if os.path.isfile(out.output or "") else None
