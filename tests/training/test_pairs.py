"""What there is to learn from: tables, folders, and how they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import save, save_bomb, save_truncated_jpeg, soft
from PIL import Image

from clipcli.errors import PhotoError, TextTooLongError, UsageError
from clipcli.files.table_columns import Columns
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Failure
from clipcli.training.batches import Batches, Captions, Plan
from clipcli.training.crops import Pictures, read_resized
from clipcli.training.distributed import Processes
from clipcli.training.gradient import Batch
from clipcli.training.pairs import Pair, read_pairs

CONFIG = PreprocessConfig(32)


def table(folder: Path, name: str, text: str) -> str:
    save(folder / "a.png")
    save(folder / "b.png")
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.csv", 'path,caption\na.png,a cat\nb.png,"a dog, asleep"\n'),
        ("pairs.csv", 'a.png,a cat\nb.png,"a dog, asleep"\n'),
        ("pairs.csv", 'id,caption,path\n1,a cat,a.png\n2,"a dog, asleep",b.png\n'),
        ("pairs.tsv", "path\tcaption\na.png\ta cat\nb.png\ta dog, asleep\n"),
        (
            "pairs.jsonl",
            """{"path": "a.png", "caption": "a cat"}

            {"caption": "a dog, asleep", "path": "b.png", "id": 2}""",
        ),
    ],
)
def test_every_kind_of_table_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    found = read_pairs(table(tmp_path, name, text))
    assert found.pairs == [
        Pair(str(tmp_path / "a.png"), ("a cat",)),
        Pair(str(tmp_path / "b.png"), ("a dog, asleep",)),
    ]
    assert found.failures == []


def test_columns_and_keys_of_other_names_are_chosen(tmp_path: Path) -> None:
    columns = Columns(("path", "caption"), ("bild", "satz"))
    rows = '{"bild": "a.png", "satz": "a cat"}\n{"bild": "b.png", "satz": "a dog"}\n'
    for name, text in {
        "p.csv": "satz,id,bild\na cat,1,a.png\na dog,2,b.png\n",
        "p.tsv": "bild\tsatz\na.png\ta cat\nb.png\ta dog\n",
        "p.jsonl": rows,
    }.items():
        found = read_pairs(table(tmp_path, name, text), columns=columns)
        assert [pair.captions for pair in found.pairs] == [("a cat",), ("a dog",)], name
    with pytest.raises(UsageError, match="--path-column and --caption-column: both bild"):
        read_pairs(str(tmp_path / "p.jsonl"), columns=Columns(columns.names, ("bild", "bild")))
    with pytest.raises(UsageError, match="a folder has no columns; leave --path-column out"):
        read_pairs(str(tmp_path), columns=columns)


def test_rows_of_one_photograph_are_one_pair(tmp_path: Path) -> None:
    found = read_pairs(table(tmp_path, "p.csv", "a.png,a cat\nb.png,a dog\na.png,a kitten\n"))
    assert [pair.captions for pair in found.pairs] == [("a cat", "a kitten"), ("a dog",)]


def test_a_path_is_looked_for_beside_the_table_then_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    path = table(there, "p.csv", "a.png,a cat\nb.png,a dog\nc.png,a fox\nd.png,an owl\n")
    save(here / "a.png")
    save(here / "c.png")
    monkeypatch.chdir(here)
    found = read_pairs(path)
    assert [pair.path for pair in found.pairs] == [
        str(there / "a.png"),
        str(there / "b.png"),
        "c.png",
    ]
    assert found.failures == [
        Failure("d.png", "no such file: neither beside p.csv nor in the working directory")
    ]


def test_a_folders_captions_are_its_labels_in_each_template(tmp_path: Path) -> None:
    for label in ("polar_bear", "fox"):
        (tmp_path / label).mkdir()
        save(tmp_path / label / "1.png")
    found = read_pairs(str(tmp_path), ["a photo of a {}.", "the {}"])
    assert found.pairs == [
        Pair(str(tmp_path / "fox/1.png"), ("a photo of a fox.", "the fox"), is_label=True),
        Pair(
            str(tmp_path / "polar_bear/1.png"),
            ("a photo of a polar bear.", "the polar bear"),
            is_label=True,
        ),
    ]
    assert read_pairs(str(tmp_path)).pairs[0].captions == ("a photo of a fox.",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "a.png,a cat\nb.png\n", "p.csv, line 2: 1 columns instead of 2; expected"),
        ("p.csv", "a.png,a cat\nb.png, \n", "p.csv, line 2: no caption; expected"),
        ("p.csv", "a.png,a cat\n", "p.csv: 1 photograph with a caption; training compares"),
        ("p.jsonl", '{"path": "a.png"}\n', 'p.jsonl, line 1: expected {"path": "...", "capt'),
        ("p.jsonl", "[1\n", "p.jsonl, line 1: Expecting"),
        ("p.txt", "a.png,a cat\n", "p.txt: .txt; expected a .csv, .tsv or .jsonl"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_pairs(table(tmp_path, name, text))
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(message)


def test_templates_do_not_go_around_captions(tmp_path: Path) -> None:
    path = table(tmp_path, "p.csv", "a.png,a cat\nb.png,a dog\n")
    with pytest.raises(UsageError, match="--template goes around a folder's labels"):
        read_pairs(path, ["a {}"])


def test_the_fingerprint_tells_captions_apart(tmp_path: Path) -> None:
    first = read_pairs(table(tmp_path, "p.csv", "a.png,a cat\nb.png,a dog\n"))
    second = read_pairs(table(tmp_path, "p.csv", "a.png,a cat\nb.png,a fox\n"))
    assert first.fingerprint() != second.fingerprint()


@pytest.mark.parametrize("size", [(300, 200), (20, 50), (64, 64)])
def test_a_photograph_keeps_its_shape_with_eight_sevenths_of_the_short_side(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    picture = read_resized(str(save(tmp_path / "a.png", soft(*size))), CONFIG)
    height, width, _ = picture.shape
    assert min(height, width) == 37
    assert width / height == pytest.approx(size[0] / size[1], rel=0.02)


def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    soft(300, 200).save(tmp_path / "a.jpg", exif=exif)
    assert read_resized(str(tmp_path / "a.jpg"), CONFIG).shape == (56, 37, 3)


def test_squares_lie_anywhere_in_the_photograph(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 240, 3, dtype=np.uint8)[None, :, None], 40, axis=0)
    path = save(tmp_path / "a.png", Image.fromarray(ramp.repeat(3, axis=2)))
    pictures = Pictures([str(path)], CONFIG, flip=False, free_bytes=10**9)
    squares = [pictures.square(0, np.random.default_rng(seed)) for seed in range(200)]
    assert {square.shape for square in squares} == {(32, 32, 3)}
    lefts = [int(square[0, 0, 0]) for square in squares]
    assert min(lefts) < 10
    assert max(lefts) > 120
    assert all(np.all(np.diff(square[0, :, 0].astype(int)) >= 0) for square in squares)
    mirrored = Pictures([str(path)], CONFIG, flip=True, free_bytes=10**9)
    falling = [
        mirrored.square(0, np.random.default_rng(seed))[0, 0, 0]
        > mirrored.square(0, np.random.default_rng(seed))[0, -1, 0]
        for seed in range(200)
    ]
    assert 70 < sum(falling) < 130


def test_what_is_kept_in_memory_changes_nothing(tmp_path: Path) -> None:
    paths = [str(save(tmp_path / f"{n}.png", soft(60, 80, n))) for n in range(3)]
    squares = [
        [
            Pictures(paths, CONFIG, flip=True, free_bytes=free_bytes).square(
                number, np.random.default_rng(number)
            )
            for number in (0, 1, 2, 0, 1, 2)
        ]
        for free_bytes in (0, 6000, 10**9)
    ]
    np.testing.assert_array_equal(squares[0], squares[1])
    np.testing.assert_array_equal(squares[0], squares[2])


def test_a_damaged_photograph_is_a_photo_error(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="damaged picture: image file is truncated"):
        read_resized(str(save_truncated_jpeg(tmp_path / "a.jpg")), CONFIG)


def test_a_photograph_too_large_to_read_is_a_photo_error(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="20000 x 20000 is 400 megapixels, the limit is 250"):
        read_resized(str(save_bomb(tmp_path / "a.png", 20_000)), CONFIG)


def batches(
    folder: Path, processes: Processes, failures: list[Failure], n: int = 7
) -> tuple[Batches, Plan]:
    paths = [str(save(folder / f"{n}.png", soft(40, 40, n))) for n in range(n)]
    pairs = [Pair(path, ("a cat", "a small cat", f"cat {i}")) for i, path in enumerate(paths)]
    plan = Plan(n, batch_size=3, n_epochs=2, seed=0)
    captions = Captions(pairs, 77, truncate=False)
    pictures = Pictures(paths, CONFIG, flip=False, free_bytes=0)
    return Batches(pairs, captions, pictures, plan, processes, failures.append), plan


def same(first: Batch, second: Batch) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
    )


def test_every_epoch_has_another_order_and_each_pair_at_most_once() -> None:
    plan = Plan(7, batch_size=3, n_epochs=2, seed=0)
    assert (plan.steps_per_epoch, plan.n_steps) == (2, 4)
    epochs = [np.concatenate([plan.batch(step) for step in some]) for some in ((0, 1), (2, 3))]
    assert [len(set(epoch.tolist())) for epoch in epochs] == [6, 6]
    assert epochs[0].tolist() != epochs[1].tolist()


def test_batches_are_the_same_from_any_step_and_with_any_number_of_threads(
    tmp_path: Path,
) -> None:
    some, _ = batches(tmp_path, Processes(), [])
    whole = list(some.read(range(4), 1))
    rest = list(some.read(range(2, 4), 3))
    assert len(whole) == 4
    assert all(map(same, whole[2:], rest))


def test_the_shares_of_two_processes_make_the_batch(tmp_path: Path) -> None:
    whole = next(batches(tmp_path, Processes(), [])[0].read(range(1), 1))
    shares = [
        next(batches(tmp_path, Processes(rank, 2), [])[0].read(range(1), 1)) for rank in (0, 1)
    ]
    assert [len(share.pictures) for share in shares] == [2, 1]
    assert torch.equal(torch.cat([share.pictures for share in shares]), whole.pictures)
    assert torch.equal(torch.cat([share.captions for share in shares]), whole.captions)


def test_each_caption_of_a_batch_is_encoded_once(tmp_path: Path) -> None:
    some, _ = batches(tmp_path, Processes(), [])
    for batch in some.read(range(4), 1):
        assert len(batch.tokens) == len(set(batch.captions.tolist()))
        assert len(set(map(tuple, batch.tokens.tolist()))) == len(batch.tokens)
        first_seen = {int(row): int(n) for row, n in zip(batch.rows, batch.captions, strict=True)}
        assert [first_seen[int(row)] for row in batch.rows] == batch.captions.tolist()


def test_captions_of_the_same_tokens_are_the_same_caption() -> None:
    pairs = [Pair("a", ("a cat",)), Pair("b", ("A  Cat",)), Pair("c", ("a dog",))]
    captions = Captions(pairs, 77, truncate=False)
    assert captions.number("a cat") == captions.number("A  Cat") != captions.number("a dog")


def test_a_label_in_two_templates_means_the_same() -> None:
    words = ("a cat", "a photo of a cat")
    label, table = Pair("a", words, is_label=True), Pair("b", words)
    captions = Captions([label, table], 77, truncate=False)
    assert len({captions.meaning(label, text) for text in words}) == 1
    assert len({captions.meaning(table, text) for text in words}) == 2


def test_a_caption_that_is_too_long_is_refused_or_cut() -> None:
    pairs = [Pair("a", ("cat " * 20,))]
    with pytest.raises(TextTooLongError):
        Captions(pairs, 16, truncate=False)
    captions = Captions(pairs, 16, truncate=True)
    assert captions.tokens(np.array([0])).shape == (1, 16)


def test_a_photograph_that_cannot_be_read_is_named_once_and_left_out(tmp_path: Path) -> None:
    failures: list[Failure] = []
    some, plan = batches(tmp_path, Processes(), failures)
    (tmp_path / "4.png").write_bytes(b"no picture")
    sizes = [len(batch.pictures) for batch in some.read(range(plan.n_steps), 2)]
    n_drawn = sum(4 in plan.batch(step) for step in range(plan.n_steps))
    assert sum(sizes) == 12 - n_drawn
    assert [failure.path for failure in failures] == [str(tmp_path / "4.png")]


def test_paths_that_are_no_utf_8_are_kept(tmp_path: Path) -> None:
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    save(tmp_path / name, format="PNG")
    save(tmp_path / "b.png")
    data = b"path,caption\n\xff.png,a cat\nb.png,a dog\n"
    (tmp_path / "p.csv").write_bytes(data)
    found = read_pairs(str(tmp_path / "p.csv"))
    assert found.pairs[0].path == str(tmp_path / name)
    assert len(found.fingerprint()) == 64
