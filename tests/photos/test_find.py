"""Which files are tried, in which order, and what becomes of the others."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pictures import DROP_RIGHTS, python, save

from clipcli.errors import UsageError
from clipcli.photos import find
from clipcli.records import Failure, PassedOver, Photo


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    """Files by name; finding opens none of them."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*paths: str, **options: Any) -> list[str]:
    """One word and one path for each record, photographs as the bare path."""
    words = {Photo: "", PassedOver: "passed over ", Failure: "failed "}
    records = find.find_photos(paths, **options)
    return [words[type(record)] + record.path for record in records]


def test_paths_keep_their_order_and_folders_are_by_name() -> None:
    touch("z.jpg", "b/2.jpg", "b/10.jpg", "a/x.jpg", "c.jpg")
    assert found("z.jpg", "b", "a", "c.jpg") == [
        "z.jpg",
        "b/10.jpg",
        "b/2.jpg",
        "a/x.jpg",
        "c.jpg",
    ]


def test_files_and_folders_of_a_folder_are_in_one_order() -> None:
    touch("p/a.jpg", "p/b/1.jpg", "p/b/2.jpg", "p/c.jpg", "p/d/e/1.jpg", "p/z.jpg")
    assert found("p") == [
        "p/a.jpg",
        "p/b/1.jpg",
        "p/b/2.jpg",
        "p/c.jpg",
        "p/d/e/1.jpg",
        "p/z.jpg",
    ]


def test_order_is_by_name_and_not_by_making() -> None:
    names = [f"p/{number:02}.jpg" for number in (7, 3, 11, 1, 5)]
    touch(*names)
    assert found("p") == sorted(names)


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("photos", "photos/a/1.jpg"),
        ("photos/", "photos/a/1.jpg"),
        ("./photos", "./photos/a/1.jpg"),
        ("photos/../photos", "photos/../photos/a/1.jpg"),
        (".", "./photos/a/1.jpg"),
        ("photos/a/1.jpg", "photos/a/1.jpg"),
    ],
)
def test_path_is_as_typed_and_what_lies_below(typed: str, printed: str) -> None:
    touch("photos/a/1.jpg")
    assert found(typed) == [printed]


def test_absolute_path_stays_absolute(here: Path) -> None:
    touch("photos/1.jpg")
    assert found(str(here / "photos")) == [f"{here}/photos/1.jpg"]


def test_links_to_files_are_followed_and_links_to_folders_are_not() -> None:
    touch("elsewhere/1.jpg", "elsewhere/2.jpg", "p/0.jpg")
    os.symlink("../elsewhere/1.jpg", "p/link.jpg")
    os.symlink("../elsewhere", "p/folder")
    os.symlink("../elsewhere", "p/folder.jpg")
    assert found("p") == ["p/0.jpg", "p/link.jpg", "passed over p/folder"]


def test_link_to_a_folder_is_followed_when_it_is_named() -> None:
    touch("elsewhere/1.jpg")
    os.symlink("elsewhere", "link")
    assert found("link") == ["link/1.jpg"]


def test_links_that_go_in_a_circle_end() -> None:
    touch("p/1.jpg")
    os.symlink("../p", "p/parent")
    os.symlink("self.jpg", "p/self.jpg")
    os.symlink("self", "p/self")
    assert found("p", "p/parent") == [
        "p/1.jpg",
        "p/self.jpg",
        "passed over p/parent",
        "passed over p/self",
    ]


def test_link_to_nothing_is_tried() -> None:
    Path("p").mkdir()
    os.symlink("gone.jpg", "p/link.jpg")
    assert found("p") == ["p/link.jpg"]
    assert found("p/link.jpg") == ["p/link.jpg"]


def test_file_reached_twice_is_done_once() -> None:
    touch("p/1.jpg", "p/sub/2.jpg", "p/sub/3.jpg")
    os.symlink("1.jpg", "p/link.jpg")
    os.symlink("p", "other")
    assert found("p/1.jpg", "p/1.jpg", "./p/1.jpg") == ["p/1.jpg"]
    assert found("p/sub/3.jpg", "p/sub", "p", "p", "other") == [
        "p/sub/3.jpg",
        "p/sub/2.jpg",
        "p/1.jpg",
    ]
    assert found("p/link.jpg", "p/1.jpg") == ["p/link.jpg"]


