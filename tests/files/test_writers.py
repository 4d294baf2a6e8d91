"""Records to bytes: what CSV, JSON and JSON Lines look like, exactly."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from answers import LITE
from pictures import python
from places import ROOT

from clipcli.files.rows import (
    CLASSIFY_COLUMNS,
    ROW_WRITERS,
    SIMILAR_COLUMNS,
    CsvWriter,
    JsonLinesWriter,
    Record,
    RowFormat,
    csv_line,
    embed_columns,
    json_text,
    row_formats,
)
from clipcli.records import Classified, Embedded, EmbeddedText, Failure, Match, Prediction

CAT = Classified(
    "cat.jpg",
    (Prediction("cat", 0.98765432, 0.25, is_accepted=True), Prediction("猫", 0.0123, -0.1)),
    LITE,
)
NONE = Classified("sky.jpg", (), LITE, scoring="calibrated")
FAILED = Failure("half.jpg", "damaged picture: image file is truncated")
ODD_NAMES = [
    "two\nlines.jpg",
    "return\rhere.jpg",
    'quote", comma.jpg',
    "猫.jpg",
    " spaces ",
    os.fsdecode(b"caf\xe9.jpg"),
    "back\\slash.jpg",
    "tab\tbell\a.jpg",
    "\u2028.jpg",
]


def written(format: str, *records: Record, columns: tuple[str, ...] = CLASSIFY_COLUMNS) -> bytes:
    destination = io.BytesIO()
    writer = ROW_WRITERS[format](destination, columns)
    for record in records:
        writer.write(record)
    writer.finish()
    return destination.getvalue()


def test_csv_has_a_row_for_each_prediction_and_none_for_a_failure() -> None:
    assert written("csv", CAT, FAILED, NONE).decode() == (
        "path,rank,label,probability,similarity,accepted,scoring,model\n"
        "cat.jpg,1,cat,0.987654,0.250000,true,softmax,lite\n"
        "cat.jpg,2,猫,0.012300,-0.100000,false,softmax,lite\n"
        "sky.jpg,0,,,,false,calibrated,lite\n"
    )


def test_json_lines_have_an_object_a_line() -> None:
    assert written("jsonl", CAT, FAILED).decode() == (
        '{"path": "cat.jpg", "predictions": ['
        '{"label": "cat", "probability": 0.987654, "similarity": 0.25, "accepted": true}, '
        '{"label": "猫", "probability": 0.0123, "similarity": -0.1, "accepted": false}], '
        '"scoring": "softmax", "model": "lite"}\n'
        '{"path": "half.jpg", "error": "damaged picture: image file is truncated"}\n'
    )


def test_json_is_one_array() -> None:
    assert written("json", FAILED, Match("a.jpg", 1, 0.1234567, LITE)).decode() == (
        "[\n"
        ' {"path": "half.jpg", "error": "damaged picture: image file is truncated"},\n'
        ' {"path": "a.jpg", "rank": 1, "similarity": 0.123457, "model": "lite"}\n'
        "]\n"
    )


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("csv", b"path,rank,label,probability,similarity,accepted,scoring,model\n"),
        ("json", b"[]\n"),
        ("jsonl", b""),
        ("paths", b""),
        ("nul", b""),
    ],
)
def test_no_record_is_still_a_whole_file(format: str, expected: bytes) -> None:
    assert written(format) == expected


def test_nothing_is_written_before_the_first_record() -> None:
    destination = io.BytesIO()
    CsvWriter(destination, CLASSIFY_COLUMNS)
    assert destination.getvalue() == b""


def test_each_record_is_written_as_it_comes() -> None:
    destination = io.BytesIO()
    writer = JsonLinesWriter(destination, ())
    writer.write(FAILED)
    assert destination.getvalue().endswith(b"}\n")


def test_bare_paths_end_in_newlines_or_nuls() -> None:
    matches = (
        Match("a\nb.jpg", 1, 0.5, LITE),
        FAILED,
        Match(os.fsdecode(b"\xe9.jpg"), 2, 0.4, LITE),
    )
    assert written("paths", *matches) == b"a\nb.jpg\n\xe9.jpg\n"
    assert written("nul", *matches) == b"a\nb.jpg\0\xe9.jpg\0"


def test_matches_in_csv() -> None:
    match = Match("a,b.jpg", 1, 0.5, LITE)
    assert written("csv", match, columns=SIMILAR_COLUMNS) == (
        b'path,rank,similarity,model\n"a,b.jpg",1,0.500000,lite\n'
    )


def test_embeddings_come_back_to_the_last_bit() -> None:
    embedding = np.random.default_rng(0).normal(size=512).astype(np.float32)
    embedding[:3] = 0.1, 1e-8, -1
    (line,) = written("jsonl", Embedded("a.jpg", embedding, LITE)).splitlines()
    assert (np.array(json.loads(line)["embedding"], np.float32) == embedding).all()
    assert line.startswith(b'{"path": "a.jpg", "embedding": [0.1, 1e-08, -1.0, ')

    columns = tuple(embed_columns("text", 512))
    text = written("csv", EmbeddedText("a cat", embedding, LITE), columns=columns).decode()
    header, row = csv.reader(io.StringIO(text))
    assert header[:3] == ["text", "e0", "e1"]
    assert header[-1] == "e511"
    assert row[:3] == ["a cat", "0.1", "1e-08"]
    assert (np.array(row[1:], np.float32) == embedding).all()


def test_text_keeps_its_key_in_json() -> None:
    record = EmbeddedText("a cat", np.array([1, 0.5], np.float32), LITE)
    assert (
        written("jsonl", record) == b'{"text": "a cat", "embedding": [1.0, 0.5], "model": "lite"}\n'
    )


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_from_json(name: str) -> None:
    for format in ("json", "jsonl"):
        text = written(format, Failure(name, "x")).decode("utf-8")  # strictly
        loaded = json.loads(text)
        assert (loaded[0] if format == "json" else loaded) == {"path": name, "error": "x"}
    assert len(written("jsonl", Failure(name, "x")).split(b"\n")) == 2


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_from_csv(name: str) -> None:
    data = written("csv", Match(name, 1, 0.5, LITE), columns=SIMILAR_COLUMNS)
    text = data.decode("utf-8", "surrogateescape")
    assert [*csv.reader(io.StringIO(text, newline=""))][1:] == [[name, "1", "0.500000", "lite"]]


def test_name_that_is_no_utf8_keeps_its_bytes_in_csv_and_is_escaped_in_json() -> None:
    match = Match(os.fsdecode(b"caf\xe9.jpg"), 1, 0.5, LITE)
    assert written("csv", match, columns=SIMILAR_COLUMNS) == (
        b"path,rank,similarity,model\ncaf\xe9.jpg,1,0.500000,lite\n"
    )
    assert written("jsonl", match) == (
        b'{"path": "caf\\udce9.jpg", "rank": 1, "similarity": 0.5, "model": "lite"}\n'
    )
    assert os.fsencode(json.loads(json_text(match.path))) == b"caf\xe9.jpg"


def test_csv_fields_are_quoted_where_they_must_be() -> None:
    assert csv_line(["a\nb", "c\rd", 'e"f', "g,h", "i", 1, ""]) == (
        '"a\nb","c\rd","e""f","g,h",i,1,\n'
    )


def test_tsv_is_csv_with_tabs_and_quotes_only_what_needs_it() -> None:
    assert written("tsv", CAT, FAILED) == written("csv", CAT).replace(b",", b"\t")
    assert b"\na, b's.jpg\t1\t" in written("tsv", Match("a, b's.jpg", 1, 0.5, LITE))
    for name in ODD_NAMES:
        text = written("tsv", Match(name, 1, 0.5, LITE)).decode("utf-8", "surrogateescape")
        _, row = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
        assert row == [name, "1", "0.500000", "lite"]


STDOUT = """
import sys
from clipcli.errors import ClipcliError, ClosedPipeError
from clipcli.files.stdout import Stdout
try:
    while True:
        Stdout().write(b"caf\\xe9 row\\n")
        {after}
