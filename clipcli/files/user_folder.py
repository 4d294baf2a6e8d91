"""Where this user's files belong: `XDG_CACHE_HOME` and `XDG_CONFIG_HOME`, or what stands for them
in the home directory or on another system."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def user_folder(kind: Literal["cache", "config"]) -> Path | None:
    """The folder, whether or not it is there; None for a user who has no home, as in a container
    that runs under a number without a name."""
    from platformdirs import user_cache_path, user_config_path

    find = user_cache_path if kind == "cache" else user_config_path
    try:
        path = find("clipcli", appauthor=False)
    except RuntimeError:
        return None
    # older versions of platformdirs leave ~ as it is, which would be a folder of this name here
    return path if path.is_absolute() else None
