"""Gives a command what its settings say, before it reads its command line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

logger = logging.getLogger(__name__)

KEPT = "clipcli.settings"  # in the context, for errors


def fill(command: Any, context: Any, arguments: Sequence[str]) -> None:
    """Put into the context, as defaults, what the environment and files say of the options."""
    is_root = context.parent is None  # which has no options of its own
    if is_root or context.resilient_parsing:  # for completion
        return
    given, rest, _ = command.make_parser(context).parse_args(args=list(arguments))
    given = {key: value for key, value in given.items() if value is not None}
    if "help" in given or (rest and hasattr(command, "commands")):
        return
    from clipcli.cli.settings.layers import resolve  # for --help it would take too long

    settings = resolve(command, context, given)
    context.default_map = {key: one.value for key, one in settings.active.items()}
    context.meta[KEPT] = settings
    # the user may not know of the photographs' own file
    used = [one for one in settings.active.values() if not one.is_own]
    if used and not (given.get("quiet") or context.default_map.get("quiet")):
        logger.info(f"{used[0].source}: {', '.join(one.key for one in used)}")


def explain(error: Exception, context: Any) -> None:
    """Note on an error where what it is about was set."""
    if KEPT in context.meta:
        for line in context.meta.pop(KEPT).notes_on(str(error)):
            error.add_note(line)
