"""Our labels inside a photograph, written by exiftool: as XMP, and in a JPEG as IPTC too.

exiftool reads the photograph and prints the new one, which is compared with the old one before it
takes its place. So the photograph is whole at every moment, whatever happens to exiftool or to us.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clipcli.errors import KeywordsError, LockedError, OutputError, PhotoError
from clipcli.files.owner import keep_owner
from clipcli.files.part_file import FULL, PartFile
from clipcli.keywords.exiftool import ExifTool
from clipcli.keywords.iptc import IptcKeywords
from clipcli.keywords.packet import Change, change
from clipcli.keywords.provenance import URI, OurLabel

FORMATS = ("JPEG", "TIFF", "PNG", "APNG", "WEBP", "Extended WEBP", "DNG")  # as exiftool says
ORIGINAL = "_original"
_BETWEEN = "|clipcli|"  # keywords, as exiftool lists them
# what is left of IPTC that says nothing more
_BARE = {"Keywords", "CodedCharacterSet", "EnvelopeRecordVersion", "ApplicationRecordVersion"}
_AROUND = re.compile(rb"<\?xpacket[^>]*\?>")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)


class OtherFormatError(KeywordsError):
    """A photograph of a format that is not written to."""


@dataclass(frozen=True)
class _Inside:
    """What a photograph says: its packet, and its other tags by name."""

    packet: bytes | None
    tags: dict[str, str]

    @property
    def words(self) -> list[str]:
        text = self.tags.get("Keywords")
        return [] if text is None else [_unescaped(one) for one in text.split(_BETWEEN)]

    @property
    def iptc(self) -> set[str]:
        """Names of its IPTC tags."""
        return {*self.tags} - {"FileType", "IPTCDigest", "CurrentIPTCDigest"}


def embed_keywords(
    path: str,
    labels: Sequence[OurLabel],
    exiftool: ExifTool,
    *,
    clear: bool = False,
    keeps_original: bool = True,
    dry_run: bool = False,
) -> Change:
    """Replace our automatic labels inside a photograph by these; see `packet.change`.

    Without a change the file stays untouched. clear: take all of ours back. keeps_original: as
    PATH_original, unless there is one already, which then is the older one. dry_run: say what
    would change, and write nothing.
    Raises KeywordsError, without the path, for what cannot be done, when the file stays as it was;
    OutputError for a full disk.
    """
    real = os.path.realpath(path)  # a link stays one, and the photograph behind it is written
    try:
        status = os.stat(real)
    except OSError as error:
        raise KeywordsError(f"cannot be read: {error.strerror}") from error
    inside = _read(real, exiftool)
    file_type = inside.tags.get("FileType", "no picture")
    if file_type not in FORMATS:
        raise OtherFormatError(
            f"{file_type}: keywords are written into JPEG, TIFF, PNG, WebP and DNG only;"
            " --write-xmp writes a sidecar"
        )
    if not labels and URI.encode() not in (inside.packet or b""):
        return Change(inside.packet)  # not ours, whatever it is
    if b"HasExtendedXMP" in (inside.packet or b""):
        raise KeywordsError("its XMP is in two parts (extended XMP), which is not written to")
    iptc = IptcKeywords(inside.words)
    beside = (iptc,) if file_type == "JPEG" or iptc.words else ()
    changed = change(inside.packet, labels, clear, beside)
    if changed.packet == inside.packet and iptc.words == inside.words:
        return changed
    _check_writable(real, status)
    if not dry_run:
        _rewrite(real, status, inside, changed.packet, iptc.words, exiftool, keeps_original)
    return changed


def _read(path: str, exiftool: ExifTool) -> _Inside:
    listed = exiftool.read(
        "-S",
        "-ec",
        "-sep",
        _BETWEEN,
        "-FileType",
        "-IPTC:all",
        "-Photoshop:IPTCDigest",
        "-CurrentIPTCDigest",
        path,
    )
    lines = (line.partition(": ") for line in listed.decode(errors="replace").splitlines())
    return _Inside(exiftool.read("-b", "-XMP", path) or None, {key: text for key, _, text in lines})


def _check_writable(path: str, status: os.stat_result) -> None:
    if not (status.st_mode & 0o222 and os.access(path, os.W_OK)):
        raise KeywordsError("read-only, so no keywords were written")
    n_others = status.st_nlink - 1
    with suppress(FileNotFoundError):  # which an earlier run may have linked before it was killed
        n_others -= os.path.samefile(path, path + ORIGINAL)
    if n_others:
        raise KeywordsError(
            f"{n_others} other name{'s' if n_others > 1 else ''} for this file (hard links), which"
            " would no longer lead to it, so no keywords were written; --write-xmp writes a sidecar"
        )


def _rewrite(
    path: str,
    status: os.stat_result,
    inside: _Inside,
    packet: bytes | None,
    words: list[str],
    exiftool: ExifTool,
    keeps_original: bool,
) -> None:
    from clipcli.photos.same_pixels import same_pixels  # Pillow, which sidecars do without

    try:
        xmp = "-XMP="
        if packet is not None:
            (exiftool.folder / "packet").write_bytes(packet)
            xmp = f"-XMP<={exiftool.folder / 'packet'}"
        with PartFile(Path(path)) as new:
            arguments = [xmp, *_iptc_arguments(inside, words), "-o", "-", path]
            exiftool.run(arguments, new.write, status.st_size)
            part = os.fspath(new.part_path)
            written = _read(part, exiftool)
            if _body(written.packet) != _body(packet) or written.words != words:
                raise KeywordsError("exiftool wrote other keywords than it was told")
            if not same_pixels(path, part):
                raise KeywordsError("exiftool changed the pixels, so its file was thrown away")
            if os.stat(path).st_mtime_ns != status.st_mtime_ns:
                raise KeywordsError("changed by another program meanwhile")
            _make_alike(part, path, status)
            if keeps_original:
                _keep_original(path)
    except OutputError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno in FULL:
            raise
        raise KeywordsError(f"cannot be written: {cause.strerror}") from error
    except LockedError as error:
        raise KeywordsError("is being written by another run") from error
    except PhotoError as error:
        raise KeywordsError(f"cannot be compared: {error}") from error
    except OSError as error:
        raise KeywordsError(f"cannot be written: {error.strerror}") from error


def _body(packet: bytes | None) -> bytes:
    """What a packet says, without what is round it, which exiftool adds and changes."""
    return _AROUND.sub(b"", packet or b"").strip()


def _iptc_arguments(inside: _Inside, words: list[str]) -> list[str]:
    """What turns the IPTC keywords into these. All of IPTC becomes UTF-8, which is one thing for
    the whole file; a digest that told the truth still does."""
    if words == inside.words:
        return []
    digest = inside.tags.get("IPTCDigest")
    fresh = ["-IPTCDigest=new"] if digest and digest == inside.tags["CurrentIPTCDigest"] else []
    if not words and inside.iptc <= _BARE:
        return ["-IPTC:all=", *fresh]
    whole = [f"-IPTC:Keywords={word}" for word in words or [""]]
    out, into = Counter(inside.words) - Counter(words), Counter(words) - Counter(inside.words)
    utf8 = ["-IPTC:CodedCharacterSet=UTF8", *fresh]
    if inside.iptc and inside.tags.get("CodedCharacterSet") != "UTF8":
        again = ["-tagsFromFile", "@", "-IPTC:all", "--IPTC:Keywords"]
        return [*again, *utf8, *whole]
    if any(word in words for word in out):  # a word less of several alike
        return [*utf8, *whole]
    return [
        *utf8,
        *(f"-IPTC:Keywords-={word}" for word in out),
        *(f"-IPTC:Keywords+={word}" for word in into),
    ]


def _make_alike(part: str, path: str, status: os.stat_result) -> None:
    """Times, mode, owner and attributes of the new file as those of the old one."""
    try:
        keep_owner(part, status)
    except PermissionError as error:
        raise KeywordsError("belongs to another user, so no keywords were written") from error
    shutil.copystat(path, part)


def _keep_original(path: str) -> None:
    """Have PATH_original, whole or not at all."""
    original = path + ORIGINAL
    if os.path.lexists(original):
        return
    try:
        os.link(path, original)
    except OSError:  # a file system without hard links
        with PartFile(Path(original)) as copy, open(path, "rb") as old:
            shutil.copyfileobj(old, copy)
            shutil.copystat(path, copy.part_path)


def _unescaped(text: str) -> str:
    names = {"n": "\n", "r": "\r", "t": "\t"}

    def plain(match: re.Match[str]) -> str:
        what = match[1]
        return chr(int(what[1:], 16)) if len(what) == 3 else names.get(what, what)

    return _ESCAPE.sub(plain, text)
