"""Which repositories of the Hugging Face hub are on disk, so that a warm run need not import it.

ROOT/models/hub.json says it, repository by repository: the commit that each revision was when it
was last asked for, and where the files of each commit lie. The files are the hub's own, in its
cache; what was deleted there is not on disk, whatever this file says.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clipcli.errors import DownloadError, OutputError
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.catalogue import N_DIGITS, HubName

MAIN = "main"  # what a repository without a revision is
_NOTHING: dict[str, Any] = {"revisions": {}, "commits": {}}
_CARD_BYTES = 1 << 16
_HEAD = re.compile(r"---\s*\n(.*?)^---", re.DOTALL | re.MULTILINE)
_FIELD = r"^{}:[ \t]*(?:\n\s*-[ \t]*)?[\"']?([\w.+-]+)"


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit. folder: where they lie; files: their names, the weights' last."""

    commit: str
    folder: str
    files: tuple[str, ...]

    @property
    def is_on_disk(self) -> bool:
        return all(os.path.isfile(os.path.join(self.folder, name)) for name in self.files)


def size_bytes(snapshots: Iterable[Snapshot]) -> int:
    """Of all their files; one that several share, as the hub's cache has it, is one."""
    paths = {
        os.path.realpath(os.path.join(snapshot.folder, name))
        for snapshot in snapshots
        for name in snapshot.files
    }
    return sum(map(os.path.getsize, paths))


def find_on_disk(name: str, root: Path) -> Path | None:
    """Where the model of this name lies, or None where it is not on disk."""
    if on_hub := catalogue.find_on_hub(name):
        snapshot = find(on_hub, root)
        return None if snapshot is None else Path(snapshot.folder)
    published = catalogue.find_published(name)
    if published is None or not catalogue.is_on_disk(published, root):
        return None
    return catalogue.model_path(published, root)


def find(name: HubName, root: Path) -> Snapshot | None:
    """What is on disk of the repository in this revision, if anything is."""
    known = _read(root).get(name.repository, _NOTHING)
    revision = name.revision or MAIN
    last_known_as = known["revisions"].get(revision)
    for snapshot in _snapshots(known):
        if snapshot.commit == last_known_as or _is_of(snapshot.commit, revision):
            return snapshot
    return None


def find_all(name: HubName, root: Path) -> list[Snapshot]:
    """Every commit of the repository that is on disk; of a name with a revision, this one."""
    if name.revision is not None:
        return [found for found in [find(name, root)] if found is not None]
    return _snapshots(_read(root).get(name.repository, _NOTHING))


def _is_of(commit: str, revision: str) -> bool:
    return len(revision) >= N_DIGITS and commit.startswith(revision)


def repositories(root: Path) -> list[str]:
    """Those of which something is on disk."""
    return [repository for repository, known in _read(root).items() if _snapshots(known)]


def make_place(root: Path) -> None:
    """Raises DownloadError where nothing could be remembered."""
    _change(root, lambda index: None)


def remember(name: HubName, snapshot: Snapshot, root: Path) -> None:
    """Raises DownloadError where there is no place for it."""

    def add(index: dict[str, Any]) -> None:
        known = index.setdefault(name.repository, deepcopy(_NOTHING))
        known["revisions"][name.revision or MAIN] = snapshot.commit
        fields = asdict(snapshot)
        known["commits"][fields.pop("commit")] = fields

    _change(root, add)


def forget(repository: str, commit: str, root: Path) -> None:
    """Raises as `remember` does."""

    def drop(index: dict[str, Any]) -> None:
        known = index[repository]
        del known["commits"][commit]
        known["revisions"] = {
            revision: other for revision, other in known["revisions"].items() if other != commit
        }
        if not known["commits"]:
            del index[repository]

    _change(root, drop)


def stated_licence(folder: Path) -> str | None:
    """The licence that the card of a repository states, in README.md, or None."""
    try:
        with open(folder / "README.md", encoding="utf-8", errors="replace") as card:
            head = _HEAD.match(card.read(_CARD_BYTES))
    except OSError:
        return None
    if head is None:
        return None
    # of a licence without a code of the hub's own, `license` is "other"
    stated = (re.search(_FIELD.format(key), head[1], re.M) for key in ("license_name", "license"))
    return next((match[1] for match in stated if match), None)


def _snapshots(known: dict[str, Any]) -> list[Snapshot]:
    """What the file says of one repository, and is true."""
    said = (
        Snapshot(commit, fields["folder"], tuple(fields["files"]))
        for commit, fields in known["commits"].items()
    )
    return [snapshot for snapshot in said if snapshot.is_on_disk]


def _path(root: Path) -> Path:
    return root / "models" / "hub.json"


def _read(root: Path) -> dict[str, Any]:
    """A file that is damaged, or from a later version, knows nothing."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        index: dict[str, Any] = json.loads(_path(root).read_bytes())
        for known in index.values():
            known["revisions"].items()
            _snapshots(known)
        return index
    return {}


def _change(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Other processes may change other parts of it at the same time."""
    from filelock import FileLock

    from clipcli.files.part_file import write_whole  # a list of models needs neither

    path = _path(root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            index = _read(root)
            change(index)
            write_whole(path, json.dumps(index, indent=1).encode())
    except OSError as error:
        raise DownloadError(
            f"cannot write in {path.parent}: {error.strerror}; "
            "choose a cache folder that can be written"
        ) from error
    except OutputError as error:
        raise DownloadError(str(error)) from error
