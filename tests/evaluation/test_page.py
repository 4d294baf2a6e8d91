"""The page of `clipcli eval --report`: whole in one file, and safe whatever files are called."""

from __future__ import annotations

import csv
import io
import shutil
from collections import defaultdict
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pictures import ORIENTATIONS, noise, save_bomb, save_turned
from PIL import Image

from clipcli.cli.main import run
from clipcli.evaluation.metrics import Bin
from clipcli.evaluation.page import (
    THUMBNAIL_PX,
    confusion_picture,
    reliability_picture,
    thumbnail,
)
from clipcli.models.on_disk.catalogue import lite_path

SVG = "{http://www.w3.org/2000/svg}"
LABELS = (
    '<script>alert("1")</script>',
    "<img src=x onerror=alert(1)>",
    '"><img src=x>',
    "{{ 7*7 }}",
)
MODEL = '"><img src=x onerror=alert(1)>{{ 7*7 }}.safetensors'
TEMPLATES = ('{} "><script>{{ 7*7 }}', "{} <b>&amp;")
CONTROL = "\x1b[31m"  # makes a terminal write in red
TAGS = (  # what the page itself is made of
    "html head meta title style body h1 h2 p br b div span table tr th td figure figcaption img"
    " svg rect text line"
)
ATTRIBUTES = (
    "lang charset name content class alt src xmlns width height viewbox role aria-label x y x1 x2"
    " y1 y2 fill fill-opacity stroke stroke-dasharray text-anchor pointer-events transform"
)


class Page(HTMLParser):
    """The tags of a page with their attributes, and all its text, also by the tag it stands in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.text_in: defaultdict[str, str] = defaultdict(str)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        self.text_in[self.tags[-1][0] if self.tags else ""] += data


@pytest.fixture(scope="module")
def page(example_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Six photographs, of which some are taken for something else; every name is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [["path", "label"]]
    for number, source in enumerate(sorted(example_photos.glob("*.jpg"))):
        name = f"<script>{CONTROL}{{{{ 7*7 }}}}{number}.jpg"
        shutil.copy(source, folder / name)
        rows.append([name, (*LABELS, CONTROL)[number % 5]])
    with (folder / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    model = folder / MODEL
    model.symlink_to(lite_path())
    templates = [word for text in TEMPLATES for word in ("--template", text)]
    report = folder / "page.html"
    arguments = ["eval", folder / "truth.csv", "--model", model, "--report", report, "--no-cache"]
    assert run([*map(str, arguments), *templates, "--compare", TEMPLATES[0], "--quiet"]) == 0
    return Page(report.read_text("utf-8"))


def test_names_are_shown_and_never_become_tags(page: Page) -> None:
    assert {tag for tag, _ in page.tags} <= {*TAGS.split()}
    assert {name for _, attributes in page.tags for name in attributes} <= {*ATTRIBUTES.split()}
    for tag in ("td", "title", "b"):  # of the tables, the matrix, the worst mistakes
        assert [label for label in LABELS if label not in page.text_in[tag]] == []
    for tag in ("title", "p", "td"):
        assert MODEL in page.text_in[tag]
    assert f"Templates: {', '.join(map(repr, TEMPLATES))}" in page.text_in["br"]
    assert repr(TEMPLATES[0]) in page.text_in["td"]
    assert "<script>\\x1b[31m{{ 7*7 }}" in page.text_in["span"]


def test_a_control_character_is_shown_as_its_escape(page: Page) -> None:
    assert CONTROL not in page.text
    for tag in ("td", "title", "text", "span"):
        assert "\\x1b[31m" in page.text_in[tag]


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "link" not in [tag for tag, _ in page.tags]


def test_mistakes_are_shown_with_thumbnails(page: Page) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert 1 <= len(pictures) <= 6
    assert all((one["src"] or "").startswith("data:image/jpeg;base64,") for one in pictures)
    assert page.text.count(" taken for") >= len(pictures)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_thumbnail_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((480, 640, 3), dtype=np.uint8)
    upright[:240, :320] = (255, 0, 0)
    stored = thumbnail(str(save_turned(tmp_path / "a.jpg", upright, orientation)))
    assert stored is not None
    small = Image.open(io.BytesIO(stored))
    assert small.size == (THUMBNAIL_PX, THUMBNAIL_PX * 3 // 4)
    pixels = np.asarray(small)
    assert pixels[20, 20, 0] > 200
    assert pixels[-20, 20, 0] < 50 > pixels[20, -20, 0]


def test_a_thumbnail_does_not_say_where_the_photograph_was_taken(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"  # GPSLatitudeRef
    exif[0x010F] = "maker of cameras"
    noise(300, 300).save(tmp_path / "a.jpg", exif=exif, comment=b"at home")
    stored = thumbnail(str(tmp_path / "a.jpg"))
    assert stored is not None
    assert not Image.open(io.BytesIO(stored)).getexif()
    assert b"maker" not in stored
    assert b"at home" not in stored


def test_a_photograph_that_is_gone_has_no_thumbnail(tmp_path: Path) -> None:
    assert thumbnail(str(tmp_path / "gone.jpg")) is None


def test_a_photograph_too_large_to_read_has_no_thumbnail(tmp_path: Path) -> None:
    assert thumbnail(str(save_bomb(tmp_path / "a.png", 20_000))) is None


def texts(svg: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in svg.iter(f"{SVG}text")]


def tips(svg: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in svg.iter(f"{SVG}title")]


def draw(labels: Sequence[str], matrix: np.ndarray) -> ElementTree.Element:
    return ElementTree.fromstring(confusion_picture(labels, matrix))


def test_the_matrix_of_two_labels_shows_its_numbers() -> None:
    svg = draw(["<cat>", "dog & co"], np.array([[8, 2], [0, 5]]))
    assert tips(svg) == [
        "<cat> taken for <cat>: 8 of 10",
        "<cat> taken for dog & co: 2 of 10",
        "dog & co taken for dog & co: 5 of 5",
    ]
    assert sorted(texts(svg)) == ["2", "5", "8", "<cat>", "<cat>", "dog & co", "dog & co"]


@pytest.mark.parametrize("n_labels", [2, 10, 60, 300, 1000])
def test_a_matrix_of_any_size_fits_a_screen_and_its_labels_do_not_overlap(n_labels: int) -> None:
    rng = np.random.default_rng(0)
    matrix = np.diag(rng.integers(1, 9, n_labels))
    matrix[0, n_labels - 1] = 1
    svg = draw([f"label number {number}" for number in range(n_labels)], matrix)
    assert float(svg.get("width") or 0) <= 1240
    assert len(tips(svg)) == n_labels + 1
    marks = [one for one in svg.iter(f"{SVG}rect") if len(one)]
    assert all(float(one.get("width") or 0) >= 3 for one in marks)
    heights = [float(one.get("y") or 0) for one in svg.iter(f"{SVG}text") if one.get("x") == "-6"]
    assert len(heights) >= min(n_labels, 60)
    assert all(later - earlier >= 12.9 for earlier, later in pairwise(heights))


def test_the_reliability_diagram_has_a_bar_for_each_bin() -> None:
    bins = [Bin(0.2, 0.4, 10, 0.3, 0.5), Bin(0.8, 1.0, 30, 0.95, 0.9)]
    svg = ElementTree.fromstring(reliability_picture(bins))
    assert tips(svg) == [
        "10 answers with 20 to 40 %: 30.0 % said, 50.0 % right",
        "30 answers with 80 to 100 %: 95.0 % said, 90.0 % right",
    ]
