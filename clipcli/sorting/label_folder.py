"""The folder of a label: a level for each part of its path, under names that every system takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from clipcli.errors import UsageError, one_line
from clipcli.labels.label_path import label_parts

MAX_NAME_BYTES = 255
# what Windows and its file systems, on sticks and network drives too, cannot have in a name
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def label_folder(label: str) -> str:
    """Below the destination. A slash that is text, as in `cardboard box / carton`, is a dash."""
    return os.path.join(*(part.replace("/", "-") for part in label_parts(label)))


def check_label_folders(labels: Iterable[str], option: str) -> None:
    """Raises UsageError, naming `option`, for a label that no folder can be called."""
    for label in labels:
        for part in label_parts(label):
            if why := _why_no_folder(part):
                raise UsageError(
                    f"{option}: the label {one_line(label)} cannot be a folder: {why}; give it"
                    " another name, as in a labels file: name = word"
                )


def _why_no_folder(part: str) -> str:
    if not part:
        return "a part of its path is empty"
    if part.startswith("."):  # .. leads elsewhere, and other such folders are hidden
        return f"{part} begins with a dot"
    if part.endswith("."):
        return f"{part} ends with a dot"
    if found := _FORBIDDEN.search(part):
        return f"{found[0]!r} is not allowed in names everywhere"
    if _DEVICES.fullmatch(part):
        return f"{part} is a device on Windows"
    n_bytes = len(os.fsencode(part))
    return f"{n_bytes} bytes, of {MAX_NAME_BYTES} at most" if n_bytes > MAX_NAME_BYTES else ""
