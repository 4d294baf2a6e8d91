"""One run at a time writes a part: `lock_part(part)` locks it, and returns what unlocks it.

It raises LockedError while another run holds the lock, OSError where the disk refuses. The system
frees the lock when its holder ends, even killed.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from clipcli.errors import LockedError

if sys.platform != "win32":
    import fcntl


def lock_in_temp_folder(part: Path) -> Callable[[], None]:
    """On an empty file in the system's temporary folder, named after the part: for Windows,
    where a file that is locked can be neither read nor renamed."""
    import tempfile

    from filelock import FileLock, Timeout

    folder = Path(tempfile.gettempdir(), "clipcli")
    folder.mkdir(exist_ok=True)
    name = os.path.normcase(os.path.abspath(part))
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()
    lock = FileLock(folder / f"{digest}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise _locked(part) from error
    return lock.release


def lock_on_part(part: Path) -> Callable[[], None]:
    """On the part itself, which is made where there is none: `flock`, of POSIX."""
    while True:
        file = io.FileIO(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # another run may have renamed this very file to its name since we opened it
            if os.path.samestat(os.fstat(file.fileno()), os.stat(part)):
                return file.close
        except BlockingIOError as error:
            file.close()
            raise _locked(part) from error
        except FileNotFoundError:
            pass
        file.close()


lock_part = lock_in_temp_folder if sys.platform == "win32" else lock_on_part


def _locked(part: Path) -> LockedError:
    return LockedError(
        f"{part}: another run is writing it; wait for that run or choose another --output"
    )
