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
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from clipcli.errors import PhotoError, one_line
from clipcli.photos.formats import readable_formats, why_unreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

DEFAULT_MAX_MEGAPIXELS = 250.0


def open_photo(path: str) -> BufferedReader:
    """Open one photograph's file. Raises PhotoError, without the path, if that cannot be done."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise PhotoError("not a regular file")
        return Path(path).open("rb")
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the name
        raise PhotoError(str(error)) from error


@contextmanager
def open_picture(
    file: BufferedReader, path: str, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Iterator[ImageFile]:
    """The picture in an open file, its size checked, its pixels not yet decoded.

    Whatever Pillow raises on a bad file, which can be anything, here or inside the `with`, becomes
    one PhotoError. The file stays open.
    """
    try:
        picture = _identify(file, path, max_megapixels)
        _check_size(picture.size, max_megapixels)
        if picture.format == "TIFF":
            from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH  # loaded by now

            # with its memory in place, load() does not check Pillow's global limit
            tags = picture.tag_v2  # type: ignore[attr-defined]
            size = tags[IMAGEWIDTH], tags[IMAGELENGTH]
            picture.im = Image.new(picture.mode, size, None).im
        yield picture
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        advice = "raise PIL.Image.MAX_IMAGE_PIXELS, or export it as PNG"
        raise PhotoError(f"too large for Pillow's own limit; {advice}") from error
    except Exception as error:
        message = one_line(str(error) or type(error).__name__)
        raise PhotoError(f"damaged picture: {message}") from error


def scale_while_decoding(picture: ImageFile, width: float, height: float) -> None:
    """Let the JPEG decoder leave out what a resize would: it halves, quarters or takes eighths,
    but leaves at least this width and height. Other formats are decoded in full."""
    if picture.format in ("JPEG", "MPO"):
        picture.draft(None, (math.ceil(width), math.ceil(height)))


def _identify(file: BufferedReader, path: str, max_megapixels: float) -> ImageFile:
    """What `Image.open` does for our formats, without its check of the global limit."""
    file.seek(0)
    start = file.read(16)
    for name in readable_formats():
        open_as, accepts = Image.OPEN[name]
        # these four mean that the file is of another format
        with suppress(SyntaxError, IndexError, TypeError, struct.error):
            accepted = accepts is None or accepts(start)
            if accepted and not isinstance(accepted, str):  # a str: Pillow was built without it
                if name == "ICO":
                    _check_icon(file, max_megapixels)
                file.seek(0)
                return open_as(file, "")
    if not start:
        raise PhotoError("no picture: the file is empty")
    advice = why_unreadable(path) or f"expected one of {', '.join(readable_formats())}"
    raise PhotoError(f"no picture: begins with {start!r}; {advice}")


def _check_icon(file: BufferedReader, max_megapixels: float) -> None:
    """Pillow decodes an icon while it opens it, and a PNG inside can be of any size."""
    from PIL.IcoImagePlugin import IcoFile  # loaded by now, as is the other
    from PIL.PngImagePlugin import PngImageFile

    file.seek(0)
    file.seek(IcoFile(file).entry[0].offset)
    with suppress(SyntaxError):  # no PNG but a bitmap, which is as large as the file says
        _check_size(PngImageFile(file).size, max_megapixels)


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            f"{width} x {height} is {megapixels:,.0f} megapixels, the limit is"
            f" {max_megapixels:,.0f}; pass --max-megapixels {megapixels + 1:.0f} to read it"
        )
