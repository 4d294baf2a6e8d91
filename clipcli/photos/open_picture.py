"""The one place where a photograph is opened. Every way to fail is a PhotoError without the path.

Pillow's own limit, `Image.MAX_IMAGE_PIXELS`, is global and belongs to the host process. It is not
changed, and not applied when a picture is opened: our limit is `max_megapixels`.

Some of Pillow's plugins check the global limit themselves. TIFF does when it is loaded, which
`open_picture` avoids. WEBP (from Pillow 13) does for its size, GIF for a frame larger than the
animation or one that is cleared, and ICO for the picture inside it: such a picture is refused
beyond twice the host's limit (by default 179 megapixels) even if ours is higher.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from PIL import Image

from clipcli.errors import PassingPhotoError, PhotoError, one_line
from clipcli.photos.before_opening import opening_bytes
from clipcli.photos.budget import IN_FLIGHT
from clipcli.photos.formats import can_read_raw, is_raw, readable_formats, why_unreadable
from clipcli.photos.memory import (
    DEFAULT_MAX_MEGAPIXELS,
    check_bytes,
    check_size,
    decoding_bytes,
)
from clipcli.photos.photo_file import PIECE_BYTES, PhotoFile

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


def open_photo(path: str) -> PhotoFile:
    """Open one photograph's file. Raises PhotoError, without the path, if that cannot be done."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise PhotoError("not a regular file")
        return PhotoFile(path)
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the name
        raise PhotoError(str(error)) from error


@contextmanager
def open_picture(
    file: PhotoFile, path: str, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Iterator[ImageFile]:
    """The picture in an open file, its size checked, its pixels not yet decoded.

    Whatever Pillow raises on a bad file, which can be anything, here or inside the `with`, becomes
    one PhotoError. The file stays open.
    """
    try:
        with ExitStack() as taken:
            picture = _identify(file, path, max_megapixels, taken)
            file.stored_size = picture.size
            check_size(picture.size, max_megapixels)
            try:
                yield picture
            finally:
                vars(picture).clear()  # pixels and decoder go before their share does
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        advice = "raise PIL.Image.MAX_IMAGE_PIXELS, or export it as PNG"
        raise PassingPhotoError(f"too large for Pillow's own limit; {advice}") from error
    except Exception as error:
        message = one_line(str(error) or type(error).__name__)
        is_passing = isinstance(error, MemoryError) or getattr(error, "errno", None) is not None
        kind = PassingPhotoError if is_passing else PhotoError
        raise kind(f"damaged picture: {message}") from error


def scale_while_decoding(picture: ImageFile, width: float, height: float) -> None:
    """Let the JPEG decoder leave out what a resize would: it halves, quarters or takes eighths,
    but leaves at least this width and height. Other formats are decoded in full."""
    if picture.format in ("JPEG", "MPO"):
        picture.draft(None, (math.ceil(width), math.ceil(height)))


@contextmanager
def decoded(
    picture: ImageFile,
    file: PhotoFile,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    in_strips: bool = True,
) -> Iterator[None]:
    """The pixels of an open picture, for the length of the block.

    They wait for their share of the memory for pictures, which is given back at the end of it.
    Raises PhotoError for a picture that takes more than one of RGB of `max_megapixels`.
    """
    n_bytes = decoding_bytes(picture, file.held_bytes, in_strips)
    check_bytes(file.stored_size, picture.format, n_bytes, max_megapixels)
    with nullcontext() if file.has_share else IN_FLIGHT.taken(n_bytes):
        file.pixels_follow(picture.format)
        if picture.format == "TIFF":
            from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH  # loaded by now

            # with its memory in place, load() does not check Pillow's global limit
            tags = picture.tag_v2  # type: ignore[attr-defined]
            size = tags[IMAGEWIDTH], tags[IMAGELENGTH]
            picture.im = Image.new(picture.mode, size, None).im
        if picture.format in ("TIFF", "PSD", "SGI"):  # whose parts Pillow would read whole
            picture.load_read = lambda n: file.read(min(n, PIECE_BYTES))  # type: ignore[attr-defined]
        try:
            picture.load()
            yield
        finally:
            vars(picture).clear()  # pixels and decoder go before their share does


def _identify(file: PhotoFile, path: str, max_megapixels: float, taken: ExitStack) -> ImageFile:
    """What `Image.open` does for our formats, without its check of the global limit."""
    file.seek(0)
    start = file.read(16)
    formats = readable_formats()
    if start and is_raw(path):
        raw = _open_raw(file)
        if raw is not None:
            return raw
        formats = [name for name in formats if name != "TIFF"]  # it would find a thumbnail
    for name in formats:
        open_as, accepts = Image.OPEN[name]
        # these four mean that the file is of another format
        with suppress(SyntaxError, IndexError, TypeError, struct.error), ExitStack() as share:
            accepted = accepts is None or accepts(start)
            if accepted and not isinstance(accepted, str):  # a str: Pillow was built without it
                n_bytes = opening_bytes(name, file, max_megapixels)
                share.enter_context(IN_FLIGHT.taken(n_bytes))
                file.seek(0)
                picture = open_as(file, "")
                file.has_share = n_bytes > 0
                taken.push(share.pop_all())
                return picture
    if not start:
        raise PhotoError("no picture: the file is empty")
    expected = f"expected one of {', '.join(formats)}"
    if is_raw(path):
        expected = "expected a camera raw file that LibRaw knows; export it as JPEG"
    advice = why_unreadable(path) or expected
    raise PhotoError(f"no picture: begins with {start!r}; {advice}")


def _open_raw(file: PhotoFile) -> ImageFile | None:
    """The picture in a file called a camera's raw, if it is one that can be read here."""
    if not can_read_raw():
        return None
    from clipcli.photos.raw import open_raw  # with LibRaw, which nothing else needs

    return open_raw(file)
