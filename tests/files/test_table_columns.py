"""Which columns are meant: by options, by a header, or because there are two."""

from __future__ import annotations

import pytest

from clipcli.errors import UsageError
from clipcli.files.table_columns import Columns

Chosen = tuple[str | None, str | None]


def is_png(cell: str) -> bool:
    return cell.endswith(".png")


def find(cells: str, *chosen: str | None) -> tuple[list[int], bool]:
    path, label = chosen or (None, None)
    return Columns(("path", "label"), (path, label)).find(cells.split(","), is_png)


@pytest.mark.parametrize(
    ("cells", "chosen", "places", "is_header"),
    [
        ("a.png,dog", (), [0, 1], False),
        ("Class,size,FileName", (), [2, 0], True),
        ("id,Bild,art", ("bild", "ART"), [1, 2], True),
        ("id,bild,art", ("2", "art"), [1, 2], True),
        ("id,bild,art", ("2", "3"), [1, 2], True),
        ("dog,a.png,3", ("2", "1"), [1, 0], False),
        ("dog,a.png", ("2", None), [1, 0], False),
        ("bild,art", (None, "art"), [0, 1], True),
        # the other is known by its name, which the chosen one may have too
        ("id,species,filename", (None, "species"), [2, 1], True),
        ("id,bild,class", ("bild", None), [1, 2], True),
        ("path,image,label", ("image", None), [1, 2], True),
    ],
)
def test_two_columns_are_found(
    cells: str, chosen: Chosen, places: list[int], is_header: bool
) -> None:
    assert find(cells, *chosen) == (places, is_header)


@pytest.mark.parametrize(
    ("cells", "chosen", "said"),
    [
        (
            "bild,art",
            (),
            "no name that is known for the column of paths; say with --path-column and",
        ),
        ("filename,species", (), "no name that is known for the column of labels; say with"),
        ("id,bild,", (), "3 columns instead of 2; say with --path-column and --label-column which"),
        ("a.png", (), "1 columns instead of 2"),
        (
            "id,bild,",
            ("foto", "art"),
            "expected --path-column with one of id, bild, (no name), or a number, 1 to 3",
        ),
        ("id,bild,art", ("bild", "4"), "no column 4; expected --label-column with one of id, bild"),
        ("id,bild,art", ("0", "art"), "no column 0; expected --path-column with one of id, bild"),
        ("id,bild,art", ("", "art"), "no column ; expected --path-column with one of id, bild"),
        ("id,bild,art", ("bild", None), "known for the column of labels; say with --label-column"),
        ("id,file,art", (None, "file"), "known for the column of paths; say with --path-column wh"),
        ("id,bild,art", ("Bild", "2"), "--path-column and --label-column both name column 2, bild"),
        (",".join("abcdefghijklm"), ("x", "a"), "one of a, b, c, d, e, f, g, h, i, j and 3 more"),
    ],
)
def test_columns_that_are_not_there_are_told_with_those_that_are(
    cells: str, chosen: Chosen, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find(cells, *chosen)
    assert said in str(caught.value)
