"""How texts are cut to the cells of a terminal."""

from __future__ import annotations

from pathlib import Path

from pictures import python

from clipcli.files.screen import cut_at_the_end, cut_in_the_middle, cut_path, n_cells


def test_a_path_loses_its_middle_and_a_label_its_end() -> None:
    path = "/home/someone/pictures/2024/summer/IMG_0001.jpg"
    assert cut_path(path, 60) == path
    assert cut_path(path, 24) == "/home/some…/IMG_0001.jpg"
    assert cut_path(path, 13) == "/ho…_0001.jpg"
    assert cut_path("a" * 99, 9) == "aaa…aaaaa"
    assert cut_path("写真" * 9 + "/" + "e\u0301" * 4, 12) == "写真写…/" + "e\u0301" * 4
    assert cut_at_the_end("labrador", 8) == "labrador"
    assert cut_at_the_end("labrador", 7) == "labrad…"
    assert cut_at_the_end("猫犬猫犬", 6) == "猫犬 …"


def test_other_texts_keep_both_ends() -> None:
    assert cut_in_the_middle("a drawing of a {}.", 18) == "a drawing of a {}."
    assert cut_in_the_middle("a drawing of a {}.", 9) == "a dr… {}."
    assert cut_in_the_middle("猫犬猫犬猫犬", 8) == "猫犬 …犬"


def test_a_mark_is_not_parted_from_its_letter() -> None:
    for width in range(8, 20):
        cut = cut_path("a" * 20 + "e\u0301" * 20, width)
        assert n_cells(cut) == width
        assert "…\u0301" not in cut


def test_a_name_may_be_longer_than_any_screen_without_taking_long(tmp_path: Path) -> None:
    code = "from clipcli.files.screen import *; print(len(cut_path('猫' * 2000, 200)))"
    assert int(python(code, tmp_path)) <= 200
