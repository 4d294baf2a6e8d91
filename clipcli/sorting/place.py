"""One file to its place: moved, copied or linked. Nothing is ever overwritten, and whatever kills
the run, the file is whole at one of its two places.

All raise OSError, FileExistsError where the place is taken; then the file is where it was.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from contextlib import suppress

from clipcli.files.owner import keep_owner
from clipcli.sorting.free_names import folded

PART = ".clipcli-part"  # half a copy; one run at a time works in a destination
PIECE_BYTES = 1 << 20
# a file system without hard links, or a file that this user may rename and not link to
_NO_HARD_LINK = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def move(source: str, target: str) -> None:
    """Rename, or across file systems copy, compare, and only then delete."""
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(source, target)
        _leave(source, target)
        sync_folder(os.path.dirname(source))


def finish_move(source: str, target: str) -> None:
    """A move that was begun, and may have been killed at any moment."""
    _remove_part(target)
    if not os.path.lexists(target):
        move(source, target)
    elif os.path.lexists(source) and not _is_one_name(source, target):
        if os.path.getsize(target) == 0 < os.path.getsize(source):
            os.unlink(target)  # as `_rename_to_reserved` leaves it
            move(source, target)
        elif is_same(source, target):
            _leave(source, target)
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)


def copy(source: str, target: str) -> None:
    """A copy with the times, the mode and what else can be kept, compared with the original."""
    part = _remove_part(target)
    try:
        with open(source, "rb") as original, open(part, "xb") as file:
            shutil.copyfileobj(original, file, PIECE_BYTES)
            file.flush()
            with suppress(OSError):  # a right that few have
                keep_owner(part, os.fstat(original.fileno()))
            with suppress(OSError):
                shutil.copystat(source, part)
            os.fsync(file.fileno())
            if sys.platform == "linux":  # what is compared comes from the disk
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if not has_same_bytes(source, part):
            raise OSError(errno.EIO, "the copy is not like the original")
        _rename(part, target)
    except OSError:
        _remove_part(target)
        raise
    sync_folder(os.path.dirname(target))


def link(source: str, target: str) -> None:
    """A symbolic link, relative, so that it leads there when both are moved together."""
    folder = os.path.realpath(os.path.dirname(target))
    os.symlink(os.path.relpath(os.path.realpath(source), folder), target)


def hard_link(source: str, target: str) -> None:
    os.link(os.path.realpath(source), target)


def is_same(one: str, other: str) -> bool:
    """Whether they are one file, or two with the same bytes. A link is not what it leads to: of
    the two one is deleted."""
    if os.path.islink(one) or os.path.islink(other):
        return False
    return os.path.samefile(one, other) or has_same_bytes(one, other)


def _is_one_name(one: str, other: str) -> bool:
    """Whether both lead to the same entry of the same folder, as through a link to the folder:
    that is no second file to delete."""
    (folder, name), (other_folder, other_name) = os.path.split(one), os.path.split(other)
    is_one_folder = os.path.samefile(folder or os.curdir, other_folder or os.curdir)
    return is_one_folder and folded(name) == folded(other_name) and os.path.samefile(one, other)


def has_same_bytes(one: str, other: str) -> bool:
    return os.path.getsize(one) == os.path.getsize(other) and _digest(one) == _digest(other)


def sync_folder(folder: str) -> None:
    """What was made or renamed in it is there after a power failure."""
    if sys.platform == "win32":  # where a folder cannot be opened
        return
    number = os.open(folder or os.curdir, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse
            os.fsync(number)
    finally:
        os.close(number)


def _rename(source: str, target: str) -> None:
    """Within one file system. A plain rename would overwrite; a link is refused where there is
    something."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINK:
            raise
        _rename_to_reserved(source, target)
    else:
        _leave(source, target)


def _rename_to_reserved(source: str, target: str) -> None:
    """Onto an empty file that we made, so it is no other's."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(source, target)
    except OSError:
        os.unlink(target)
        raise


def _leave(source: str, target: str) -> None:
    """Delete the source; where that is refused, delete the target: one of the two is left."""
    try:
        os.unlink(source)
    except OSError:
        os.unlink(target)
        raise


def _remove_part(target: str) -> str:
    part = os.path.join(os.path.dirname(target), PART)
    with suppress(FileNotFoundError):
        os.unlink(part)
    return part


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
