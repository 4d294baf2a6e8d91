"""A published model's verified file: downloaded once, however many processes ask for it.

ROOT/models/ViT-B-32.pt             the checkpoint, under its published file name
ROOT/models/ViT-B-32.pt.part        a download that has not finished
ROOT/models/ViT-B-32.pt.verified    size and time of the checkpoint whose hash was found right
ROOT/models/ViT-B-32.pt.lock        held by the process that downloads
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipcli.errors import DownloadError, OutputError
from clipcli.models.on_disk.catalogue import is_on_disk, model_path, model_url
from clipcli.models.on_disk.known_models import PublishedModel

logger = logging.getLogger(__name__)

PROBE_S = 2.5  # how long to wait for an answer of the server

# gets the bytes of a download so far, and their total or None where that is unknown
OnProgress = Callable[[int, int | None], None]


def why_unreachable(url: str) -> str | None:
    """Why nothing can be downloaded from there now, or None if it answers within PROBE_S."""
    answers: list[str | None] = []

    def probe() -> None:
        from clipcli.models.on_disk.download import reach

        answers.append(reach(url, PROBE_S))

    # a thread, since looking up a name cannot be given a time limit
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return answers[0] if answers else f"no answer within {PROBE_S} s"


def fetch(model: PublishedModel, root: Path, on_progress: OnProgress | None = None) -> Path:
    """The path of the model's verified file, downloaded first if it is not on disk.

    Raises DownloadError if the file cannot be had, or is on disk with other bytes.
    """
    path = model_path(model, root)
    if not is_on_disk(model, root):
        if offline := why_offline():
            raise DownloadError(
                f"{model.file_name} is not on disk and {offline}; "
                f"unset it, or download {model_url(model)} and put it at {path}"
            )
        with _lock(model, path):
            if not is_on_disk(model, root):  # another process may have brought it meanwhile
                from clipcli.models.on_disk.download import download

                url, max_bytes = model_url(model), 2 * model.size_bytes
                download(url, model.sha256, path, on_progress, max_bytes=max_bytes)
                _remember(path, _identity(model, path))
    _verify(model, path)
    return path


def kept_files(model: PublishedModel, root: Path) -> list[Path]:
    """What is on disk of the model: all of the files above."""
    path = model_path(model, root)
    kept = (path.with_name(path.name + suffix) for suffix in ("", ".part", ".verified", ".lock"))
    return [file for file in kept if file.is_file()]


def remove(model: PublishedModel, root: Path) -> None:
    """Free what it takes. Raises OutputError where the disk refuses."""
    for path in kept_files(model, root):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed: {error.strerror}") from error


def why_offline() -> str | None:
    """Why nothing may be downloaded, or None if it may."""
    is_set = os.environ.get("CLIPCLI_OFFLINE", "") not in ("", "0")
    return "CLIPCLI_OFFLINE is set" if is_set else None


@contextmanager
def _lock(model: PublishedModel, path: Path) -> Iterator[None]:
    """Held while the file is downloaded, so that processes which start together do it once."""
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info(f"waiting for another clipcli that is downloading {model.name}")
            lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"cannot write in {path.parent}: {error.strerror}; "
            "choose a cache folder that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _verify(model: PublishedModel, path: Path) -> None:
    """Hash the file, unless that was done when it had the same size and time.

    A file with the wrong hash stays where it is: the user may have put it there.
    """
    try:
        identity = _identity(model, path)
        with suppress(OSError, ValueError):
            if json.loads(path.with_name(f"{path.name}.verified").read_bytes()) == identity:
                return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DownloadError(f"cannot read {path}: {error.strerror}") from error
    if found != model.sha256:
        raise DownloadError(
            f"{path}: found SHA-256 {found}, expected {model.sha256} for {model.name}; "
            "delete the file to download it again"
        )
    _remember(path, identity)


def _identity(model: PublishedModel, path: Path) -> dict[str, str | int]:
    stat = path.stat()
    return {"sha256": model.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _remember(path: Path, identity: dict[str, str | int]) -> None:
    # a folder that cannot be written only means that the next start hashes the file again
    with suppress(OSError):
        written = path.with_name(f"{path.name}.verified.{os.getpid()}")
        written.write_text(json.dumps(identity))
        written.replace(path.with_name(f"{path.name}.verified"))
