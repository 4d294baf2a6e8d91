"""Two outputs of `classify` to a table of what differs."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli import talk
from clipcli.cli.work.tables import print_tables, tables_text
from clipcli.errors import ClipcliError, ClosedPipeError, ExitCode
from clipcli.evaluation.label_changes import Change, Comparison, compare
from clipcli.files.classified_rows import PhotoRow, read_classified
from clipcli.files.part_file import write_whole
from clipcli.files.screen import Screen
from clipcli.files.suffixes import check_suffix
from clipcli.files.table import Cell, Row, Table, number, percent, words

if TYPE_CHECKING:
    from clipcli.cli.diff import DiffOptions

logger = logging.getLogger(__name__)


def diff(old: str, new: str, options: DiffOptions) -> int:
    if options.quiet:
        talk.leave_out_notes()
    try:
        if options.format != "table":
            check_suffix("--output", options.output, ".csv")
        found = compare(read_classified(old), read_classified(new))
        if found.remark:
            logger.info(found.remark)
        _write(found, options)
    except ClipcliError as error:
        if options.exit_code:  # 1 would say that they differ
            error.exit_code = ExitCode.USAGE
        raise
    except ClosedPipeError:  # who reads it has seen enough, and the exit code is still wanted
        pass
    _conclude(found)
    return ExitCode.FAILED if found.changes and options.exit_code else ExitCode.OK


def _write(found: Comparison, options: DiffOptions) -> None:
    is_shown = options.output is None and sys.stdout.isatty()
    format = options.format or ("table" if is_shown else "csv")
    if format == "table" and not found.changes and options.output is None:
        return
    tables = [_table(found.changes)]
    if options.output is None:
        print_tables(tables, format)
    else:
        text = tables_text(tables, format, Screen())
        write_whole(Path(options.output), text.encode("utf-8", "surrogateescape"))


def _table(changes: list[Change]) -> Table:
    columns = (
        *(words("path"), words("change")),
        *(words("old", "old_label"), number("was", "old_probability")),
        *(words("new", "new_label"), number("is", "new_probability")),
    )
    return Table(columns, [_row(change) for change in changes])


def _row(change: Change) -> Row:
    return [change.path, change.kind, *_label(change.old), *_label(change.new)]


def _label(row: PhotoRow | None) -> tuple[Cell | str, Cell | str]:
    """Labels that stand, and the probability of the first; of a photograph that fits none, and of
    one that is not there, nothing."""
    if row is None or not row.standing:
        return "", ""
    probability = row.standing[0].probability
    names = "|".join(one.label for one in row.standing)
    return names, "" if probability is None else percent(probability)


def _conclude(found: Comparison) -> None:
    if not found.changes:
        logger.info(f"no differences: {found.n_same:,} the same")
        return
    logger.info(
        f"{found.n_same:,} the same, {found.count('label'):,} with another label,"
        f" {found.count('new'):,} new, {found.count('gone'):,} gone"
    )