except (ClipcliError, ClosedPipeError) as error:
    print(type(error).__name__, error, file=sys.stderr)
    import os
    os._exit(7)
"""


def stdout_child(after: str, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", STDOUT.format(after=after)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def test_bytes_reach_stdout_as_they_are() -> None:
    with stdout_child("sys.exit()", subprocess.PIPE) as child:
        assert child.communicate(timeout=60) == (b"caf\xe9 row\n", b"")
    assert child.returncode == 0


def test_reader_that_has_had_enough_is_no_failure() -> None:
    with stdout_child("pass", subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"caf\xe9 row\n"
        child.stdout.close()
        assert child.stderr.read() == b"ClosedPipeError \n"
    assert child.returncode == 7


def test_full_device_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "wb") as full, stdout_child("pass", full.fileno()) as child:
        _, stderr = child.communicate(timeout=60)
    assert stderr == b"OutputError stdout: cannot be written: No space left on device\n"


def test_every_choice_of_format_is_for_some_records() -> None:
    assert {*get_args(RowFormat)} - {"parquet", "table"} < {*ROW_WRITERS}
    assert row_formats(Classified) == [*get_args(RowFormat)]
    assert row_formats(Match) == [*get_args(RowFormat)]
    assert row_formats(Embedded) == ["csv", "tsv", "jsonl", "parquet"]
    assert row_formats(EmbeddedText) == ["csv", "tsv", "jsonl", "parquet", "table"]


def test_writing_needs_neither_a_picture_library_nor_rich(tmp_path: Path) -> None:
    code = (
        "import sys, clipcli.files.rows\nprint({'torch', 'PIL', 'numpy', 'rich'} & {*sys.modules})"
    )
    assert python(code, tmp_path) == "set()\n"
