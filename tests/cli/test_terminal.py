"""A terminal shows what is in a name and does not obey it; a pipe gets the bytes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from program import Result
from terminal import Terminal

from clipcli.errors import one_line
from clipcli.files.lock import lock_part
from clipcli.models.on_disk import catalogue

Cli = Callable[..., Result]

C0 = [chr(code) for code in range(1, 0x20)]  # NUL stands in no name
C1 = [chr(code) for code in range(0x80, 0xA0)]
BIDI = [chr(code) for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))]
BYTES = "\udc9b2J\udcff"  # that are no UTF-8
MARKUP = "[bold]red[link=http:evil]x[blink]:smile:"  # Rich's
COMMANDS = [
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b]0;title\x07",
    "\x1b]8;;http:evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[?2004h\x1b[?1049h",  # bracketed paste, another screen
    "\x1bP$q\x1b\\\x1bc",  # a question that is answered on stdin, and a reset
    "\u009b31m\u009d0;title\u009c",
    BYTES,
    "\r\x1b[1A\x1b[2K",  # writes over the line before
    "\b\b\b\t\v\f",
    "two\nlines",
    "\u202egpj.exe\u2066",
    MARKUP,
    "e" + "\u0301" * 20,
    "x" * 200,
    '"quoted", comma',
]
FOURS_OF_C1 = ["".join(C1[place : place + 4]) for place in range(0, len(C1), 4)]
# letters at both ends, since labels are stripped
NAMES = [f"a{part}b" for part in (*C0, "\x7f", *FOURS_OF_C1, *BIDI, *COMMANDS)]
ORDINARY = (
    "a~ é 猫 עברית\u200f می\u200cخواهم 👩\u200d💻❤\ufe0f"
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f\u00a0\u202f\U0001fae8"
)
# as a name: at most 255 bytes, with a suffix
EVERYTHING = "".join(("a", *C0, "\x7f\x85\x9b\u2028\u202e\u2066", *COMMANDS[:12], "b"))

RICH = re.compile(r"\x1b\[\?25[hl]|\x1b\[[0-9;]*m|\r\x1b\[1A")  # hides, colours, goes up
COLOURS = re.compile(r"\x1b\[(0|1|2|3[0-7])m")  # of a table: bold, dim, and the first eight
STYLES = re.compile(r"\x1b\[[012]m")  # of a table
ERASED = re.compile(r"[^\n]*\r?\x1b\[2K")
ISOLATING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_obeyed(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in ISOLATING
    )


def shown(text: str) -> str:
    return "".join(map(shown_character, text))


def shown_character(character: str) -> str:
    if not is_obeyed(character):
        return character
    return repr(character)[1:-1] if character < "\x7f" else f"\\u{ord(character):04x}"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("home"))
    yield terminal
    terminal.close()


def lines(text: str) -> list[str]:
    """Of what came to a terminal, which holds no control character but line ends."""
    assert [character for character in text if is_obeyed(character) and character != "\n"] == []
    return text.removesuffix("\n").split("\n")


def lines_without_bar(text: str) -> list[str]:
    """The lines that stay when what Rich erases is gone, and its last bar."""
    stay = lines(ERASED.sub("", RICH.sub("", text)))
    return [line for line in stay if line.strip() and not line.startswith("files ")]


def as_csv(rows: Iterable[Sequence[object]]) -> str:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\r\n\0").writerows(rows)  # with "\n" it would not quote \r
    return lines.getvalue().replace("\r\n\0", "\n")


def rows_of(printed: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(printed.decode("utf-8", "surrogateescape"), newline="")))


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """A folder for each name, and in it a photograph of that name; no label is such bytes."""
    album = tmp_path_factory.mktemp("terminal") / "album"
    photos = sorted(example_photos.glob("*.jpg"))
    for place, name in enumerate(NAMES):
        folder = album / ("bytes" if BYTES in name else name)
        folder.mkdir(parents=True)
        shutil.copy(photos[place % len(photos)], folder / f"{name}.jpg")
    return album


def test_ordinary_text_of_all_scripts_stays_as_it_is() -> None:
    assert one_line(ORDINARY) == ORDINARY
    assert (
        one_line("\\\x00\n\x1b[m\x7f\x9b\u202e\udc9b") == r"\\x00\n\x1b[m\u007f\u009b\u202e\udc9b"
    )
    everything = map(chr, range(sys.maxunicode + 1))
    assert [c for c in everything if is_obeyed(c) and not one_line(c).isascii()] == []


def test_the_summary_comes_last_on_a_terminal(
    terminal: Terminal, example_photos: Path, lite: str
) -> None:
    _, printed = terminal.run("classify", example_photos, "--labels", "cat,dog", "--model", lite)
    *rows, summary = lines_without_bar(printed)
    assert summary.startswith("clipcli: 7 files: 6 labelled")
    assert [line.split()[0] for line in rows] == [
        "PATH",
        *map(str, sorted(example_photos.glob("*.jpg"))),
    ]


def test_a_list_that_is_typed_is_asked_for(terminal: Terminal, lite: str) -> None:
    terminal.type("no such file\n\x04")
    code, printed = terminal.run("classify", "-", "--labels", "cat,dog", "--model", lite)
    assert code == 1
    assert "clipcli: -: paths are read from the terminal, one a line; Ctrl-D ends" in printed
    assert "clipcli: no such file: no such file or folder" in printed


def test_rows_and_tables_are_shown_on_a_terminal_and_bytes_in_a_pipe(
    cli: Cli, terminal: Terminal, album: Path, lite: str
) -> None:
    labels = as_csv([[name for name in NAMES if not {*"\r\n"} & {*name}]]).strip()
    classify = ("classify", album, "--model", lite, "--labels", labels, "--quiet", "--format")
    similar = ("similar", "a cat", "--text", album, "--model", lite, "--top-k", 100, "--quiet")
    texts = [part for name in NAMES for part in ("--text", name)]
    embed = ("embed", *texts, "--model", lite, "--truncate", "--quiet")
    runs = {
        "classify csv": (*classify, "csv"),
        "classify json": (*classify, "json"),
        "classify jsonl": (*classify, "jsonl"),
        "classify table": (*classify, "table"),
        "similar table": similar,
        "embed table": embed,
        "similar csv": (*similar, "--format", "csv"),
        "similar json": (*similar, "--format", "json"),
        "similar paths": (*similar, "--paths-only"),
        "embed csv": (*embed, "--format", "csv"),
        "embed jsonl": (*embed, "--format", "jsonl"),
        "eval": ("eval", album, "--model", lite, "--quiet"),
        "eval json": ("eval", album, "--model", lite, "--quiet", "--format", "json"),
    }
    results = {name: cli(*run) for name, run in runs.items()}
    assert {name: result.code for name, result in results.items() if result.code} == {}
    pipe = {name: result.stdout for name, result in results.items()}
    text = {name: terminal.run(*run)[1] for name, run in runs.items()}

    found = {str(path) for path in album.glob("*/*")}
    assert len(found) == len(NAMES) > 60
    objects = [json.loads(line) for line in pipe["classify jsonl"].split(b"\n")[:-1]]
    assert {one["path"] for one in objects} == found
    matches = json.loads(pipe["similar json"])
    assert {one["path"] for one in matches} == found

    def to_json(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")

    def to_csv(rows: Iterable[Sequence[object]]) -> bytes:
        return as_csv(rows).encode("utf-8", "surrogateescape")

    header = ["path", "rank", "label", "probability", "similarity", "accepted", "scoring", "model"]

    def scores(prediction: dict[str, float]) -> list[str]:
        return [f"{prediction[name]:.6f}" for name in ("probability", "similarity")]

    best = [(one["path"], 1, one["predictions"][0]) for one in objects]
    assert pipe["classify csv"] == to_csv(
        [header] + [[*i, p["label"], *scores(p), "true", "softmax", "lite"] for *i, p in best]
    )
    assert pipe["classify jsonl"] == b"".join(to_json(one) + b"\n" for one in objects)
    assert pipe["classify json"] == b"[\n " + b",\n ".join(map(to_json, objects)) + b"\n]\n"
    assert pipe["similar paths"] == b"".join(os.fsencode(m["path"]) + b"\n" for m in matches)
    assert [row[0] for row in rows_of(pipe["embed csv"])[1:]] == NAMES
    assert results["similar csv"].stderr == results["eval"].stderr == ""
    first = next(shown(m["path"]) for m in matches if "\n" in m["path"])
    (warning,) = results["similar paths"].stderr.splitlines()
    assert warning.startswith(f"clipcli: {first}: a newline in its name")

    for name in ("classify csv", "similar csv", "embed csv"):
        expected = as_csv([[*map(shown, row)] for row in rows_of(pipe[name])])
        assert lines(text[name]) == expected.splitlines()
    named = {
        "classify": {*map(shown, found)},
        "similar": {*map(shown, found)},
        "embed": {*map(shown, NAMES)},
    }
    for command, names in named.items():
        table = lines(COLOURS.sub("", text[f"{command} table"]))
        assert len(table) == len(NAMES) + 1
        assert [name for name in names if not any(name in line for line in table)] == []
    for name in ("classify json", "similar json", "eval json"):
        assert json.loads("\n".join(lines(text[name]))) == json.loads(pipe[name])
    for name in ("classify jsonl", "embed jsonl"):
        expected_objects = [json.loads(line) for line in pipe[name].split(b"\n")[:-1]]
        assert [json.loads(line) for line in lines(text[name])] == expected_objects
    assert lines(text["similar paths"]) == [shown(one["path"]) for one in matches]
    assert len(lines(pipe["eval"].decode())) > len(NAMES)  # of which it shows both ends
    table = "\n".join(lines(STYLES.sub("", text["eval"])))
    assert [name for name in NAMES if BYTES not in name and shown(name) not in table] == []


def test_errors_are_shown_on_a_terminal(
    terminal: Terminal, album: Path, lite: str, tmp_path: Path
) -> None:
    name = EVERYTHING
    (tmp_path / name).mkdir()
    inside = tmp_path / name / "x"
    damaged = tmp_path / f"{name}.pt"
    damaged.write_text("damaged")
    held = tmp_path / f"{name}.csv"
    one = ("classify", album / NAMES[0], "--labels", "dog,cat", "--quiet", "--model")
    eval_ = ("eval", album, "--quiet", "--model", lite)
    runs = [
        (name,),
        ("classify", f"--{name}"),
        ("classify", "--top-k", name.replace(BYTES, "")),
        ("classify", "--format", name),
        ("cache", name),
        (*one, lite, "--device", name),
        (*one, lite, "--output", tmp_path / "no" / name),
        (*one, lite, "--output", held),
        (*one, lite, "--failures", tmp_path / name),
        (*one, lite, "--template", name),
        (*one, lite, "--templates", inside),
        (*one, damaged),
        (*one, inside),
        ("classify", album, "--labels-file", inside),
        ("classify", album, "--labels", f"{name[-50:]},{name[-50:]}"),
        ("classify", album, "--calibration", damaged),
        ("classify", album, "--probe", damaged),
        ("similar", "a cat", "--text", "--embeddings", damaged),
        ("similar", inside, album, "--model", lite),
        ("embed", "--text", name * 9, "--model", lite, "--quiet"),
        ("embed", album, "--output", f"{damaged}.npz", "--format", "csv"),
        ("eval", inside),
        (*eval_, "--labels", "dog"),
        (*eval_, "--compare", inside),
        ("calibrate", album, "--model", lite, "--output", tmp_path / "calibration"),
        ("probe", "fit", album, "--shots", name),
        ("train", inside, "--init", "tiny", "--output", tmp_path / "trained"),
        ("cache", "--cache-dir", name, "info"),
        ("models", "show", name),
        ("models", "use", inside),
        ("models", "download", name),
    ]
    unlock = lock_part(held.with_name(f"{held.name}.part"))
    try:
        ends = [terminal.run(*run) for run in runs]
    finally:
        unlock()
    for run, (code, text) in zip(runs, ends, strict=True):
        (line,) = lines(text)
        assert line.startswith("clipcli: "), run
        assert code in (1, 2, 4), run


def test_what_is_said_and_printed_beside_rows_is_shown_on_a_terminal(
    terminal: Terminal, album: Path, lite: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in NAMES:
        (broken / f"{name}.jpg").touch()
    name = EVERYTHING.replace(BYTES, "")
    folder = tmp_path / name
    model = tmp_path / f"{name}.safetensors"
    model.symlink_to(catalogue.lite_path())
    photo = album / f"a{MARKUP}b" / f"a{MARKUP}b.jpg"
    two = tmp_path / "two"
    for some in NAMES[-2:]:
        shutil.copytree(album / some, two / some)
    template = f"{''.join(COMMANDS[:2])}\n{{}}"
    with_bar = ("classify", "--labels", "dog,cat", "--model", lite)
    runs: dict[str, tuple[object, ...]] = {
        "failures": (*with_bar, broken),
        "json": (*with_bar, photo, "--format", "json"),
        "no file": ("cache", "info", "--cache-dir", folder),
        "verify": ("cache", "verify", "--cache-dir", folder),
        "prune": ("cache", "prune", "--cache-dir", folder),
        "clear": ("cache", "clear", "--cache-dir", folder),
        "nul": ("similar", "a", "--text", album, "--model", lite, "--paths-only", "-0", "-q"),
        "prompts": ("prompts", "show", "--labels", "dog", "--template", f"{name} {{}}"),
        "heading": ("eval", two, "--quiet", "--model", model, "--template", template),
        "compared": ("eval", two, "--quiet", "--model", model, "--compare", template),
        "listed": ("cache", "info"),
        "to itself": (*with_bar, album, "--quiet", "--output", "/dev/stdout"),
        "failures to itself": (
            *with_bar,
            broken,
            "--quiet",
            "--failures",
            "/dev/stderr",
            "-o",
            tmp_path / "rows",
        ),
    }
    text = {name: terminal.run(*run)[1] for name, run in runs.items()}
    reason = "no picture: the file is empty"
    paths = [f"{broken}/{name}.jpg" for name in NAMES]
    said = {f"clipcli: {shown(path)}: {reason}" for path in paths}
    assert said <= {*lines_without_bar(text["failures"])}
    rows = [line for line in lines_without_bar(text["json"]) if not line.startswith("clipcli: ")]
    assert json.loads("".join(rows))[0]["path"] == str(photo)
    for run in ("no file", "verify", "prune", "clear"):
        (line,) = lines(text[run])
        assert f"{shown(str(folder))}/embeddings.sqlite: " in line
    assert lines(text["nul"])[0].count("\\x00") == 10
    assert lines(text["prompts"].replace("\t", "|")) == [f"dog|{shown(name)} dog"]
    for run in ("heading", "compared", "listed"):
        assert shown(str(model)) in "".join(lines(STYLES.sub("", text[run])))
    found = [shown(str(path)) for path in album.glob("*/*")]
    assert sorted(row[0] for row in csv.reader(lines(text["to itself"])[1:])) == sorted(found)
    listed = {as_csv([(shown(path), reason)]).strip() for path in paths}
    *rows, end = lines(text["failures to itself"])
    assert {*rows} == {*said, *listed, "path,error"}
    assert "not one photograph could be read" in end
