"""Rows that are kept up to date: options of `classify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from clipcli.cli.help import UPDATING, in_panel


@dataclass(frozen=True)
class UpdateOptions:
    """Whether the file of --output is an earlier run's, and who is to know what is new."""

    update: Annotated[
        bool,
        in_panel(
            UPDATING,
            "--update",
            help="Bring the file of --output up to date; a PATH that is gone changes nothing.",
        ),
    ] = False
    new_rows: Annotated[
        str | None,
        in_panel(
            UPDATING,
            metavar="FILE",
            help="Write what is new or changed here; - is stdout.",
        ),
    ] = None

    @property
    def files(self) -> dict[str, str | None]:
        """What each option writes."""
        return {"new_rows": None if self.new_rows == "-" else self.new_rows}
