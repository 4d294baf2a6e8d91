"""Camera raw files, read by LibRaw: the camera's own preview, or the sensor's pixels developed.

Either lies as it is stored, and its EXIF says how it is turned, as of any photograph. The preview
is the picture as the camera made it, and takes a tenth of the time.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import rawpy
from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PpmImagePlugin import PpmImageFile

from clipcli.errors import PhotoError
from clipcli.photos import develop_raw

if TYPE_CHECKING:
    from clipcli.photos.photo_file import PhotoFile

MIN_SIDE = 512  # a smaller preview is a thumbnail; models see up to 448 pixels
DEVELOP_TIMEOUT_S = 300.0
_EXIF_OF_FLIP = (1, 2, 4, 3, 5, 8, 6, 7)  # EXIF's orientation for each of LibRaw's numbers
_SIDEWAYS = (5, 6, 7, 8)  # of EXIF's: width and height change places
_END_OF_JPEG = b"\xff\xd9"


def open_raw(file: PhotoFile) -> ImageFile.ImageFile | None:
    """The picture in a camera raw file, not yet decoded; None for a file of another format.

    Raises PhotoError for a damaged one.
    """
    try:
        developed = _Developed(file, "")
    except rawpy.LibRawFileUnsupportedError:
        return None
    except rawpy.LibRawError as error:
        raise PhotoError(f"damaged picture: {develop_raw.reason(error)}") from error
    if developed.preview is None:
        return developed
    held: Any = developed.preview.fp
    file.held_bytes = held.getbuffer().nbytes
    return developed.preview


class _Developed(ImageFile.ImageFile):
    """What the sensor saw: half as wide and high where that leaves enough, which is fast since no
    colour between its pixels has to be guessed.

    It is developed in a process of its own: LibRaw prints on stderr what is wrong with a file.
    """

    format = "RAW"
    preview: ImageFile.ImageFile | None

    def _open(self) -> None:
        file: Any = self.fp
        # a path to the open file: its own may lead to another by now, and may be no UTF-8
        self._name = f"/dev/fd/{file.fileno()}"
        self._kept_open = [file.fileno()]
        if not os.path.exists(self._name):  # no /proc, or Windows
            self._name, self._kept_open = str(file.name), []
        with rawpy.RawPy() as raw:
            raw.open_file(self._name)
            sizes = raw.sizes
            self._mode = "RGB"
            self._is_half = min(sizes.width, sizes.height) >= 2 * MIN_SIDE
            step = 2 if self._is_half else 1
            self._size = -(-sizes.width // step), -(-sizes.height // step)
            turn = _EXIF_OF_FLIP[sizes.flip]
            self.getexif()[ExifTags.Base.Orientation] = turn
            self.preview = _preview(raw, (sizes.width, sizes.height), turn)

    def load(self) -> Any:
        if self._im is None:
            with PpmImageFile(io.BytesIO(self._develop())) as developed:
                developed.load()
                # not as foretold: one band of a camera for grey, a side of pixels not square
                self.im, self._mode, self._size = developed.im, developed.mode, developed.size
        return Image.Image.load(self)

    def _develop(self) -> bytes:
        size = "half" if self._is_half else "full"
        try:
            run = subprocess.run(
                [sys.executable, "-P", develop_raw.__file__, self._name, size],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=self._kept_open,
                env=os.environ | {"OMP_NUM_THREADS": "1"},  # other threads have such a process too
                timeout=DEVELOP_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise PhotoError(f"LibRaw has not developed it in {DEVELOP_TIMEOUT_S:.0f} s") from error
        if run.returncode:
            raise PhotoError(f"damaged picture: {run.stdout.decode() or 'LibRaw crashed'}")
        return run.stdout


def _preview(raw: rawpy.RawPy, size: tuple[int, int], turn: int) -> ImageFile.ImageFile | None:
    """The camera's own JPEG, with EXIF that says how it is turned; None where it is missing, cut
    off, or smaller than both MIN_SIDE and the sensor's picture, of `size`, itself."""
    try:
        raw.unpack_thumb()
        thumbnail = raw.dcraw_make_mem_thumb()
    except (rawpy.LibRawError, NotImplementedError):  # the latter is rawpy's, of a kind new to it
        return None
    data = thumbnail.data
    # a cut one may have an end inside, that of its own thumbnail
    if not isinstance(data, bytes) or data.rfind(_END_OF_JPEG) < len(data) // 2:
        return None
    try:
        preview = JpegImageFile(io.BytesIO(data))
        exif = preview.getexif()
    except Exception:  # as Pillow raises on a damaged one
        return None
    exif[ExifTags.Base.Orientation] = _turn(preview, size, turn)
    return preview if min(preview.size) >= min(MIN_SIDE, *size) else None


def _turn(preview: ImageFile.ImageFile, size: tuple[int, int], turn: int) -> int:
    """How a preview is turned: as it says itself, or as the sensor's picture, or it is upright.

    Cameras do all three, so it is the first by which it is as wide or tall as that picture is.
    """
    own: Any = preview.getexif().get(ExifTags.Base.Orientation)  # may be damaged
    for one in (own, turn, 1):
        if one in range(1, 9) and _is_tall(preview.size, one) == _is_tall(size, turn):
            return int(one)
    return turn


def _is_tall(size: tuple[int, int], turn: int) -> bool:
    """Whether a picture is taller than wide when it is turned."""
    width, height = size[::-1] if turn in _SIDEWAYS else size
    return height > width