def test_hidden_files_and_folders_are_passed_over() -> None:
    touch("p/.1.jpg", "p/.cache/2.jpg", "p/.cache/deep/3.jpg", "p/4.jpg")
    assert found("p") == [
        "p/4.jpg",
        "passed over p/.1.jpg",
        "passed over p/.cache/2.jpg",
        "passed over p/.cache/deep/3.jpg",
    ]


def test_hidden_folder_is_read_when_it_is_named() -> None:
    touch(".hidden/1.jpg", ".hidden/.2.jpg")
    assert found(".hidden") == [".hidden/1.jpg", "passed over .hidden/.2.jpg"]
    assert found(".", ".hidden") == [".hidden/1.jpg", "passed over ./.hidden/.2.jpg"]


def test_hidden_file_that_is_met_and_named_is_tried_once() -> None:
    touch("p/.1.jpg", "p/2.jpg", "p/notes.txt")
    assert found("p", "p/.1.jpg", "p/notes.txt") == ["p/2.jpg", "p/.1.jpg", "p/notes.txt"]
    assert found("p/.1.jpg", "p") == ["p/.1.jpg", "p/2.jpg", "passed over p/notes.txt"]


def test_link_to_a_hidden_file_is_followed() -> None:
    # as git-annex keeps photographs
    touch("p/.git/annex/SHA256-1.jpg")
    os.symlink(".git/annex/SHA256-1.jpg", "p/cat.jpg")
    assert found("p") == ["p/cat.jpg"]


def test_excluded_globs_are_passed_over_by_name_and_by_path() -> None:
    touch("p/1.jpg", "p/thumb_1.jpg", "p/a/thumb_2.jpg", "p/old/2.jpg", "p/a/old/3.jpg")
    assert found("p", exclude=("thumb_*", "a/old")) == [
        "p/1.jpg",
        "p/old/2.jpg",
        "passed over p/a/old/3.jpg",
        "passed over p/a/thumb_2.jpg",
        "passed over p/thumb_1.jpg",
    ]


def test_excluded_file_is_tried_when_it_is_named() -> None:
    touch("p/1.jpg")
    assert found("p/1.jpg", exclude=("*.jpg",)) == ["p/1.jpg"]


def test_other_suffixes_are_passed_over_in_folders() -> None:
    touch("p/a.txt", "p/b.JPG", "p/c.Jpeg", "p/d.mp4", "p/e", "p/f.png.xmp", "p/g.TIFF")
    assert found("p") == [
        "p/b.JPG",
        "p/c.Jpeg",
        "p/g.TIFF",
        "passed over p/a.txt",
        "passed over p/d.mp4",
        "passed over p/e",
        "passed over p/f.png.xmp",
    ]


def test_what_is_passed_over_has_its_reason() -> None:
    touch("p/.h/x/1.jpg", "p/.2.jpg", "p/thumb_3.jpg", "p/old/4.jpg", "p/notes.txt", "p/plain")
    os.symlink("old", "p/link")
    records = find.find_photos(["p"], exclude=["thumb_*", "old"])
    assert {one.path: one.reason for one in records if isinstance(one, PassedOver)} == {
        "p/.h/x/1.jpg": "in a folder that is hidden",
        "p/.2.jpg": "hidden",
        "p/thumb_3.jpg": "excluded by thumb_*",
        "p/old/4.jpg": "in a folder that is excluded by old",
        "p/notes.txt": "the suffix .txt is no picture's",
        "p/plain": "no suffix, so no picture's",
        "p/link": "a link to a folder",
    }


def test_any_named_file_is_tried() -> None:
    touch(".hidden.jpg", "notes.txt", "raw.NEF", "plain")
    names = [".hidden.jpg", "notes.txt", "raw.NEF", "plain"]
    assert found(*names) == names


def test_what_no_package_reads_is_failed_with_advice() -> None:
    touch("p/2.jxl")
    reason = ".jxl pictures cannot be read; export them as JPEG or PNG"
    assert list(find.find_photos(["p"])) == [Failure("p/2.jxl", reason)]


