"""What classify writes can be read back, in every format and after a spreadsheet had it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from places import TESTS

from clipcli.errors import UsageError
from clipcli.files.classified_rows import PhotoRow, RowLabel, read_classified
from clipcli.files.part_file import PartFile
from clipcli.files.rows import CLASSIFY_COLUMNS, ROW_WRITERS, csv_rows
from clipcli.records import Classified, Failure, MadeBy, Prediction

OBJECT = (
    b'{"path": "a.jpg", "model": "lite", "predictions":'
    b' [{"label": "dog", "similarity": 0.2, "probability": %s}]}'
)
MOVED = b'{"path": "a.jpg", "model": "lite", "predictions": [], "moved_to": %s}'
MADE_BY = MadeBy("lite", "f" * 64, "fp32", "crop")
RECORDS = (
    Classified(
        'a, "b";c.jpg',
        (
            Prediction("dog", 0.75, 0.25, is_accepted=True),
            Prediction("1", 0.5, 0.125, is_accepted=True),
            Prediction("cat", 0.25, 0.0),
        ),
        MADE_BY,
        scoring="presence",
    ),
    Classified("new\nline.jpg", (Prediction("other", 0.5, 0.25, is_unknown=True),), MADE_BY),
    Classified("none.jpg", (), MADE_BY),
    Failure("broken.jpg", "damaged picture"),
)
PHOTOS = [
    (
        'a, "b";c.jpg',
        (
            RowLabel("dog", 0.75, True, 0.25),
            RowLabel("1", 0.5, True, 0.125),
            RowLabel("cat", 0.25, False, 0.0),
        ),
        ("presence", "lite"),
    ),
    ("new\nline.jpg", (RowLabel("other", 0.5, False, 0.25),), ("softmax", "lite")),
    ("none.jpg", (), ("softmax", "lite")),
]
ROWS = [row for record in RECORDS for row in csv_rows(record)]


def written(path: Path) -> Path:
    with PartFile(path) as file:
        writer = ROW_WRITERS[path.suffix[1:]](file, CLASSIFY_COLUMNS)
        for record in RECORDS:
            writer.write(record)
        writer.finish()
    return path


def content(path: Path) -> list[tuple[str, tuple[RowLabel, ...], tuple[str, str]]]:
    photos = read_classified(str(path)).photos
    assert [*photos] == [row.path for row in photos.values()]
    return [(row.path, row.labels, (row.scoring, row.model)) for row in photos.values()]


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_each_format_of_rows_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"rows.{suffix}")
    assert content(path) == PHOTOS
    failures = {} if suffix == "csv" else {"broken.jpg": "damaged picture"}
    assert read_classified(str(path)).failures == failures
    assert not read_classified(str(path)).is_judged


def test_rows_of_a_parquet_file_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = dict(zip(CLASSIFY_COLUMNS, zip(*ROWS, strict=True), strict=True))
    numbers = {
        name: [float(str(one)) if one else None for one in columns[name]]
        for name in ("probability", "similarity")
    }
    flags = [one == "true" for one in columns["accepted"]]
    pyarrow.parquet.write_table(pyarrow.table({**columns, **numbers, "accepted": flags}), path)
    assert content(path) == PHOTOS
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="no whole Parquet file"):
        read_classified(str(path))


def test_a_spreadsheets_way_with_them_is_understood(tmp_path: Path) -> None:
    """A byte order mark, semicolons, a decimal comma, TRUE, CRLF, other columns, sorted rows."""
    path = tmp_path / "rows.csv"
    lines = [
        "Accepted;PATH;note;label;rank;Probability;scoring;model",
        "TRUE;a.jpg;;1;2;0,5;presence;lite",
        "no;b.jpg;seen;;0;;softmax;lite;",
        'TRUE;a.jpg;"two\r\nlines";cat;1;0,75;presence;lite',
        ";;;;;;;",
        ";;;;;;;;",
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert content(path) == [
        ("a.jpg", (RowLabel("1", 0.5, True), RowLabel("cat", 0.75, True)), ("presence", "lite")),
        ("b.jpg", (), ("softmax", "lite")),
    ]
    path.write_text("path\tlabel\na.jpg\tcat\n")
    assert content(path) == [("a.jpg", (RowLabel("cat", None, True),), ("", ""))]
    assert read_classified(str(path)).is_judged


def test_what_stands_is_what_is_accepted_or_else_the_best(tmp_path: Path) -> None:
    photos = read_classified(str(written(tmp_path / "rows.csv"))).photos
    assert [[one.label for one in row.standing] for row in photos.values()] == [
        ["dog", "1"],
        ["other"],
        [],
    ]


def test_an_edited_object_says_yes_and_no_as_a_cell_does(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    label = {"label": "dog", "probability": 0.9, "similarity": 0.2}
    for word, is_accepted in (("false", False), ("TRUE", True), (0, False), (True, True)):
        one = {"path": "a.jpg", "predictions": [label | {"accepted": word}], "model": "lite"}
        path.write_text(json.dumps(one))
        assert content(path) == [
            ("a.jpg", (RowLabel("dog", 0.9, is_accepted, 0.2),), ("", "lite")),
        ]


def test_a_name_that_is_no_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"path,label\nb\xe4r.jpg,bear\n")
    assert [*read_classified(str(path)).photos] == ["b\udce4r.jpg"]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no columns path and label"),
        (b"a.jpg,dog\n", "no columns path and label"),
        (b"path,label\na.jpg\n", "line 2: 1 columns instead of 2"),
        (b"path,label,probability\na.jpg,dog,much\n", "line 2: could not convert"),
        (b"path,label,probability\na.jpg,dog,2\n", "line 2: a probability of 2"),
        (b"path,label,accepted\na.jpg,dog,maybe\n", "accepted is 'maybe' and neither"),
        (b"path,label\n,dog\n", "line 2: no path"),
        (b"path,label\na.jpg,b\xe4r\n", "line 2: a label that is no UTF-8; save"),
        (b"path,label\na.jpg,dog,cat\n", "line 2: 3 columns instead of 2"),
        (b'{"path": "a.jpg", "embedding": [1]}\n', "line 1: no 'predictions'"),
        (b'{"path": "a.jpg"\n', "line 1: no JSON"),
        (OBJECT % b'5, "accepted": true', "line 1: a probability of 5"),
        (OBJECT % b'0.5, "accepted": "maybe"', "accepted is 'maybe' and neither"),
        (b'{"path": 5, "predictions": []}', "line 1: a path that is no text"),
        (MOVED % b"5", "line 1: a path that is no text"),
        (MOVED % b'{"to": "b.jpg"}', "line 1: a path that is no text"),
        (b'["path"]', "line 1: "),
        (b"[1]", "line 1: "),
        (b"[" * 100_000, "line 1: no JSON: "),
        (b"[NaN]", "NaN in place of a number"),
        (b"\x93NUMPY\x01\0", "no text file"),
    ],
)
def test_anything_else_is_one_line_that_says_where(tmp_path: Path, data: bytes, found: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes(data)
    with pytest.raises(UsageError) as raised:
        read_classified(str(path))
    assert found in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.csv: No such file"):
        read_classified(str(tmp_path / "gone.csv"))
    with pytest.raises(UsageError, match="Is a directory"):
        read_classified(str(tmp_path))


def test_a_row_is_small(tmp_path: Path) -> None:
    """Equal labels, models and scorings are one text."""
    first, *_ = read_classified(str(written(tmp_path / "rows.jsonl"))).photos.values()
    assert isinstance(first, PhotoRow)
    other = read_classified(str(written(tmp_path / "rows.csv"))).photos['a, "b";c.jpg']
    assert first.labels[0].label is other.labels[0].label
    assert first.model is other.model


def test_rows_of_version_0_1_0_say_that_the_best_label_stands() -> None:
    photos = read_classified(str(TESTS / "made_by_0_1_0" / "classified.jsonl")).photos
    row = photos["examples/photos/cat.jpg"]
    assert len(row.labels) == 6
    assert [one.label for one in row.standing] == ["cat"]
    assert (row.scoring, row.model) == ("", "lite")


def test_rows_of_version_0_1_0_do_not_say_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "path,rank,label,probability,similarity,model\n"
        "a.jpg,1,dog,0.75,0.2,lite\na.jpg,2,cat,0.25,0.1,lite\n"
    )
    photo = read_classified(str(path)).photos["a.jpg"]
    assert [one.is_accepted for one in photo.labels] == [True, False]
