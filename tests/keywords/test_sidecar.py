"""Which file is a photograph's sidecar, and how it is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pictures import DROP_RIGHTS, python

from clipcli.errors import KeywordsError
from clipcli.keywords.provenance import OurLabel
from clipcli.keywords.sidecar import Sidecars, _replace

DOG = [OurLabel("dog", "lite", "a photo of a dog.", 0.9, "2026-11-28")]
RATED = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def files(folder: Path, *names: str) -> list[str]:
    """Make photographs, of which nothing but the name is needed, and sidecars of others."""
    for name in names:
        is_sidecar = name.lower().endswith(".xmp")
        (folder / name).write_text(RATED if is_sidecar else "")
    return [str(folder / name) for name in names]


@pytest.mark.parametrize(
    ("there", "is_adobe", "expected"),
    [
        ([], False, "a.jpg.xmp"),
        ([], True, "a.xmp"),
        (["a.xmp"], False, "a.xmp"),
        (["a.XMP"], False, "a.XMP"),
        (["a.jpg.xmp"], True, "a.jpg.xmp"),
        (["a.jpg.Xmp"], True, "a.jpg.Xmp"),
        (["a.xmp", "a.jpg.xmp"], True, "a.jpg.xmp"),
        (["A.xmp", "a.JPG.xmp", "b.xmp"], False, "a.jpg.xmp"),
    ],
)
def test_a_sidecar_that_is_there_is_used(
    tmp_path: Path, there: list[str], is_adobe: bool, expected: str
) -> None:
    photo, *_ = files(tmp_path, "a.jpg", *there)
    Sidecars(is_adobe).label(photo, DOG)
    assert b"dog" in (tmp_path / expected).read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted({"a.jpg", expected, *there})


def test_a_raw_file_and_its_jpeg_share_a_sidecar_that_the_first_of_them_fills(
    tmp_path: Path,
) -> None:
    raw, jpeg = files(tmp_path, "a.CR2", "a.JPG")
    sidecars = Sidecars(is_adobe=True)
    assert sidecars.label(jpeg, DOG).added == ("dog",)
    assert not sidecars.label(raw, [OurLabel("cat")]).is_changed
    assert b"dog" in (tmp_path / "a.xmp").read_bytes()
    assert Sidecars().label(raw, [OurLabel("cat")]).added == ("cat",)


@pytest.mark.parametrize("is_adobe", [True, False])
def test_other_photographs_of_one_stem_are_named_and_share_none(
    tmp_path: Path, is_adobe: bool
) -> None:
    jpeg, _ = files(tmp_path, "a.jpg", "a.png", *([] if is_adobe else ["a.xmp"]))[:2]
    before = sorted(os.listdir(tmp_path))
    sidecars = Sidecars(is_adobe)
    with pytest.raises(KeywordsError) as caught:
        sidecars.label(jpeg, DOG)
    assert str(caught.value) == (
        "a.xmp would be the sidecar of a.png too; rename one of them, or give each its own, as"
        " a.jpg.xmp"
    )
    assert sorted(os.listdir(tmp_path)) == before
    assert not sidecars.label(jpeg, []).is_changed  # nothing of ours to take back


def test_what_is_no_sidecar_is_refused_only_where_there_is_something_to_write(
    tmp_path: Path,
) -> None:
    (photo,) = files(tmp_path, "a.jpg")
    sidecar = tmp_path / "a.jpg.xmp"
    sidecar.write_bytes(b"\x00 no xml")
    assert not Sidecars().label(photo, []).is_changed
    with pytest.raises(KeywordsError, match=r"a\.jpg\.xmp: damaged XML"):
        Sidecars().label(photo, DOG)
    assert sidecar.read_bytes() == b"\x00 no xml"
    sidecar.unlink()
    sidecar.mkdir()
    with pytest.raises(KeywordsError, match=r"a\.jpg\.xmp is no file; expected a sidecar"):
        Sidecars().label(photo, DOG)
    sidecar.rmdir()
    target = tmp_path / "elsewhere"
    for text in (None, RATED):
        if text:
            target.write_text(text)
        sidecar.unlink(missing_ok=True)
        sidecar.symlink_to(target)
        with pytest.raises(KeywordsError, match=r"a\.jpg\.xmp is a link; expected a sidecar"):
            Sidecars().label(photo, DOG)
    assert target.read_text() == RATED


def test_the_rights_of_a_sidecar_stay_and_one_that_is_read_only_stays_as_it_was(
    tmp_path: Path,
) -> None:
    photo, sidecar = files(tmp_path, "a.jpg", "a.jpg.xmp")
    os.chmod(sidecar, 0o640)
    Sidecars().label(photo, DOG)
    assert stat.S_IMODE(os.stat(sidecar).st_mode) == 0o640
    os.chmod(sidecar, 0o440)
    for dry_run in (False, True):
        with pytest.raises(KeywordsError) as caught:
            Sidecars().label(photo, [], dry_run=dry_run)
        assert str(caught.value) == "a.jpg.xmp is read-only; chmod u+w lets it be written"
    assert "dog" in Path(sidecar).read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_the_owner_of_a_sidecar_stays() -> None:
    with TemporaryDirectory() as name:  # pytest's own would keep others out
        folder = Path(name)
        photo, sidecar = files(folder, "a.jpg", "a.jpg.xmp")
        os.chown(sidecar, 65534, 65534)
        Sidecars().label(photo, DOG)
        assert os.stat(sidecar).st_uid == 65534
        os.chown(sidecar, 0, 0)
        os.chmod(sidecar, 0o666)
        before = Path(sidecar).read_bytes()
        folder.chmod(0o777)
        told = python(
            f"import os\nfrom clipcli.keywords.sidecar import Sidecars\n{DROP_RIGHTS}\n"
            "try:\n    Sidecars().label('a.jpg', [])\nexcept Exception as error:\n    print(error)",
            folder,
        )
        assert told == (
            "a.jpg.xmp belongs to another user, and cannot be replaced: Operation not permitted\n"
        )
        assert Path(sidecar).read_bytes() == before
        assert sorted(os.listdir(folder)) == ["a.jpg", "a.jpg.xmp"]


def test_all_of_ours_is_taken_back_wherever_it_stands(tmp_path: Path) -> None:
    jpeg, _ = files(tmp_path, "a.jpg", "a.xmp")
    Sidecars().label(jpeg, DOG)
    assert b"dog" in (tmp_path / "a.xmp").read_bytes()
    files(tmp_path, "a.jpg.xmp", "a.png")  # another program's, and another photograph
    sidecars = Sidecars()
    paths = sidecars.all_of(jpeg)
    assert [os.path.basename(path) for path in paths] == ["a.jpg.xmp", "a.xmp"]
    changed = [sidecars.label(jpeg, [], path, clear=True) for path in paths]
    assert [one.taken_back for one in changed] == [(), ("dog",)]
    assert b"dog" not in (tmp_path / "a.xmp").read_bytes()


def test_what_another_program_wrote_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_text(RATED)
    for packet in (b"<new/>", None):
        with pytest.raises(KeywordsError, match="was changed by another program meanwhile"):
            _replace(path, b"<old/>", packet)
    assert path.read_text() == RATED
    assert os.listdir(tmp_path) == ["a.jpg.xmp"]


def test_a_sidecar_of_ours_goes_when_it_says_nothing_more(tmp_path: Path) -> None:
    photo, other, sidecar = files(tmp_path, "a.jpg", "b.jpg", "b.jpg.xmp")
    sidecars = Sidecars()
    sidecars.label(photo, DOG)
    sidecars.label(other, DOG)
    assert sidecars.label(photo, [], dry_run=True).taken_back == ("dog",)
    assert (tmp_path / "a.jpg.xmp").exists()
    sidecars.label(photo, [])
    sidecars.label(other, [])
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "b.jpg", "b.jpg.xmp"]
    assert "Rating" in Path(sidecar).read_text()
    sidecars.label(photo, DOG)
    assert (tmp_path / "a.jpg.xmp").exists()
