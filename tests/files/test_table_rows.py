"""Records as rows for people: what a table shows, and that it keeps to its width."""

from __future__ import annotations

import io
import os
import re
import unicodedata

import numpy as np
import pytest
from answers import LITE

from clipcli.files.rows import TableContents
from clipcli.files.screen import Screen
from clipcli.files.table_rows import (
    ClassifiedTable,
    MatchTable,
    TextTable,
    bar,
)
from clipcli.records import Classified, EmbeddedText, Failure, Match, Prediction, Record

FILE = Screen()
DOG = Prediction("dog", 0.93, 0.31, is_accepted=True)
NAMES = [
    "photos/IMG_0001.jpg",
    "写真/" + "東京の夜景" * 20 + ".jpg",
    "e\u0301" * 90 + ".jpg",
    "👩\u200d💻" * 30 + ".jpg",
    "❤\ufe0f" * 60 + ".jpg",
    "א" * 80 + ".jpg",
    "\x1b[2J" * 30 + "\n.jpg",
    os.fsdecode(b"caf\xe9" * 30) + ".jpg",
    "한글" * 40,
    "x",
]


def n_cells(text: str) -> int:
    """Combining letters have none, one that is joined to another has its place, and what is asked
    to look as an emoji has two."""
    n = 0
    for letter in re.sub(".\ufe0f", "猫", re.sub("\u200d.", "", text)):
        if unicodedata.category(letter) not in ("Mn", "Me", "Cf"):
            n += 1 + (unicodedata.east_asian_width(letter) in "WF")
    return n


def written(contents: TableContents, *records: Record, screen: Screen = FILE) -> list[str]:
    tables = {Classified: ClassifiedTable, Match: MatchTable, EmbeddedText: TextTable}
    destination = io.BytesIO()
    writer = tables[contents.record](destination, screen, contents)
    for record in records:
        writer.write(record)
    writer.finish()
    text = destination.getvalue().decode()
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def classified(path: str, *predictions: Prediction) -> Classified:
    return Classified(path, predictions, LITE)


def test_one_label_a_photograph_has_no_rank() -> None:
    contents = TableContents(Classified, ["a.jpg", "photos/b.jpg"], ["dog", "tiger"])
    cat = Prediction("tiger", 0.3804, 0.2, is_accepted=True)
    assert written(
        contents, classified("a.jpg", DOG), Failure("c", "damaged"), classified("photos/b.jpg", cat)
    ) == [
        "PATH          LABEL      PROBABILITY       SIMILARITY",
        "a.jpg         dog         93.0 % ███████▌       0.310",
        "photos/b.jpg  tiger       38.0 % ███            0.200",
    ]


def test_several_labels_stand_below_one_path_and_tell_which_are_meant() -> None:
    contents = TableContents(Classified, ["a.jpg", "b.jpg"], ["dog", "cat"], n_ranks=2)
    listed = Prediction("cat", 0.07, -0.02)
    assert written(contents, classified("a.jpg", DOG, listed), classified("b.jpg", DOG)) == [
        "PATH   RANK  LABEL      PROBABILITY       SIMILARITY",
        "a.jpg     1  dog         93.0 % ███████▌       0.310",
        "          2  (cat)        7.0 % ▌             -0.020",
        "b.jpg     1  dog         93.0 % ███████▌       0.310",
    ]


def test_a_photograph_that_fits_no_label_says_so() -> None:
    other = Prediction("other", 0.6, 0.1, is_unknown=True)
    contents = TableContents(Classified, ["a.jpg"], ["dog"], "other")
    assert written(contents, classified("a.jpg", other))[1:] == [
        "a.jpg  none fits: other   60.0 % ████▊          0.100"
    ]
    for n_ranks in (1, 2):
        contents = TableContents(Classified, ["a.jpg"], ["dog"], n_ranks=n_ranks)
        assert written(contents, classified("a.jpg"))[1].split("  ")[-1] == "none fits"


def test_answers_of_a_search() -> None:
    records = [Match("photos/a.jpg", 1, 0.4884, LITE), Match("b.jpg", 2, -0.0347, LITE)]
    assert written(TableContents(Match, n_ranks=2), *records) == [
        "RANK  SIMILARITY       PATH",
        "   1   0.488 ███▉      photos/a.jpg",
        "   2  -0.035           b.jpg",
    ]
    assert written(TableContents(Match, n_ranks=2), *records, screen=Screen(40)) == [
        "RANK  SIMILARITY  PATH",
        "   1       0.488  photos/a.jpg",
        "   2      -0.035  b.jpg",
    ]
    assert written(TableContents(Match)) == ["RANK  SIMILARITY       PATH"]


