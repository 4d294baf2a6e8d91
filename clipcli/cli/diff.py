"""`clipcli diff`: which photographs got another label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from clipcli.cli.help import OUTPUT, in_panel, output_file
from clipcli.cli.options.shared import Log, Quiet
from clipcli.cli.options.takes import takes

DiffFormat = Literal["table", "csv"]


@dataclass(frozen=True)
class DiffOptions:
    """Where the differences go, and whether they are an exit code."""

    output: Annotated[
        str | None,
        output_file("Write the differences here, as CSV.", show_default="stdout"),
    ] = None
    format: Annotated[
        DiffFormat | None,
        in_panel(
            OUTPUT,
            metavar="table|csv",
            help="Of the differences.",
            show_default="csv; a table on a terminal",
        ),
    ] = None
    exit_code: Annotated[
        bool,
        in_panel(
            OUTPUT, "--exit-code", help="Exit with 1 if they differ, with 2 if that is not known."
        ),
    ] = False
    quiet: Quiet = False
    log: Log = None

    @property
    def files(self) -> dict[str, str | None]:
        """What each option writes."""
        return {"output": self.output}


@takes(DiffOptions)
def diff(
    *,
    old: Annotated[str, typer.Argument(metavar="OLD", help="Rows that classify wrote.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Later ones, of any format.")],
    options: DiffOptions,
) -> int:
    """Compare two outputs of classify: who got another label, who came and who went.

    Example: clipcli diff monday.csv tuesday.csv
    Example: clipcli diff labels.csv labels.jsonl --exit-code -q
    """
    from clipcli.cli.work import diff as work

    return work.diff(old, new, options)
