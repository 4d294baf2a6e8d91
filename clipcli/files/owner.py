"""A new file under the owner of the one that it replaces or copies."""

from __future__ import annotations

import os
import sys


def keep_owner(path: str | os.PathLike[str], before: os.stat_result) -> None:
    """Give a file the user and group of another one. Raises PermissionError where this user may
    not."""
    if sys.platform == "win32":  # which has no such numbers
        return
    now = os.stat(path)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        os.chown(path, before.st_uid, before.st_gid)
