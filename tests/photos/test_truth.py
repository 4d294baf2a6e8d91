"""Labelled photographs from folders and CSVs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pictures import save

from clipcli.errors import UsageError
from clipcli.files.table_columns import Columns
from clipcli.labels.folder_labels import model_words
from clipcli.photos.truth import COLUMNS, LabelledPhoto, Truth, read_truth
from clipcli.records import PassedOver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dogs, one of them deeper, a polar bear, and what is no photograph."""
    for name in ("dog/b.png", "dog/puppies/a.png", "polar_bear/c.png", "dog/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("barks")
    (tmp_path / ".git").mkdir()
    save(tmp_path / ".git" / "d.png")
    return tmp_path


def write_csv(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def chosen(path: str | None, label: str | None) -> Columns:
    return Columns(("path", "label"), (path, label))


def message(path: object, columns: Columns = COLUMNS) -> str:
    with pytest.raises(UsageError) as raised:
        read_truth(str(path), columns=columns)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_sub_folders_are_the_labels_of_what_lies_anywhere_below_them(folder: Path) -> None:
    assert read_truth(str(folder)) == Truth(
        [
            LabelledPhoto(f"{folder}/dog/b.png", "dog"),
            LabelledPhoto(f"{folder}/dog/puppies/a.png", "dog"),
            LabelledPhoto(f"{folder}/polar_bear/c.png", "polar_bear"),
        ],
        [],
        ["dog", "polar_bear"],
        [
            PassedOver(f"{folder}/.git/d.png", "in a folder that is hidden"),
            PassedOver(f"{folder}/dog/.hidden.png", "hidden"),
            PassedOver(f"{folder}/dog/notes.txt", "the suffix .txt is no picture's"),
        ],
    )


def test_the_model_reads_a_folders_underscores_as_spaces() -> None:
    assert model_words("polar_bear") == "polar bear"


def test_a_label_may_be_a_link_to_a_folder_elsewhere(folder: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "bear").symlink_to(folder / "polar_bear")
    assert read_truth(str(album)).photos == [LabelledPhoto(f"{album}/bear/c.png", "bear")]


def test_a_link_that_leads_back_to_the_folder_is_no_label(folder: Path) -> None:
    expected = read_truth(str(folder))
    for name, target in [("all", "."), ("above", ".."), ("again", str(folder))]:
        (folder / name).symlink_to(target)
    truth = read_truth(str(folder))
    assert (truth.photos, truth.failures, truth.labels) == (
        *(expected.photos, expected.failures, expected.labels),
    )
    assert {*truth.passed_over} - {*expected.passed_over} == {
        PassedOver(f"{folder}/{name}", "a link to a folder") for name in ("above", "again")
    }  # `all` is `again`


def test_what_lies_in_a_folder_that_is_no_label_is_passed_over_by_name(folder: Path) -> None:
    (folder / "about.txt").write_text("by hand")
    truth = read_truth(str(folder), exclude=["polar*"])
    assert truth.labels == ["dog"]
    why = {Path(one.path).name: one.reason for one in truth.passed_over}
    assert why == {
        "d.png": "in a folder that is hidden",
        ".hidden.png": "hidden",
        "notes.txt": "the suffix .txt is no picture's",
        "about.txt": "the suffix .txt is no picture's",
        "c.png": "in a folder that is excluded by polar*",
    }


def test_only_what_is_asked_for_is_found(folder: Path) -> None:
    without_puppies = read_truth(str(folder), recursive=False)
    assert [Path(one.path).name for one in without_puppies.photos] == ["b.png", "c.png"]
    assert read_truth(str(folder), exclude=["polar*"]).labels == ["dog"]
    assert len(read_truth(str(folder), exclude=["b.png"]).photos) == 2


def test_a_photograph_outside_the_labels_is_failed_and_so_is_an_unreadable_suffix(
    folder: Path,
) -> None:
    save(folder / "stray.png")
    (folder / "dog" / "new.jxl").write_bytes(b"new")
    truth = read_truth(str(folder))
    reasons = {Path(failure.path).name: failure.error for failure in truth.failures}
    assert "in no label's folder" in reasons["stray.png"]
    assert ".jxl pictures" in reasons["new.jxl"]
    assert len(truth.photos) == 3


def test_a_label_without_a_photograph_is_a_label(folder: Path) -> None:
    (folder / "cat").mkdir()
    assert read_truth(str(folder)).labels == ["cat", "dog", "polar_bear"]


@pytest.mark.parametrize("header", ["path,label\n", "", "\ufeffPath, Label\n"])
def test_a_csv_names_photographs_beside_it(folder: Path, header: str) -> None:
    path = write_csv(folder / "truth.csv", f"{header}dog/b.png,dog\n\npolar_bear/c.png,ice bear\n")
    truth = read_truth(path)
    assert truth.photos == [
        LabelledPhoto(f"{folder}/dog/b.png", "dog"),
        LabelledPhoto(f"{folder}/polar_bear/c.png", "ice bear"),
    ]
    assert truth.labels == ["dog", "ice bear"]


def test_a_header_says_which_column_is_which(folder: Path) -> None:
    path = write_csv(folder / "truth.csv", "label,seen,path\ndog,2026,dog/b.png\n")
    assert read_truth(path).photos == [LabelledPhoto(f"{folder}/dog/b.png", "dog")]


def test_a_header_of_unknown_names_is_no_photograph(folder: Path) -> None:
    path = write_csv(folder / "truth.csv", "bild,klasse\ndog/b.png,dog\npolar_bear/c.png,bear\n")
    said = message(path)
    assert "line 1: bild is no photograph, and no name that is known" in said
    assert "--path-column and --label-column which of bild, klasse" in said


@pytest.mark.parametrize(
    ("text", "path", "label"),
    [
        ('\ufeffid;"Bild";art\r\n1;"dog/b.png";dog\r\n2;gone.png;cat\r\n', "bild", "art"),
        ("art|bild|id\ndog|dog/b.png|1\ncat|gone.png|2\n", "2", "1"),
        ("dog,dog/b.png\ncat,gone.png\n", "2", None),
        # a first photograph that is missing is no header
        ("cat,gone.png,\ndog,dog/b.png,\n", "2", "1"),
        # nor is a folder that is called like a column a photograph
        ("dog,polar_bear\ndog/b.png,dog\ngone.png,cat\n", "1", "2"),
    ],
)
def test_columns_are_chosen_by_name_or_number(
    folder: Path, text: str, path: str, label: str | None
) -> None:
    table = write_csv(folder / "truth.csv", text)
    truth = read_truth(table, columns=chosen(path, label))
    assert truth.photos == [LabelledPhoto(f"{folder}/dog/b.png", "dog")]
    assert [failure.path for failure in truth.failures] == ["gone.png"]
    assert truth.labels == ["cat", "dog"]


def test_columns_that_cannot_be_chosen_are_refused(folder: Path) -> None:
    table = write_csv(folder / "truth.csv", "id,bild,art\n1,dog/b.png,dog\n")
    assert message(table, chosen("foto", "art")) == (
        f"{table}, line 1: no column foto; expected --path-column with one of id, bild, art, or a"
        " number, 1 to 3"
    )
    assert message(folder, chosen(None, "2")) == (
        f"{folder}: a folder has no columns; leave --label-column out"
    )


def test_a_path_is_looked_for_beside_the_csv_before_the_working_directory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = tmp_path / "lists"
    (lists / "dog").mkdir(parents=True)
    save(lists / "dog" / "b.png")
    rows = f"dog/b.png,dog\npolar_bear/c.png,bear\n{folder}/dog/puppies/a.png,dog\n"
    path = write_csv(lists / "truth.csv", rows)
    monkeypatch.chdir(folder)
    assert [one.path for one in read_truth(path).photos] == [
        f"{lists}/dog/b.png",
        "polar_bear/c.png",
        f"{folder}/dog/puppies/a.png",
    ]


def test_a_row_whose_photograph_is_nowhere_is_failed_by_name(folder: Path) -> None:
    path = write_csv(folder / "truth.csv", "path,label\ndog/b.png,dog\ngone.png,cat\n")
    truth = read_truth(path)
    (failure,) = truth.failures
    assert failure.path == "gone.png"
    assert "neither beside truth.csv nor in the working directory" in failure.error
    assert [one.label for one in truth.photos] == ["dog"]
    assert truth.labels == ["cat", "dog"]


def test_a_photograph_given_twice_counts_once_and_may_not_change_its_label(folder: Path) -> None:
    path = write_csv(folder / "truth.csv", "dog/b.png,dog\ndog/b.png,dog\n")
    assert len(read_truth(path).photos) == 1
    write_csv(folder / "truth.csv", "dog/b.png,dog\ndog/b.png,cat\n")
    assert "line 2: dog/b.png is cat here and dog above" in message(path)


def test_names_with_commas_and_line_ends_are_quoted(folder: Path) -> None:
    save(folder / "a, b\u2028.png")
    path = write_csv(folder / "truth.csv", '"a, b\u2028.png","dog, wet"\r\ndog/b.png,dog\r\n')
    truth = read_truth(path)
    assert truth.failures == []
    assert truth.labels == ["dog", "dog, wet"]


def test_a_path_that_is_no_utf8_is_found(folder: Path) -> None:
    name = b"caf\xe9.png"
    os.rename(save(folder / "cafe.png"), os.path.join(os.fsencode(folder), name))
    (folder / "truth.csv").write_bytes(b"path,label\n" + name + b",cup\n")
    (photo,) = read_truth(str(folder / "truth.csv")).photos
    assert os.path.basename(os.fsencode(photo.path)) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no labelled photograph"),
        ("path,label\n", "no labelled photograph"),
        ("a.png\n", "line 1: 1 columns instead of 2"),
        ("path,label\na.png,dog,brown\n", "line 2: 3 columns instead of 2"),
        ("a.png,dog\nb.png,\n", "line 2: no label"),
        ("a.png,dog\n,dog\n", "line 2: no path"),
        ("a.png,dog\n" + "b" * 200_000 + ",cat\n", "line 2: field larger than"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in message(write_csv(tmp_path / "truth.csv", text))


def test_a_label_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_bytes(b"a.png,caf\xe9\n")
    assert "line 1: a label that is no UTF-8" in message(tmp_path / "truth.csv")
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"caf\xe9"))
    assert "no UTF-8, so no label" in message(tmp_path)


def test_what_is_neither_folder_nor_csv_is_refused(tmp_path: Path) -> None:
    assert "No such file" in message(tmp_path / "nowhere")
    assert "no text file" in message(save(tmp_path / "a.png"))
    (tmp_path / "flat").mkdir()
    save(tmp_path / "flat" / "a.png")
    assert "no sub-folder in it" in message(tmp_path / "flat")
    (tmp_path / "empty" / "dog").mkdir(parents=True)
    assert "no labelled photograph" in message(tmp_path / "empty")
