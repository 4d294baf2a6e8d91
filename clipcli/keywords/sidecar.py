"""Which sidecar a photograph has, and labels into it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from clipcli.errors import KeywordsError, LockedError, OutputError
from clipcli.files.owner import keep_owner
from clipcli.files.part_file import FULL, PartFile
from clipcli.keywords.packet import Change, change
from clipcli.keywords.provenance import URI, OurLabel
from clipcli.keywords.xmp import MAX_BYTES
from clipcli.photos.formats import is_paired, is_picture, is_raw


class Sidecars:
    """The sidecars of photographs, which are `photo.jpg.xmp`, or `photo.xmp` with `is_adobe`.

    One that is there already is used, whichever it is, and in whatever case its suffix; of two,
    `photo.jpg.xmp`, which most readers prefer. A RAW file and its JPEG may share `photo.xmp`,
    which then says what the first of them shows that comes.
    """

    def __init__(self, is_adobe: bool = False) -> None:
        self._is_adobe = is_adobe
        self._folders: dict[str, _Folder] = {}
        self._shared: dict[Path, str] = {}  # and the photograph that came first

    def of(self, photo: str) -> str:
        """Where the sidecar of a photograph is, or is to be."""
        path, name = os.path.split(photo)
        stem = os.path.splitext(name)[0]
        sidecars = self._folder(path).sidecars
        new = stem if self._is_adobe else name
        return os.path.join(path, sidecars.get(name) or sidecars.get(stem) or f"{new}.xmp")

    def all_of(self, photo: str) -> list[str]:
        """Those that are there: another program may have made a second one."""
        path, name = os.path.split(photo)
        sidecars = self._folder(path).sidecars
        stems = (name, os.path.splitext(name)[0])
        return [os.path.join(path, sidecars[stem]) for stem in stems if stem in sidecars]

    def label(
        self,
        photo: str,
        labels: Sequence[OurLabel],
        sidecar: str = "",
        *,
        clear: bool = False,
        dry_run: bool = False,
    ) -> Change:
        """Replace our labels in a photograph's sidecar, see `packet.change`, which is written
        whole, or with `dry_run` not at all. sidecar: which, if not the one that is used.

        Raises KeywordsError where this sidecar cannot be read or written, OutputError where no
        other could be either: the disk is full.
        """
        path = Path(sidecar or self.of(photo))
        before = _read(path)
        if not labels and (before is None or URI.encode() not in before):
            return Change(before)  # not ours, whatever it is
        # what is taken back as a whole may be anybody's
        if path.stem != os.path.basename(photo) and not clear:
            self._check_shared(path, photo)
            if self._shared.setdefault(path, photo) != photo:
                return Change(before)
        try:
            changed = change(before, labels, clear)
        except KeywordsError as error:
            raise KeywordsError(f"{path.name}: {error}") from error
        if changed.is_changed:
            _check_writable(path)
        if changed.is_changed and not dry_run:
            _replace(path, before, changed.packet)
            sidecars = self._folder(os.path.dirname(photo)).sidecars
            sidecars.pop(path.stem, None)
            if changed.packet is not None:
                sidecars[path.stem] = path.name
        return changed

    def _check_shared(self, path: Path, photo: str) -> None:
        """Raises KeywordsError for a sidecar that would be that of other photographs too."""
        folder, name = os.path.split(photo)
        pictures = self._folder(folder).pictures.get(path.stem, [])
        n_raw, n_paired = sum(map(is_raw, pictures)), sum(map(is_paired, pictures))
        if len(pictures) > 1 and not (n_raw == n_paired == 1 and len(pictures) == 2):
            others = ", ".join([one for one in pictures if one != name][:3])
            raise KeywordsError(
                f"{path.name} would be the sidecar of {others} too; rename one of them, or give"
                f" each its own, as {name}.xmp"
            )

    def _folder(self, path: str) -> _Folder:
        if path not in self._folders:
            self._folders[path] = _Folder(path)
        return self._folders[path]


class _Folder:
    """What lies in a folder. sidecars: by what stands before their `.xmp`; pictures: by what stands
    before their suffix."""

    def __init__(self, path: str) -> None:
        self.sidecars: dict[str, str] = {}
        self.pictures: dict[str, list[str]] = {}
        try:
            names = sorted(os.listdir(path or os.curdir))
        except OSError as error:
            raise KeywordsError(f"its folder cannot be read: {error.strerror}") from error
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() == ".xmp":
                self.sidecars[stem] = name  # of photo.XMP and photo.xmp the latter
            elif is_picture(name):
                self.pictures.setdefault(stem, []).append(name)


def _read(path: Path) -> bytes | None:
    """A sidecar's bytes, None where there is none."""
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            what = "a link" if stat.S_ISLNK(mode) else "no file"
            raise KeywordsError(f"{path.name} is {what}; expected a sidecar that is a file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeywordsError(f"{path.name} cannot be read: {error.strerror}") from error


def _check_writable(path: Path) -> None:
    """Raises KeywordsError where a real run could not write either, so that a dry run says so."""
    if path.exists() and not path.stat().st_mode & 0o222:
        raise KeywordsError(f"{path.name} is read-only; chmod u+w lets it be written")
    if not os.access(path.parent, os.W_OK):
        raise KeywordsError(f"{path.name} cannot be written: no right to write in its folder")


def _replace(path: Path, read: bytes | None, packet: bytes | None) -> None:
    """Write a sidecar whole, with the rights of the old one, or take it away. read: what it was
    made from, and what must still be there."""
    try:
        before = path.stat() if path.exists() else None
        if packet is None:
            _check_unchanged(path, read)
            path.unlink(missing_ok=True)
            return
        with PartFile(path) as file:
            _check_unchanged(path, read)
            file.write(packet)
            if before is not None:
                keep_owner(file.part_path, before)
                os.chmod(file.part_path, stat.S_IMODE(before.st_mode))
    except LockedError as error:
        raise KeywordsError(f"{path.name} is being written by another run") from error
    except OutputError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
            raise
        raise KeywordsError(str(error)) from error
    except PermissionError as error:
        raise KeywordsError(
            f"{path.name} belongs to another user, and cannot be replaced: {error.strerror}"
        ) from error
    except OSError as error:
        raise KeywordsError(f"{path.name} cannot be written: {error.strerror}") from error


def _check_unchanged(path: Path, read: bytes | None) -> None:
    if _read(path) != read:
        raise KeywordsError(f"{path.name} was changed by another program meanwhile; run it again")