def test_texts_show_the_first_of_their_numbers() -> None:
    embedding = np.full(16, 0.25, np.float32)
    embedding[0] = -0.25
    contents = TableContents(EmbeddedText, ["a dog", "猫"])
    records = [EmbeddedText(text, embedding, LITE) for text in ("a dog", "猫")]
    assert written(contents, *records, screen=Screen(60)) == [
        "TEXT   NUMBERS   NORM  EMBEDDING",
        "a dog       16  1.000  -0.2500  0.2500  0.2500  0.2500 …",
        "猫          16  1.000  -0.2500  0.2500  0.2500  0.2500 …",
    ]
    (_, row, _) = written(contents, *records, screen=Screen(300))
    assert row.count("0.2500") == 16
    assert not row.endswith("…")


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
def test_no_row_is_wider_than_the_screen(width: int) -> None:
    screen = Screen(width)
    labels = ["a", "長いラベル" * 9, "long label " * 20]
    for n_ranks in (1, 3):
        contents = TableContents(Classified, NAMES, labels, "n" * 99, n_ranks)
        predictions = [Prediction(label, 0.5, 0.2) for label in labels]
        none = Prediction("n" * 99, 1.0, -0.999, is_unknown=True)
        records = [classified(name, *predictions[:n_ranks]) for name in NAMES]
        rows = written(contents, *records, classified("x"), classified("x", none), screen=screen)
        assert len(rows) == 1 + n_ranks * len(NAMES) + 2
        assert max(map(n_cells, rows)) <= width
        # columns begin at the same place, whatever stands in those before
        ends = {n_cells(row) for row in rows[1::n_ranks] if "0.200" in row}
        assert len(ends) <= 1
    matches = [Match(name, 1_000_000, -0.5, LITE) for name in NAMES]
    texts = [EmbeddedText(name, np.ones(1, np.float32), LITE) for name in NAMES]
    rows = written(TableContents(Match, n_ranks=1_000_000), *matches, screen=screen)
    rows += written(TableContents(EmbeddedText, NAMES), *texts, screen=screen)
    assert len(rows) == 2 * (len(NAMES) + 1)
    assert max(map(n_cells, rows)) <= width


def test_where_it_is_narrow_the_bar_goes_first_and_then_the_similarity() -> None:
    contents = TableContents(Classified, ["photos/2024/IMG_00012345.jpg"], ["labrador retriever"])
    record = classified("photos/2024/IMG_00012345.jpg", DOG)
    rows = {width: written(contents, record, screen=Screen(width)) for width in (80, 60, 40)}
    assert rows[80][0].split() == ["PATH", "LABEL", "PROBABILITY", "SIMILARITY"]
    assert "█" in rows[80][1]
    assert rows[60][0].split() == ["PATH", "LABEL", "PROB.", "SIMILARITY"]
    assert rows[40][0].split() == ["PATH", "LABEL", "PROB."]
    assert rows[40][1] == "pho…0012345.jpg  dog              93.0 %"


def test_bars_are_as_long_as_their_share() -> None:
    assert [bar(share) for share in (-1, 0, 1 / 64, 0.5, 0.94, 1, 2)] == [
        *("", "", "▏", "████", "███████▌", "████████", "████████")
    ]


def test_colours_are_the_terminals_own_and_say_how_sure_it_is() -> None:
    contents = TableContents(Classified, ["a"], ["dog"], "other", n_ranks=2)
    predictions = [
        Prediction("dog", 0.8, 0.3, is_accepted=True),
        Prediction("dog", 0.7, 0.3, is_accepted=True),
        Prediction("dog", 0.4, 0.3, is_accepted=True),
        Prediction("dog", 0.2, 0.3),
        Prediction("other", 0.9, 0.1, is_unknown=True),
    ]
    screen = Screen(100, has_colours=True)
    heading, *rows = written(contents, classified("a", *predictions), screen=screen)
    assert heading.startswith("\x1b[1mPATH\x1b[0m")
    for row, label, number in zip(
        rows,
        ["\x1b[1mdog\x1b[0m"] * 3 + ["\x1b[2m(dog)\x1b[0m", "\x1b[35mnone fits: other\x1b[0m"],
        ["\x1b[32m 80.0 %", "   70.0 %", "\x1b[31m 40.0 %", "\x1b[2m 20.0 %", "   90.0 %"],
        strict=True,
    ):
        assert label in row
        assert number in row


def test_what_is_in_a_name_is_escaped_before_it_is_coloured() -> None:
    name = "\x1b[31m\n\u202e"
    contents = TableContents(Classified, [name], [name])
    prediction = Prediction(name, 0.6, 0.3, is_accepted=True)
    screen = Screen(100, has_colours=True)
    _, row = written(contents, classified(name, prediction), screen=screen)
    assert row.startswith("\\x1b[31m\\n\\u202e  \x1b[1m\\x1b[31m\\n\\u202e\x1b[0m  ")


def test_a_terminal_without_unicode_gets_bars_and_cuts_of_ascii() -> None:
    contents = TableContents(Classified, ["p" * 99], ["dog"])
    screen = Screen(60, is_unicode=False)
    rows = written(contents, classified("p" * 99, DOG), screen=screen)
    rows += written(TableContents(Match), Match("p", 1, 0.55, LITE), screen=screen)
    assert "".join(rows).isascii()
    assert rows[-1] == "   1   0.550 ####-     p"


def test_each_row_is_written_as_it_comes() -> None:
    destination = io.BytesIO()
    writer = MatchTable(destination, Screen(), TableContents(Match))
    assert destination.getvalue() == b""
    writer.write(Match("a.jpg", 1, 0.5, LITE))
    assert destination.getvalue().endswith(b"  a.jpg\n")
