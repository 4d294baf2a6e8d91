"""Labels inside photographs: what is written, and what stays as it was. CLIPCLI_N_COPIES makes the
album larger than usual."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from photographs import exiftool, listed, make_album, needs_exiftool, save_photograph
from pictures import save, save_frames
from PIL import Image

from clipcli.errors import KeywordsError
from clipcli.keywords.embed import OtherFormatError, embed_keywords
from clipcli.keywords.exiftool import ExifTool, find_exiftool
from clipcli.keywords.provenance import OurLabel
from clipcli.photos.same_pixels import same_pixels

pytestmark = needs_exiftool
N_COPIES = int(os.environ.get("CLIPCLI_N_COPIES", 1))  # 5 make 100 photographs
LABELS = [OurLabel("animal/dog", "lite", "a photo of a dog.", 0.91), OurLabel("bière", "lite")]
KEYWORDS = re.compile(
    "XMP-(dc:Subject|lr:HierarchicalSubject|digiKam:TagsList)|IPTC:Keywords", re.IGNORECASE
)
# the system's, offsets, the order of bytes, that WebP with tags is another kind of WebP, and what
# goes with the fields that are written
CHANGES = re.compile(
    r"SourceFile|System:|ExifTool:|.*(Offsets?|Start)$|File:(ExifByteOrder|CurrentIPTCDigest)"
    r"|XMP-clipcli:|XMP-x:XMPToolkit|Photoshop:IPTCDigest|RIFF:WebP_Flags|File:FileType$"
    r"|IPTC:(CodedCharacterSet|EnvelopeRecordVersion|ApplicationRecordVersion)"
)
Tags = dict[str, Any]


@dataclass(frozen=True)
class Album:
    """Photographs and their tags: at first, with our labels, and without them again."""

    photos: list[Path]
    before: list[Tags]
    labelled: list[Tags]
    cleared: list[Tags]
    times: list[set[int]]


@pytest.fixture(scope="module")
def exiftool_process() -> Iterator[ExifTool]:
    with ExifTool(find_exiftool()) as process:
        yield process


@pytest.fixture(scope="module")
def album(exiftool_process: ExifTool, tmp_path_factory: pytest.TempPathFactory) -> Album:
    photos = make_album(tmp_path_factory.mktemp("album") / "photos", N_COPIES)
    before, times = listed(photos), [{photo.stat().st_mtime_ns} for photo in photos]
    for photo in photos:
        assert embed_keywords(str(photo), LABELS, exiftool_process).is_changed
    labelled = listed(photos)
    for photo, seen in zip(photos, times, strict=True):
        seen.add(photo.stat().st_mtime_ns)
        assert same_pixels(str(photo), f"{photo}_original")
        embed_keywords(str(photo), [], exiftool_process, clear=True)
        assert same_pixels(str(photo), f"{photo}_original")
    return Album(photos, before, labelled, listed(photos), times)


def _others(tags: Tags) -> Tags:
    return {key: tags[key] for key in tags if not CHANGES.match(key) and not KEYWORDS.match(key)}


def _keywords(tags: Tags) -> Tags:
    return {key: tags[key] for key in tags if KEYWORDS.match(key)}


def test_photographs_keep_every_other_tag_and_their_times(album: Album) -> None:
    assert len(album.photos) == 20 * N_COPIES
    assert [_others(one) for one in album.labelled] == [_others(one) for one in album.before]
    assert [_others(one) for one in album.cleared] == [_others(one) for one in album.before]
    assert {len(seen) for seen in album.times} == {1}
    known = {key for tags in album.before for key in _others(tags)}
    assert {"ICC_Profile:ProfileDescription", "GPS:GPSLatitude"} < known
    assert {"XMP-mwg-rs:RegionInfo", "XMP-crs:Exposure2012"} < known
    assert {"IFD0:Make", "SubIFD:StripByteCounts", "IPTC:Caption-Abstract"} < known
    assert any("MakerNote" in key for key in known), known


def test_keywords_are_read_back_beside_those_of_others(album: Album) -> None:
    for photo, tags in zip(album.photos, album.labelled, strict=True):
        words = {
            "bare": ["dog", "bière"],
            "latin": ["été", True, "dog", "bière"] if photo.suffix == ".jpg" else ["dog", "bière"],
            "levels": ["Dog", "日本", "bière"],
            "developed": ["Zürich", "dog", "bière"],
        }[photo.stem[:-1]]
        assert tags["XMP-dc:Subject"] == words, photo
        if photo.suffix == ".jpg":
            assert tags["IPTC:Keywords"] == words
            assert tags["IPTC:CodedCharacterSet"] == "UTF8"
        else:
            assert "IPTC:Keywords" not in tags
        dog = "Dog" if photo.stem.startswith("levels") else "animal/dog"
        assert dog in tags["XMP-digiKam:TagsList"]


def test_clear_brings_the_keyword_fields_back(album: Album) -> None:
    assert [_keywords(one) for one in album.cleared] == [_keywords(one) for one in album.before]
    assert not any("clipcli" in key for tags in album.cleared for key in tags)


def test_a_digest_of_iptc_that_told_the_truth_still_does(album: Album) -> None:
    with_digest = [tags for tags in album.labelled if "Photoshop:IPTCDigest" in tags]
    assert len(with_digest) == N_COPIES
    for tags in with_digest:
        assert tags["Photoshop:IPTCDigest"] == tags["File:CurrentIPTCDigest"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    save_photograph(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_nothing_is_written_a_second_time(photo: Path, exiftool_process: ExifTool) -> None:
    embed_keywords(str(photo), LABELS, exiftool_process)
    inode, data = photo.stat().st_ino, photo.read_bytes()
    for _ in range(3):
        embed_keywords(str(photo), LABELS, exiftool_process)
    assert (photo.stat().st_ino, photo.read_bytes()) == (inode, data)


def test_the_first_original_is_kept_and_none_where_none_is_wanted(
    photo: Path, exiftool_process: ExifTool
) -> None:
    original = Path(f"{photo}_original")
    embed_keywords(str(photo), LABELS[:1], exiftool_process, keeps_original=False)
    assert not original.exists()
    data = photo.read_bytes()
    embed_keywords(str(photo), LABELS[1:], exiftool_process)
    embed_keywords(str(photo), [], exiftool_process, clear=True)
    assert original.read_bytes() == data
    assert sorted(one.name for one in photo.parent.iterdir()) == [photo.name, original.name]


def test_mode_and_owner_stay_and_a_link_stays_a_link(
    photo: Path, tmp_path: Path, exiftool_process: ExifTool
) -> None:
    photo.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(photo, 1234, 1235)
    before, link = photo.stat(), tmp_path / "link.jpg"
    link.symlink_to(photo.name)
    embed_keywords(str(link), LABELS, exiftool_process)
    after = photo.stat()
    assert link.is_symlink()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns) == (
        (before.st_mode, before.st_uid, before.st_gid, before.st_mtime_ns)
    )


def test_names_reach_exiftool_as_they_are(tmp_path: Path, exiftool_process: ExifTool) -> None:
    names = [b"-a.jpg", b"a\nb \\.jpg", b"\xff\xe9.jpg", b"%d $HOME @x.jpg", b" # .jpg", b"#.jpg"]
    for name in names:
        photo = os.path.join(os.fsencode(tmp_path), name)
        save_photograph(tmp_path / "photo.jpg")
        os.rename(tmp_path / "photo.jpg", photo)
        embed_keywords(os.fsdecode(photo), LABELS, exiftool_process)
        assert (
            exiftool_process.read("-s3", "-Subject", os.fsdecode(photo)) == "dog, bière\n".encode()
        )
    assert len([*tmp_path.iterdir()]) == 2 * len(names)
    with pytest.raises(KeywordsError, match="line end"):
        embed_keywords(os.fsdecode(_renamed(tmp_path, b"a\n$.jpg")), LABELS, exiftool_process)


def _renamed(folder: Path, name: bytes) -> bytes:
    save_photograph(folder / "photo.jpg")
    path = os.path.join(os.fsencode(folder), name)
    os.rename(folder / "photo.jpg", path)
    return path


def test_what_cannot_be_written_stays_untouched_in_one_line(
    photo: Path, tmp_path: Path, exiftool_process: ExifTool
) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(photo.read_bytes()[:700])
    read_only, linked, other = (tmp_path / f"{name}.jpg" for name in ("read", "linked", "other"))
    save_photograph(read_only)
    save_photograph(linked)
    read_only.chmod(0o444)
    other.hardlink_to(linked)
    extended = tmp_path / "extended.jpg"
    save_photograph(extended)
    long = tmp_path / "long"
    long.write_text("x" * 70_000)
    exiftool("-overwrite_original", f"-XMP-dc:Description<={long}", extended)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.jpg")}
    for path, why in {
        damaged: "exiftool: |cannot be compared",
        read_only: "read-only",
        linked: "1 other name for this file",
        extended: "extended XMP",
        tmp_path / "gone.jpg": "No such file",
    }.items():
        with pytest.raises(KeywordsError, match=why) as raised:
            embed_keywords(str(path), LABELS, exiftool_process)
        assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.jpg*")} == before


def test_other_formats_are_left_alone(tmp_path: Path, exiftool_process: ExifTool) -> None:
    for name in ("a.gif", "a.bmp", "a.jp2"):
        photo = save(tmp_path / name)
        with pytest.raises(OtherFormatError, match="JPEG, TIFF, PNG, WebP and DNG only"):
            embed_keywords(str(photo), LABELS, exiftool_process)
    assert len([*tmp_path.iterdir()]) == 3


def test_all_pages_and_frames_are_compared(tmp_path: Path) -> None:
    for name, format in (("a.tif", "TIFF"), ("a.png", "PNG"), ("a.webp", "WEBP")):
        options = {"lossless": True} if format == "WEBP" else {}
        one, other = tmp_path / f"1{name}", tmp_path / f"2{name}"
        save_frames(one, format, ["red", "green", "blue"], **options)
        save_frames(other, format, ["red", "green", "black"], **options)
        assert same_pixels(str(one), str(one))
        assert not same_pixels(str(one), str(other))


def test_colours_of_a_palette_are_compared(tmp_path: Path) -> None:
    paths = []
    for colour in ("red", "blue"):
        picture = Image.new("RGB", (8, 8), colour).quantize(2)
        paths.append(str(save(tmp_path / f"{colour}.png", picture)))
    assert same_pixels(paths[0], paths[0])
    assert not same_pixels(*paths)


def test_a_keyword_longer_than_iptc_allows_is_cut_there_alone(
    photo: Path, exiftool_process: ExifTool
) -> None:
    name = "ü" * 40
    embed_keywords(str(photo), [OurLabel(name)], exiftool_process)
    (tags,) = listed([photo])
    assert (tags["XMP-dc:Subject"], tags["IPTC:Keywords"]) == ([name], name[:32])
    assert not embed_keywords(str(photo), [OurLabel(name)], exiftool_process).is_changed


def test_a_dry_run_says_what_would_change(photo: Path, exiftool_process: ExifTool) -> None:
    data = photo.read_bytes()
    changed = embed_keywords(str(photo), LABELS, exiftool_process, dry_run=True)
    assert changed.added == ("animal/dog", "bière")
    assert photo.read_bytes() == data
    assert [*photo.parent.iterdir()] == [photo]
