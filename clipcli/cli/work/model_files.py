"""Models to the disk, and from it."""

from __future__ import annotations

import logging
from pathlib import Path

from clipcli.cli import talk
from clipcli.cli.work import progress
from clipcli.cli.work.question import is_agreed
from clipcli.models.on_disk import catalogue, fetch, hub, snapshots
from clipcli.models.on_disk.known_models import PublishedModel, size_text

logger = logging.getLogger(__name__)


def download(name: str, root: Path, quiet: bool, anew: bool) -> Path:
    """Where the model of this name is now. anew: ask the hub for the newest revision."""
    if quiet:
        talk.leave_out_notes()
    with progress.of_download(quiet) as on_progress:
        if on_hub := catalogue.find_on_hub(name):
            return Path(hub.fetch(on_hub, root, on_progress, anew=anew).folder)
        return fetch.fetch(_published(name), root, on_progress)


def remove(name: str, root: Path, yes: bool, quiet: bool) -> int:
    """Free what the model takes on disk, once that was agreed to."""
    if quiet:
        talk.leave_out_notes()
    if on_hub := catalogue.find_on_hub(name):
        found = snapshots.find_all(on_hub, root)
        n_bytes = snapshots.size_bytes(found)
        where = ", ".join(one.folder for one in found)
    else:
        files = fetch.kept_files(_published(name), root)
        n_bytes = sum(path.stat().st_size for path in files)
        where = ", ".join(map(str, files))
    if not n_bytes:
        logger.info(f"{name} is not on disk")
        return 0
    size = size_text(n_bytes)
    if not yes and not is_agreed(f"{where}: remove {name}, {size}"):
        logger.info(f"{name}: nothing was removed")
        return 0
    if on_hub:
        for one in found:
            hub.remove(on_hub, one, root)
    else:
        fetch.remove(_published(name), root)
    logger.info(f"{name}: {size} freed")
    return 0


def _published(name: str) -> PublishedModel:
    model = catalogue.find_published(name)
    assert model is not None
    return model
