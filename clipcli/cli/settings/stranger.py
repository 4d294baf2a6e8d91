"""What a clipcli.toml inside a photo folder may set. The folder may be a stranger's: it is to be
safe to label, so a key is refused unless it stands here."""

from __future__ import annotations

import os
import re
from typing import Any

from clipcli.errors import UsageError
from clipcli.files.settings_file import NAME, regular_text
from clipcli.labels.templates import TEMPLATE_SETS

# Not calibration and probe: they name the model that made them, which would be downloaded or opened
ALLOWED = (
    *("labels", "labels_file", "template", "templates", "top_k", "multi_label"),
    *("min_probability", "unknown", "exclude", "fit"),
)


def check_key(path: str, key: str) -> None:
    """Raises UsageError for a key that a photo folder's own file may not set."""
    if key not in ALLOWED:
        raise UsageError(
            f"{path}: {key}: the file of a photo folder may not set this, which could be a"
            " stranger's; take it out, and give it on the command line or in your own"
            f" {NAME} (clipcli config shows where)"
        )


def check_place(path: str) -> None:
    """Raises UsageError for a clipcli.toml that is a link to outside of its folder."""
    folder = os.path.dirname(path)
    if os.path.lexists(path) and not _is_inside(path, folder):
        raise UsageError(f"{path}: a link to outside of {folder}; expected a file inside it")


def placed(path: str, option: Any, value: str) -> str:
    """The value, a file's name as its path from here.

    Raises UsageError for what is no file of a reasonable size inside the folder.
    """
    is_file = option.name == "labels_file"
    if option.name == "templates":
        is_file = value not in TEMPLATE_SETS
    if not is_file:
        return value
    folder = os.path.dirname(path)
    file = os.path.join(folder, value)
    found = f"{path}: {option.name} is {value!r}; expected a file inside {folder}"
    if os.path.isabs(value) or ".." in re.split(r"[/\\]", value) or not _is_inside(file, folder):
        raise UsageError(found)
    try:
        regular_text(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{found}, found {error}") from error
    return file


def _is_inside(path: str, folder: str) -> bool:
    inside = os.path.join(os.path.realpath(folder), "")
    try:
        return os.path.realpath(path).startswith(inside)
    except ValueError:  # a NUL
        return False
