"""What a person writes, to the prompts that a model reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipcli.errors import UsageError
from clipcli.labels.folder_labels import folder_labels
from clipcli.labels.label import (
    Label,
    Text,
    check_templates,
    check_unknown,
    foreign_labels,
    parse_labels,
    prompts,
    read_labels_file,
    read_texts_file,
)


def names(*values: str) -> list[str]:
    labels = parse_labels(values)
    assert [label.texts for label in labels] == [(Text(label.name),) for label in labels]
    return [label.name for label in labels]


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    return tmp_path / "labels.txt"


def one_label(path: Path, line: str) -> Label:
    path.write_text(line, encoding="utf-8")
    (label,) = read_labels_file(str(path))
    return label


# --- --labels


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["dog,cat,tiger"], ["dog", "cat", "tiger"]),
        (["dog, cat ,  tiger "], ["dog", "cat", "tiger"]),
        (["dog", "cat,tiger"], ["dog", "cat", "tiger"]),
        (['"a dog, asleep",cat'], ["a dog, asleep", "cat"]),
        (['cat, "a dog, asleep"'], ["cat", "a dog, asleep"]),
        (['"the ""big"" cat",dog'], ['the "big" cat', "dog"]),
        (["dog,,cat,"], ["dog", "cat"]),
        (["C#,a=b"], ["C#", "a=b"]),
        (["猫,Γάτα"], ["猫", "Γάτα"]),
        (["Dog,dog"], ["Dog", "dog"]),
    ],
)
def test_labels_are_separated_by_commas(values: list[str], expected: list[str]) -> None:
    assert names(*values) == expected


@pytest.mark.parametrize("values", [[], [""], [" , ,"], ['""']])
def test_empty_list_of_labels_is_refused(values: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_labels(values)
    assert str(caught.value) == (
        "--labels: no label in it; expected at least one, like dog,cat,tiger"
    )


def test_labels_given_twice_are_refused_and_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse_labels(["dog,cat,tiger", "cat, dog"])
    assert str(caught.value) == "--labels: cat, dog given twice; name each label once"


def test_newline_in_the_list_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^--labels: .*; expected one like dog,cat,tiger$"):
        parse_labels(["dog\ncat"])


# --- --labels-file


def test_file_has_one_label_a_line_with_comments(labels_file: Path) -> None:
    labels_file.write_text("# pets\n\ndog\n  cat  # the small one\n\t\ntiger")
    assert read_labels_file(str(labels_file)) == [
        Label("dog", (Text("dog"),)),
        Label("cat", (Text("cat"),)),
        Label("tiger", (Text("tiger"),)),
    ]


def test_byte_order_mark_and_windows_line_ends_are_no_part_of_a_label(labels_file: Path) -> None:
    labels_file.write_bytes(b'\xef\xbb\xbfdog\r\ncat = kitty | "a photo of a cat."\r\n')
    assert read_labels_file(str(labels_file)) == [
        Label("dog", (Text("dog"),)),
        Label("cat", (Text("kitty"), Text("a photo of a cat.", is_prompt=True))),
    ]


def test_comma_and_a_stop_belong_to_a_quoted_prompt(labels_file: Path) -> None:
    line = 'crane = "a photo of a crane, a type of bird."'
    label = one_label(labels_file, line)
    assert label == Label("crane", (Text("a photo of a crane, a type of bird.", is_prompt=True),))


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("猫 = cat", Label("猫", (Text("cat"),))),
        ("a=b=c", Label("a", (Text("b=c"),))),
        ("pet = dog | cat|tiger", Label("pet", (Text("dog"), Text("cat"), Text("tiger")))),
        ("cat = kitty # small", Label("cat", (Text("kitty"),))),
        ('x = "a # b | c = d" # e', Label("x", (Text("a # b | c = d", True),))),
        ('x = " spaces stay "', Label("x", (Text(" spaces stay ", True),))),
        ('x = word | "whole" | "other"', Label("x", (Text("word"), Text("whole", True),
                                                      Text("other", True)))),
        (r"C\# = a\=b | c\|d | e\#f", Label("C#", (Text("a=b"), Text("c|d"), Text("e#f")))),
        (r"a\=b", Label("a=b", (Text("a=b"),))),
        (r"back\\slash = c\\ | d", Label(r"back\slash", (Text("c\\"), Text("d")))),
        (r"x = \"not a prompt\"", Label("x", (Text('"not a prompt"'),))),
        (r'x = "the \"big\" one"', Label("x", (Text('the "big" one', True),))),
        (r"C:\new = d\x", Label(r"C:\new", (Text(r"d\x"),))),
        ("end\\", Label("end\\", (Text("end\\"),))),
        ('x = 12" record', Label("x", (Text('12" record'),))),
        ("animal/dog", Label("animal/dog", (Text("dog"),))),
        ("animal/dog = poodle", Label("animal/dog", (Text("poodle"),))),
        ("box / carton", Label("box / carton", (Text("box / carton"),))),
    ],
)  # fmt: skip
def test_line_of_a_labels_file(labels_file: Path, line: str, label: Label) -> None:
    assert one_label(labels_file, line) == label


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('x = "open', 'a prompt without its closing "; write \\" for a quote inside it'),
        (r'x = "open\"', 'a prompt without its closing "; write \\" for a quote inside it'),
        ("x = ", "an empty text; expected label = text | text"),
        ("x = # dog", "an empty text; expected label = text | text"),
        ("x = a | | b", "an empty text; expected label = text | text"),
        ("x = a |", "an empty text; expected label = text | text"),
        ('x = ""', "an empty text; expected label = text | text"),
        ("= dog", "no label before the =; expected label = text | text"),
        (" = dog", "no label before the =; expected label = text | text"),
        ('x = "a" b', "'b' behind a quoted prompt; put a | before it"),
    ],
)
def test_line_that_cannot_be_read_is_named(labels_file: Path, line: str, message: str) -> None:
    labels_file.write_text(f"# comment\n\ndog\n{line}\n")
    with pytest.raises(UsageError) as caught:
        read_labels_file(str(labels_file))
    assert str(caught.value) == f"{labels_file}, line 4: {message}"


def test_labels_file_without_a_label_is_refused(labels_file: Path) -> None:
    labels_file.write_text("# nothing\n\n")
    with pytest.raises(UsageError) as caught:
        read_labels_file(str(labels_file))
    assert str(caught.value) == (
        f"{labels_file}: no label in it; expected at least one, like dog,cat,tiger"
    )


def test_label_twice_in_a_file_is_refused(labels_file: Path) -> None:
    labels_file.write_text("dog\ncat\ndog = puppy\n")
    with pytest.raises(UsageError) as caught:
        read_labels_file(str(labels_file))
    assert str(caught.value) == f"{labels_file}: dog given twice; name each label once"


def test_file_that_is_no_utf8_is_refused(labels_file: Path) -> None:
    labels_file.write_bytes(b"dog\ncaf\xe9\n")
    with pytest.raises(UsageError) as caught:
        read_labels_file(str(labels_file))
    assert str(caught.value) == f"{labels_file}: byte 7 is no UTF-8; save the file as UTF-8"


def test_missing_file_or_folder_is_refused(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "gone", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(UsageError) as caught:
            read_labels_file(str(path))
        assert str(caught.value) == f"{path}: {reason}; expected a text file"


def test_twenty_thousand_labels_are_read(labels_file: Path) -> None:
    labels_file.write_text("".join(f"label {number}\n" for number in range(20_000)))
    assert len(read_labels_file(str(labels_file))) == 20_000


# --- paths of labels


def test_the_model_is_shown_the_last_part_of_a_path() -> None:
    shown = {label.name: label.texts for label in parse_labels(["a/b c,d/e/f,g / h,i/j / k"])}
    assert shown == {
        "a/b c": (Text("b c"),),
        "d/e/f": (Text("f"),),
        "g / h": (Text("g / h"),),
        "i/j / k": (Text("j / k"),),
    }
    assert folder_labels(["pets/polar_bear"]) == [Label("pets/polar_bear", (Text("polar bear"),))]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dog", "an empty part"),
        ("animal/", "an empty part"),
        ("animal//dog", "an empty part"),
        ("./dog", "a part that is ."),
        ("animal/..", "a part that is .."),
        ("a|b", "a | in a label, where photo programs begin a level; labels are"),
    ],
)
def test_what_is_no_path_of_labels_is_refused(labels_file: Path, name: str, why: str) -> None:
    labels_file.write_text(f"cat\n{name} = dog\n")
    for read, source in (
        (lambda: parse_labels([f"cat,{name}"]), "--labels"),
        (lambda: read_labels_file(str(labels_file)), str(labels_file)),
        (lambda: check_unknown(name, ["cat"]), "--unknown"),
    ):
        with pytest.raises(UsageError) as caught:
            read()
        assert str(caught.value).startswith(f"{source}: {name}: {why}")


# --- texts and templates


def test_texts_are_one_a_line_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b'\xef\xbb\xbfa # b\r\n\n "c" | d = e \n')
    assert read_texts_file(str(path)) == ["a # b", '"c" | d = e']
    path.write_bytes(b"\n \n")
    with pytest.raises(UsageError, match="no text in it; expected one a line"):
        read_texts_file(str(path))


def test_template_without_exactly_one_place_for_the_label_is_refused() -> None:
    check_templates(["{}", "a {{}}"])
    with pytest.raises(UsageError, match=r"template 'a {} and a {}' has 2 {} for the label"):
        check_templates(["a {} and a {}"])
    with pytest.raises(UsageError) as caught:
        check_templates(["a photo of a {}.", "a photo of a {label}."])
    assert str(caught.value) == (
        "template 'a photo of a {label}.' has no {} for the label to stand in;"
        " expected one like 'a photo of a {}.'"
    )


def test_words_go_into_every_template_and_prompts_stand_as_they_are() -> None:
    label = Label("pet", (Text("dog"), Text("a {} as it is", is_prompt=True), Text("{0}")))
    assert prompts(label, ["a {}.", "{} or {}"]) == [
        "a dog.",
        "dog or dog",
        "a {} as it is",
        "a {0}.",
        "{0} or {0}",
    ]


@pytest.mark.parametrize(
    ("label", "is_foreign"),
    [
        (Label("猫", (Text("猫"),)), True),
        (Label("Γάτα", (Text("Γάτα"),)), True),
        (Label("кошка cat", (Text("кошка cat"),)), True),
        (Label("猫", (Text("cat"),)), False),
        (Label("猫", (Text("cat"), Text("猫"))), True),
        (Label("café", (Text("café"),)), False),
        (Label("cafe\u0301", (Text("cafe\u0301"),)), False),
        (Label("naïve Größe", (Text("naïve Größe"),)), False),
        (Label("2024", (Text("2024"),)), False),
        (Label("🐈", (Text("🐈"),)), False),
        (Label("α cat", (Text("α cat"),)), False),
    ],
)
def test_labels_mostly_outside_latin_letters_are_found(label: Label, is_foreign: bool) -> None:
    assert foreign_labels([label]) == ([label.name] if is_foreign else [])
