"""Sidecars as other programs leave them lose nothing, and exiftool and exiv2 read them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from photographs import exiftool, needs_exiftool

from clipcli.keywords.fields import word_key
from clipcli.keywords.packet import change
from clipcli.keywords.provenance import OurLabel

N_SIDECARS = 200
OURS = ("animal/dog", "snow", "box / carton")
WORDS = ("dog", "snow", "box / carton")
FACE = "[{Area={X=0.5,Y=0.4,W=0.1,H=0.2,Unit=normalized},Name=Anna,Type=Face}]"
# what exiftool writes of each kind; a sidecar has some of them
KINDS = (
    ["-XMP-dc:Subject=Anna", "-XMP-dc:Subject=DOG", "-XMP-dc:Subject=Rome"],
    ["-XMP-lr:HierarchicalSubject=people|Anna", "-XMP-lr:HierarchicalSubject=Animal|Dog"],
    ["-XMP-digiKam:TagsList=people/Anna", "-XMP-digiKam:TagsList=Snow"],
    ["-XMP-microsoft:LastKeywordXMP=people/Anna"],
    ["-XMP-mediapro:CatalogSets=people|Anna"],
    ["-XMP-acdsee:Categories=<Categories><Category Assigned=\"1\">Anna</Category></Categories>"],
    [
        f"-XMP-mwg-rs:RegionInfo={{AppliedToDimensions={{W=600,H=400,Unit=pixel}},RegionList={FACE}}}"
    ],
    ["-XMP-xmp:Rating=4", "-XMP-xmp:Label=Red", "-XMP-xmp:MetadataDate=2020:01:02 03:04:05"],
    [
        *("-XMP-crs:Version=15.0", "-XMP-crs:Exposure2012=+0.55", "-XMP-crs:HasSettings=True"),
        *("-XMP-crs:ToneCurvePV2012=0, 0", "-XMP-crs:ToneCurvePV2012=255, 255"),
    ],
    ["-XMP-iptcCore:Location=Ulm", "-XMP-photoshop:DateCreated=2019:05:06"],
)  # fmt: skip
DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
    xmlns:odd="urn:example:odd"
   xmp:Rating="{rating}"
   darktable:xmp_version="5"
   darktable:history_end="1"
   odd:note="kept &amp; unknown">
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="exposure"
      darktable:params="gz02eJxjYGBgYAEyAAAUAAE="/>
    </rdf:Seq>
   </darktable:history>
   <dc:subject>
    <rdf:Seq>
     <rdf:li>darktable</rdf:li>
     <rdf:li>Snow</rdf:li>
    </rdf:Seq>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Seq>
     <rdf:li>darktable|exported</rdf:li>
     <rdf:li>Snow</rdf:li>
    </rdf:Seq>
   </lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
KEYWORD_TAGS = {
    "XMP-dc:Subject": "",
    "XMP-lr:HierarchicalSubject": "|",
    "XMP-digiKam:TagsList": "/",
    "XMP-microsoft:LastKeywordXMP": "/",
    "XMP-mediapro:CatalogSets": "|",
    "XMP-acdsee:Categories": None,
}
NOT_TAGS = ("SourceFile", "ExifTool:", "System:", "File:", "XMP-clipcli:")


def make_sidecars(folder: Path) -> list[Path]:
    """Two of ten as darktable has them, the others by one run of exiftool."""
    folder.mkdir()
    lines: list[str] = []
    for number in range(N_SIDECARS):
        path = folder / f"{number:03}.jpg.xmp"
        if number % 5 == 0:
            path.write_text(DARKTABLE.format(rating=number % 6))
            continue
        chosen = [kind for place, kind in enumerate(KINDS) if number >> place % 8 & 1 or
                  place == number % len(KINDS)]  # fmt: skip
        lines += [*(one for kind in chosen for one in kind), "-o", str(path), "-execute"]
    exiftool("-@", "-", stdin="\n".join(lines))
    return sorted(folder.glob("*.xmp"))


def tags(folder: Path) -> list[dict[str, Any]]:
    """All that exiftool reads in each sidecar, and no warning."""
    text = exiftool("-j", "-G1", "-struct", "-a", "-warning", "-XMP:all", "-ext", "xmp", folder)
    read = sorted(json.loads(text), key=lambda one: str(one["SourceFile"]))
    assert not [one for one in read if any("Warning" in key for key in one)]
    return read


def others(read: dict[str, Any]) -> dict[str, Any]:
    """Without our provenance and the keywords."""
    return {
        key: value
        for key, value in read.items()
        if not key.startswith(NOT_TAGS) and key not in KEYWORD_TAGS
    }


def keywords(read: dict[str, Any], tag: str) -> list[str]:
    value = read.get(tag, [])
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


@needs_exiftool
def test_two_hundred_sidecars_lose_nothing_and_end_consistent(tmp_path: Path) -> None:
    paths = make_sidecars(tmp_path / "sidecars")
    assert len(paths) == N_SIDECARS
    before = tags(tmp_path / "sidecars")
    labels = [OurLabel(name, "lite", "a photo.", 0.9, "2026-11-28") for name in OURS]
    for path in paths:
        data = change(path.read_bytes(), labels).packet
        assert data is not None
        path.write_bytes(data)
        assert change(data, labels).packet == data
    after = tags(tmp_path / "sidecars")
    for old, new in zip(before, after, strict=True):
        assert others(new) == others(old)
        assert len(new["XMP-clipcli:Labels"]) == len(OURS)
        for tag, level in KEYWORD_TAGS.items():
            if tag not in new or level is None:
                continue
            had, has = keywords(old, tag), keywords(new, tag)
            if had:
                assert [one for one in has if one in had] == had
            last = [word_key(one.split(level)[-1] if level else one) for one in has]
            assert [last.count(word) for word in WORDS] == [1, 1, 1], (tag, has)
            assert len(set(last)) == len(last)
    check_exiv2(paths)
    for path in paths:
        data = change(path.read_bytes(), [], clear=True).packet
        assert data is not None
        path.write_bytes(data)
    assert tags(tmp_path / "sidecars") == before


def check_exiv2(paths: list[Path]) -> None:
    """It reads them all, and our words, without a warning. (Its -pX prints no sidecar's packet.)"""
    if shutil.which("exiv2") is None:
        pytest.skip("needs exiv2: apt-get install exiv2")
    done = subprocess.run(
        ["exiv2", "-q", "-px", *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.count("clipcli:label ") == len(OURS) * N_SIDECARS