def test_camera_raw_alone_is_failed_with_advice_where_rawpy_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)  # Python's way to say: not installed
    touch("p/1.NEF", "p/2.NEF", "p/2.JPG")
    advice = 'install it with: pip install "clipcli[raw]"'
    reason = f"camera raw files (.nef) need the package rawpy; {advice}"
    assert list(find.find_photos(["p"])) == [
        Failure("p/1.NEF", reason),
        Photo("p/2.JPG"),
        PassedOver("p/2.NEF", "raw of 2.JPG"),
    ]


def test_camera_raw_beside_its_jpeg_counts_once() -> None:
    touch("p/1.CR2", "p/1.JPG", "p/2.dng", "p/2.heic", "p/3.cr3", "p/3.png", "p/4.NEF")
    touch("p/5.nef", "p/q/5.jpg", "p/q/6.raf", "p/q/6.jpeg", "p/7.nef", "p/7.jpg/8.jpg")
    left = ["p/1.CR2", "p/2.dng", "p/q/6.raf"]
    tried = [path for path in found("p", raw="always") if path not in left]
    assert found("p") == [*tried, *(f"passed over {path}" for path in left)]
    assert {"p/3.cr3", "p/4.NEF", "p/5.nef", "p/7.nef"} < {*tried}
    assert {*left} < {*found("p", raw="always")}
    assert found("p/1.CR2", "p/1.JPG") == ["p/1.CR2", "p/1.JPG"]  # named, so always tried
    assert found("p", "p/1.CR2")[-3:] == ["p/1.CR2", *(f"passed over {path}" for path in left[1:])]


def test_camera_raw_is_tried_where_its_jpeg_is_not() -> None:
    touch("p/1.CR2", "p/1.jpg", "p/1_edit.jpg")
    assert found("p", exclude=["1.jpg"]) == ["p/1.CR2", "p/1_edit.jpg", "passed over p/1.jpg"]


def test_heic_is_tried_where_pillow_heif_is_installed() -> None:
    pytest.importorskip("pillow_heif")
    touch("p/1.HEIC")
    assert found("p") == ["p/1.HEIC"]


def test_heic_is_failed_with_advice_where_pillow_heif_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # Python's way to say: not installed
    touch("p/1.HEIC")
    advice = 'install it with: pip install "clipcli[heif]"'
    reason = f"HEIF pictures need the package pillow-heif; {advice}"
    assert list(find.find_photos(["p"])) == [Failure("p/1.HEIC", reason)]


def test_missing_path_fails_and_the_others_go_on() -> None:
    touch("a.jpg", "b.jpg")
    assert list(find.find_photos(["a.jpg", "gone", "b.jpg", "gone"])) == [
        Photo("a.jpg"),
        Failure("gone", "no such file or folder"),
        Photo("b.jpg"),
    ]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("https://example.org/a.jpg", "nothing is downloaded, expected a file on this machine"),
        ("~/a.jpg", "~ is your home folder only where it is not in quotes"),
        ("p\\a.jpg", "did you mean p/a.jpg"),
        ("p/*.jpg", "a pattern is for the shell, without quotes; expected a file or a folder"),
    ],
)
def test_a_missing_path_that_means_something_elsewhere_says_what(path: str, hint: str) -> None:
    assert list(find.find_photos([path])) == [Failure(path, f"no such file or folder; {hint}")]
    touch(path)
    assert list(find.find_photos([path])) == [Photo(path)]


def test_empty_path_is_refused() -> None:
    with pytest.raises(UsageError, match="an empty PATH"):
        list(find.find_photos([""]))


def test_empty_folder_has_nothing() -> None:
    Path("p/q").mkdir(parents=True)
    assert found("p") == []


def test_a_path_without_a_photograph_can_be_a_failure() -> None:
    touch("p/1.jpg", "texts/a.txt", "raw/1.jxl")
    Path("empty").mkdir()
    paths = ["p", "p", "empty", "texts", "empty", "raw", "p/1.jpg"]
    records = find.find_photos(paths, empty_fails=True)
    assert [one.path for one in records if isinstance(one, Failure)] == [
        "empty",
        "texts",
        "raw/1.jxl",
    ]


