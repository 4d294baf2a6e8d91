"""A terminal shows what is in a name, and does not obey it."""

from __future__ import annotations

import re

from clipcli.errors import one_line

_BETWEEN_OURS = re.compile(r"[^\n\t]+")


def shown(data: bytes) -> bytes:
    """Rows or a table as a terminal may have them: line ends and tabs stay, JSON stays JSON."""
    text = data.decode("utf-8", "surrogateescape")
    return _BETWEEN_OURS.sub(lambda part: one_line(part[0]), text).encode()
