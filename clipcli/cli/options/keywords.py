"""Labels into sidecars and photographs: the options of `classify` and `tag`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from clipcli.cli.help import KEYWORDS, in_panel, one_of

XmpName = Literal["append", "adobe"]  # photo.jpg.xmp or photo.xmp


@dataclass(frozen=True)
class KeywordOptions:
    """Where keywords go."""

    xmp_name: Annotated[
        XmpName,
        in_panel(
            KEYWORDS,
            metavar=one_of(XmpName),
            help="Name of a new sidecar: photo.jpg.xmp, or Adobe's photo.xmp.",
        ),
    ] = "append"
    embed_keywords: Annotated[
        bool,
        in_panel(
            KEYWORDS,
            "--embed-keywords",
            help="Write labels into the photographs, for Lightroom; needs exiftool.",
        ),
    ] = False
    overwrite_original: Annotated[
        bool,
        in_panel(
            KEYWORDS, "--overwrite-original", help="Keep no PHOTO_original beside the photograph."
        ),
    ] = False


@dataclass(frozen=True)
class TagOptions(KeywordOptions):
    """Where `classify` writes labels as keywords, if it does."""

    write_xmp: Annotated[
        bool, in_panel(KEYWORDS, "--write-xmp", help="Write labels into XMP sidecars.")
    ] = False
