"""Values that a shell offers at the tab key, of the options that take names or a kind of file.

Where nothing is offered, the shell offers files. Names of models and sets come without importing
what is heavy: a person waits for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import typer

from clipcli.errors import CacheError
from clipcli.models.on_disk import catalogue


def models(incomplete: str) -> list[str]:
    """`auto`, the published models, and those of the hub that are on disk."""
    from clipcli.models.on_disk import snapshots

    on_disk: list[str] = []
    with suppress(CacheError):  # no home
        root = catalogue.cache_root()
        on_disk = [catalogue.ON_THE_HUB + name for name in snapshots.repositories(root)]
    names = dict.fromkeys(["auto", catalogue.LITE, *catalogue.known_names(), *on_disk])
    return [name for name in names if name.startswith(incomplete)]


def template_sets(incomplete: str) -> list[str]:
    from clipcli.labels.templates import TEMPLATE_SETS

    return [name for name in TEMPLATE_SETS if name.startswith(incomplete)]


def files(*suffixes: str) -> Callable[[str], list[str]]:
    """Files of these suffixes and folders, as the shell would offer all files."""

    def found(incomplete: str) -> list[str]:
        folder, begin = os.path.split(incomplete)
        try:
            with os.scandir(folder or os.curdir) as entries:
                near = [one for one in entries if one.name.startswith(begin)]
        except OSError:
            return []
        names = [one.name for one in near if one.name.endswith(suffixes)]
        if not names:
            return []  # perhaps below a folder, which the shell completes better
        names += [f"{one.name}/" for one in near if one.is_dir() and not one.name.startswith(".")]
        return sorted(os.path.join(folder, name) for name in names)

    return found


def commands(context: typer.Context, incomplete: str) -> list[str]:
    """Commands by their table in clipcli.toml."""
    from clipcli.cli.settings.keys import commands_by_table

    names = commands_by_table(context.find_root().command)
    return [name for name in names if name.startswith(incomplete)]
