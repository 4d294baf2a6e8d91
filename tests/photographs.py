"""Small photographs that say much about themselves, as cameras and people write it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import soft
from PIL import Image, ImageCms
from raw_files import jpeg, save_dng

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None,
    reason="needs exiftool: apt-get install libimage-exiftool-perl",
)
SUFFIXES = ("jpg", "tif", "png", "webp", "dng")
MAKER_NOTE = 0x927C
_EXIF = (
    "-Make=Maker",
    "-Model=Camera",
    "-Artist=Zoë",
    "-DateTimeOriginal=2020:02:03 04:05:06",
    "-ExposureTime=1/250",
    "-GPSLatitude=47.5",
    "-GPSLatitudeRef=N",
    "-GPSLongitude=8.7",
    "-GPSLongitudeRef=E",
    "-UserComment=Grüße",
)
_FACES = (
    "-RegionInfo={AppliedToDimensions={W=80,H=60,Unit=pixel},RegionList=[{Name=Zoë,Type=Face,"
    "Area={X=0.5,Y=0.4,W=0.2,H=0.3,Unit=normalized}}]}"
)
# what others wrote before us: nothing, Latin-1, UTF-8 with levels, develop settings
WRITTEN_BEFORE: dict[str, tuple[str, ...]] = {
    "bare": (),
    "latin": (*_EXIF, "-IPTC:Caption-Abstract=Grüße", "-IPTC:Keywords=été", "-IPTC:Keywords=True"),
    "levels": (
        *_EXIF,
        _FACES,
        "-IPTC:CodedCharacterSet=UTF8",
        "-IPTC:Keywords=Dog",
        "-IPTC:Keywords=日本",
        "-IPTC:City=Zürich",
        "-XMP-dc:Subject=Dog",
        "-XMP-dc:Subject=日本",
        "-XMP-digiKam:TagsList=places/日本",
        "-XMP-digiKam:TagsList=Dog",
        "-IPTCDigest=new",
    ),
    "developed": (
        *_EXIF,
        "-XMP:Rating=4",
        "-XMP-crs:Exposure2012=+0.5",
        "-XMP-lr:HierarchicalSubject=places|Zürich",
        "-XMP-dc:Subject=Zürich",
        "-XMP-dc:Title=A title",
    ),
}


def make_album(folder: Path, n_copies: int) -> list[Path]:
    """A folder of photographs, `n_copies` of each format and kind of WRITTEN_BEFORE."""
    folder.mkdir()
    arguments: list[str] = []
    for suffix in SUFFIXES:
        for kind, tags in WRITTEN_BEFORE.items():
            photo = folder / f"{kind}0.{suffix}"
            save_photograph(photo, is_bare=kind == "bare")
            if tags:
                fits = [tag for tag in tags if suffix == "jpg" or "IPTC" not in tag]
                arguments += ["-overwrite_original", *fits, str(photo), "-execute"]
    exiftool("-@", "-", stdin="\n".join(arguments))
    for photo in sorted(folder.iterdir()):
        for n in range(1, n_copies):
            shutil.copy2(photo, photo.with_name(photo.name.replace("0.", f"{n}.")))
    return sorted(folder.iterdir())


def save_photograph(path: Path, is_bare: bool = False) -> None:
    picture = soft(80, 60)
    if path.suffix == ".dng":
        save_dng(path, np.asarray(picture), preview=jpeg(np.asarray(picture.resize((40, 30)))))
        return
    options: dict[str, Any] = {}
    if not is_bare:
        exif = Image.Exif()
        exif.get_ifd(0x8769)[MAKER_NOTE] = b"what this camera alone understands " * 3
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        options = {"exif": exif, "icc_profile": profile}
    picture.save(path, **options)


def exiftool(*arguments: object, stdin: str = "") -> str:
    """What exiftool prints, which must find nothing to complain of."""
    done = subprocess.run(
        ["exiftool", "-config", "", "-q", *map(str, arguments)],
        input=stdin.encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == b"", done.stderr.decode()
    return done.stdout.decode()


def listed(photos: Sequence[Path]) -> list[dict[str, Any]]:
    """All tags of each photograph, in the order given."""
    text = exiftool("-j", "-G1", "-struct", "-a", "-b", *photos)
    found = {one["SourceFile"]: one for one in json.loads(text, parse_int=str, parse_float=str)}
    return [found[str(photo)] for photo in photos]
