"""Labels of records into sidecars and photographs, and what is said of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Self, TypeVar

from clipcli.cli.options.keywords import KeywordOptions, TagOptions
from clipcli.cli.work.tables import print_tables
from clipcli.errors import ExitCode, KeywordsError, UsageError
from clipcli.files.table import Row, Table, words
from clipcli.files.table_text import TableFormat
from clipcli.keywords.embed import OtherFormatError, embed_keywords
from clipcli.keywords.exiftool import ExifTool, find_exiftool
from clipcli.keywords.packet import Change
from clipcli.keywords.provenance import OurLabel
from clipcli.keywords.sidecar import Sidecars
from clipcli.records import Classified, Failure, Record

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
CHANGE_COLUMNS = (
    *(words("path"), words("sidecar"), words("added")),
    words("taken back", "taken_back"),
)


def acting_option(tag: TagOptions) -> str | None:
    """The option under which labels act on photographs or beside them, if there is one."""
    _check_original(tag)
    if tag.write_xmp:
        return "--write-xmp"
    return "--embed-keywords" if tag.embed_keywords else None


def _check_original(options: KeywordOptions) -> None:
    if options.overwrite_original and not options.embed_keywords:
        raise UsageError(
            "--overwrite-original: no photograph is written to; give --embed-keywords too, or"
            " leave it out"
        )


@dataclass
class _Tally:
    """What was done with the files of one kind. n_others: photographs of formats that are not
    written to."""

    kind: str
    n_written: int = 0
    n_unchanged: int = 0
    n_taken_back: int = 0
    n_others: int = 0

    def told(self, done: str) -> str:
        others = f", {self.n_others:,} of other formats left alone" if self.n_others else ""
        return (
            f"{_counted(self.n_written, self.kind)} {done}written, {self.n_unchanged:,}"
            f" unchanged, {_counted(self.n_taken_back, 'label')} {done}taken back{others}"
        )


class KeywordWriter:
    """Writes labels, counts what it did and names what failed; used in a `with` block.

    With `dry_run` it writes nothing, and prints a row at the end for each sidecar that would
    change, and one without a sidecar for each photograph. prompts: in short, those of each label.
    Raises ExifToolError where labels go into photographs and no exiftool works.
    """

    def __init__(
        self,
        options: KeywordOptions,
        dry_run: bool,
        *,
        has_sidecars: bool = True,
        prompts: dict[str, str] | None = None,
    ) -> None:
        _check_original(options)
        self.failures: list[Failure] = []
        self._options = options
        self._sidecars = Sidecars(options.xmp_name == "adobe") if has_sidecars else None
        self._exiftool = ExifTool(find_exiftool()) if options.embed_keywords else None
        self._plan: list[Row] | None = [] if dry_run else None
        self._prompts = prompts or {}
        self._today = date.today().isoformat()
        self._beside, self._inside = _Tally("sidecar"), _Tally("photograph")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._exiftool is not None:
            self._exiftool.close()

    def follow(self, records: Iterator[R]) -> Iterator[R]:
        """Pass records on, when their labels are written. A failure changes nothing."""
        for record in records:
            if isinstance(record, Classified):
                self.write(record.path, self._labels(record))
            yield record

    def write(self, photo: str, labels: Sequence[OurLabel], clear: bool = False) -> None:
        """Replace our labels of one photograph by these."""
        for write in (self._write_beside, self._write_inside):
            try:
                write(photo, labels, clear)
            except KeywordsError as error:
                self.failed(photo, str(error))

    def failed(self, photo: str, why: str) -> None:
        logger.warning(f"{photo}: {why}")
        self.failures.append(Failure(photo, why))

    def conclude(self, code: int = ExitCode.OK) -> int:
        """Say how it ended. code: how the run ended otherwise."""
        done = "" if self._plan is None else "would be "
        if self._plan:
            format: TableFormat = "table" if sys.stdout.isatty() else "csv"
            print_tables([Table(CHANGE_COLUMNS, self._plan)], format)
        told = []
        if self._sidecars is not None:
            told.append(self._beside.told(done))
        if self._exiftool is not None:
            told.append(self._inside.told(done))
        if self.failures:
            told[-1] += f", {len(self.failures):,} failed"
        logger.info("; ".join(told))
        return code or (ExitCode.PARTLY_READ if self.failures else ExitCode.OK)

    def _write_beside(self, photo: str, labels: Sequence[OurLabel], clear: bool) -> None:
        if self._sidecars is not None:
            dry_run = self._plan is not None
            sidecars = self._sidecars.all_of(photo) if clear else [self._sidecars.of(photo)]
            for path in sidecars:
                changed = self._sidecars.label(photo, labels, path, clear=clear, dry_run=dry_run)
                self._count(self._beside, photo, path, changed)

    def _write_inside(self, photo: str, labels: Sequence[OurLabel], clear: bool) -> None:
        if self._exiftool is None:
            return
        try:
            changed = embed_keywords(
                photo,
                labels,
                self._exiftool,
                clear=clear,
                keeps_original=not self._options.overwrite_original,
                dry_run=self._plan is not None,
            )
            self._count(self._inside, photo, "", changed)
        except OtherFormatError as error:
            if labels:
                self._inside.n_others += 1
                if self._sidecars is None:
                    logger.info(f"{photo}: {error}")

    def _labels(self, record: Classified) -> list[OurLabel]:
        return [
            OurLabel(
                one.label,
                record.model,
                self._prompts.get(one.label, ""),
                one.probability,
                self._today,
            )
            for one in record.standing
        ]

    def _count(self, tally: _Tally, photo: str, sidecar: str, changed: Change) -> None:
        tally.n_taken_back += len(changed.taken_back)
        if not changed.is_changed:
            tally.n_unchanged += changed.packet is not None
            return
        tally.n_written += 1
        if self._plan is not None:
            added, taken_back = "; ".join(changed.added), "; ".join(changed.taken_back)
            self._plan.append([photo, sidecar, added, taken_back])


@contextmanager
def opened_for(
    tag: TagOptions, dry_run: bool, prompts: dict[str, str]
) -> Iterator[KeywordWriter | None]:
    """The writer that these options ask for, if they do. Raises ExifToolError as it does."""
    if acting_option(tag) is None:
        yield None
        return
    with KeywordWriter(tag, dry_run, has_sidecars=tag.write_xmp, prompts=prompts) as writer:
        yield writer


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