def test_folder_that_may_not_be_read_fails_once_and_the_others_go_on(here: Path) -> None:
    touch("p/a/1.jpg", "p/b/2.jpg", "p/c/3.jpg", "p/.hidden/4.jpg")
    here.chmod(0o755)
    Path("p/b").chmod(0)
    Path("p/.hidden").chmod(0)
    code = "import os\nfrom clipcli.photos import find\n" + DROP_RIGHTS
    code += "for record in find.find_photos(['p', 'p/b', 'p']): print(record)"
    try:
        assert python(code, here).splitlines() == [
            "Photo(path='p/a/1.jpg')",
            "Failure(path='p/b', error='folder cannot be read: Permission denied')",
            "Photo(path='p/c/3.jpg')",
        ]
    finally:
        Path("p/b").chmod(0o755)
        Path("p/.hidden").chmod(0o755)


def test_link_into_a_folder_that_may_not_be_read_is_tried(here: Path) -> None:
    touch("closed/1.jpg", "p/2.jpg")
    os.symlink("../closed/1.jpg", "p/link.jpg")
    here.chmod(0o755)
    Path("closed").chmod(0)
    code = "import os\nfrom clipcli.photos import find\n" + DROP_RIGHTS
    code += "for record in find.find_photos(['p']): print(record)"
    try:
        assert python(code, here).splitlines() == [
            "Photo(path='p/2.jpg')",
            "Photo(path='p/link.jpg')",
        ]
    finally:
        Path("closed").chmod(0o755)


def test_no_recursive_stays_in_the_folder() -> None:
    touch("p/1.jpg", "p/a/2.jpg", "p/z.jpg")
    assert found("p", recursive=False) == ["p/1.jpg", "p/z.jpg"]


def test_names_that_are_not_utf8_or_have_newlines_are_kept() -> None:
    odd = os.fsdecode(b"p/caf\xe9.jpg")
    touch(odd, "p/two\nlines.jpg", "p/\u732b.jpg", "p/ .jpg")
    assert found("p") == ["p/ .jpg", odd, "p/two\nlines.jpg", "p/\u732b.jpg"]


def test_special_files_are_tried_and_not_opened_here() -> None:
    Path("p").mkdir()
    os.mkfifo("p/pipe.jpg")
    os.mkfifo("p/pipe")
    assert found("p") == ["p/pipe.jpg", "passed over p/pipe"]


def test_list_of_paths_is_one_a_line() -> None:
    listed = io.BytesIO(b"a b.jpg\n\ncaf\xe9.jpg\r\n \nlast.jpg")
    assert find.read_path_list(listed, nul_separated=False) == [
        "a b.jpg",
        "caf\udce9.jpg",
        " ",
        "last.jpg",
    ]


def test_list_of_paths_can_be_nul_separated() -> None:
    listed = io.BytesIO(b"two\nlines.jpg\0\0a\r\0caf\xe9.jpg\0")
    assert find.read_path_list(listed, nul_separated=True) == [
        "two\nlines.jpg",
        "a\r",
        "caf\udce9.jpg",
    ]


def test_nul_separated_list_without_the_option_is_refused() -> None:
    with pytest.raises(UsageError, match="pass -0"):
        find.read_path_list(io.BytesIO(b"a.jpg\0b.jpg\0"), nul_separated=False)


def test_every_file_is_exactly_one_record() -> None:
    for folder in ("p", "p/a", "p/.h", "p/b", "p/b/.h/c"):
        for name in ("1.jpg", ".2.jpg", "3.txt", "4.jxl", "5.PNG", "thumb.gif", "6.jpg~"):
            touch(f"{folder}/{name}")
    save(Path("p/a/real.png"))
    os.symlink("a/1.jpg", "p/link.jpg")  # the same file as p/a/1.jpg
    records = [*find.find_photos(["p/b", "p", "p/a/.2.jpg", "p/b"], exclude=["thumb*"])]
    files = [os.path.realpath(f"{top}/{name}") for top, _, names in os.walk("p") for name in names]
    assert sorted(os.path.realpath(record.path) for record in records) == sorted(set(files))
    kinds = [type(record) for record in records]
    assert {kind: kinds.count(kind) for kind in (Photo, PassedOver, Failure)} == {
        Photo: 8,  # two in each of p, p/a and p/b, real.png, and .2.jpg, which is named
        PassedOver: 25,
        Failure: 3,
    }
