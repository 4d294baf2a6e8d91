"""Gives a command what its settings say, before it reads its command line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipcli.cli.settings.layers import Setting

logger = logging.getLogger(__name__)

KEPT = "clipcli.settings"  # in the context, for errors


def fill(command: Any, context: Any, arguments: Sequence[str]) -> None:
    """Put into the context, as defaults, what the environment and files say of the options."""
    if (
        context.resilient_parsing or context.parent is None
    ):  # for completion; the root has no options
        return
    given, rest, _ = command.make_parser(context).parse_args(args=list(arguments))
    given = {key: value for key, value in given.items() if value is not None}
    if "help" in given or (rest and hasattr(command, "commands")):
        return
    from clipcli.cli.settings.layers import resolve  # for --help it would take too long

    settings = resolve(command, context, given)
    context.default_map = {key: one.value for key, one in settings.items()}
    context.meta[KEPT] = settings
    if not (given.get("quiet") or context.default_map.get("quiet")):
        _tell(command, given, settings)


def _tell(command: Any, given: dict[str, Any], settings: dict[str, Setting]) -> None:
    """A line where the photographs' own file is used, which the user may not know of."""
    from clipcli.cli.settings.layers import files_for

    for file in files_for(command, given):
        used = [key for key, one in settings.items() if one.source == file.path]
        if used and not file.is_own:
            logger.info(f"{file.path}: {', '.join(used)}")


def explain(error: Exception, context: Any) -> None:
    """Note on an error where what it is about was set."""
    if KEPT in context.meta:
        from clipcli.cli.settings.layers import names_in

        for line in names_in(str(error), context.meta.pop(KEPT)):
            error.add_note(line)
