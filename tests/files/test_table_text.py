"""Tables as people, programs and papers get them."""

from __future__ import annotations

import csv
import io
import re

import pytest

from clipcli.files.screen import Screen, n_cells
from clipcli.files.table import (
    Cell,
    Row,
    Table,
    between,
    count,
    fixed,
    number,
    part,
    percent,
    picture,
    points,
    points_between,
    words,
)
from clipcli.files.table_text import csv_text, drawn, latex_text

HOSTILE = "\\ & % $ # _ { } ~ ^ < > | [x] * \x1b[2J\n猫"


def table(*names: str) -> Table:
    columns = (
        words("name"),
        number("n", "n", "n_all"),
        number("share"),
        number("95 % interval", "low", "high"),
        number("gain"),
        picture(),
    )
    rows: list[Row] = [
        [name, part(1234, 5678), percent(0.3804), between((0.25, 0.5)), points(-0.125), "██░░"]
        for name in names
    ]
    return Table(columns, [*rows, ["last", "", percent(None), "", "", ""]], frozenset({0}), "note")


def test_columns_stand_below_their_names_and_numbers_to_the_right() -> None:
    assert drawn(table("a"), Screen()) == (
        "NAME               N   SHARE  95 % INTERVAL   GAIN\n"
        "a     1,234 of 5,678  38.0 %   25.0 to 50.0  -12.5  ██░░\n"
        "last                       -\n"
        "note\n"
    )


@pytest.mark.parametrize("width", [52, 58, 60, 80, 120, 400])
def test_a_table_fits_its_screen_and_numbers_stay_whole(width: int) -> None:
    some = table("a photograph of a dog in the snow", "猫の写真" * 20, "/a/b/c/" * 9 + "IMG_1.jpg")
    text = drawn(some, Screen(width))
    lines = text.splitlines()
    assert max(map(n_cells, lines)) <= width
    assert text.count("1,234 of 5,678  38.0 %   25.0 to 50.0  -12.5") == 3
    assert ("██░░" in text) == (width == 400) == ("note" in text)
    assert ("…" in lines[2]) == (width < 400)
    assert ("IMG_1.jpg" in lines[3]) == (width > 58)


def test_what_no_screen_has_room_for_is_too_wide() -> None:
    lines = drawn(table("a long name"), Screen(30)).splitlines()
    assert lines[1].startswith("a …me  1,234 of 5,678  38.0 %")


def test_colours_are_of_whole_lines() -> None:
    plain = drawn(table("a", "b"), Screen())
    coloured = drawn(table("a", "b"), Screen(has_colours=True))
    assert [line[:4] for line in coloured.splitlines()[:2]] == ["\x1b[1m", "\x1b[2m"]
    assert re.sub(r"\x1b\[[012]m", "", coloured) == plain


def test_a_screen_without_unicode_gets_ascii() -> None:
    text = drawn(table("a" * 99), Screen(200, is_unicode=False))
    assert "##--" in text
    assert "~" in drawn(table("a" * 99), Screen(80, is_unicode=False))


def test_control_characters_are_escaped_where_they_are_read() -> None:
    text = drawn(table(HOSTILE), Screen(200))
    assert r"\x1b[2J\n猫" in text
    assert "\x1b" not in text
    assert "\x1b" in csv_text(table(HOSTILE))
    assert "\x1b" not in csv_text(table(HOSTILE), is_terminal=True)


def test_csv_holds_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(table(HOSTILE)), newline="")))
    assert rows[0] == {
        "name": HOSTILE,
        "n": "1234",
        "n_all": "5678",
        "share": "0.3804",
        "low": "0.25",
        "high": "0.5",
        "gain": "-0.125",
    }
    assert {*rows[1].values()} == {"last", ""}


def test_latex_has_as_many_cells_in_each_row_and_escapes_all_that_it_obeys() -> None:
    lines = latex_text(table(HOSTILE, "[odd", "*odd")).splitlines()
    begin, top, head, middle, *rows, bottom, end = lines
    assert begin == r"\begin{tabular}{lrrrr}"
    assert (top, middle, bottom, end) == (
        *(r"\toprule", r"\midrule", r"\bottomrule"),
        r"\end{tabular}",
    )
    assert head == r"Name & N & Share & 95 \% interval & Gain \\"
    assert rows[0] == (
        r"\textbackslash{} \& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{} \textless{}"
        r" \textgreater{} \textbar{} {[}x] {*} \textbackslash{}x1b{[}2J\textbackslash{}n猫"
        r" & 1,234 of 5,678 & 38.0 \% & 25.0 to 50.0 & $-$12.5 \\"
    )
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [4, 4, 4, 4]
    # after a row's end they would be its options
    assert [row[:3] for row in rows[1:3]] == ["{[}", "{*}"]
    assert rows[3] == r"last &  & -- &  &  \\"


def test_figures_are_shown_in_one_way() -> None:
    shown = (
        *map(str, (percent(0.3804), percent(1.0), percent(0.0), percent(0.0001), percent(None))),
        *map(str, (count(12345), fixed(0.12345, 3), points(0.01), points_between((-0.01, 0.02)))),
    )
    assert shown == (
        *("38.0 %", "100.0 %", "0.0 %", "0.010 %", "-"),
        *("12,345", "0.123", "+1.0", "-1.0 to +2.0"),
    )
    assert fixed(0.12345, 3) == Cell("0.123", (0.12345,))
