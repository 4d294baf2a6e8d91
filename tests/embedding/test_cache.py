"""What the cache knows again, what it takes for new, and whose embedding it is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from opened import opened
from pictures import noise, save, save_truncated_jpeg, soft
from PIL import Image
from places import REFERENCE
from program import Result
from safetensors.torch import save_file

import clipcli
from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.errors import TextTooLongError
from clipcli.models.checkpoint import checkpoint
from clipcli.models.tokenizer import clip_tokenizer
from clipcli.photos.decode import DecodeOptions
from clipcli.records import Embedded, Failure, Precision

Cli = Callable[..., Result]

MODELS = REFERENCE / "models"
VIT = MODELS / "vit.pt"  # pictures of 48 * 48, and a vocabulary of its own
LONG_AGO = 10**18  # ns: 2001
SETTLE_S = 2.1  # a file that was changed in the last two seconds is not trusted


@dataclass(frozen=True)
class Memory:
    """A cache, and a model with it."""

    cache: Path
    model: Path = VIT
    precision: Precision = "fp32"

    def open(self) -> Embedder:
        return Embedder.open(
            str(self.model),
            device="cpu",
            precision=self.precision,
            cache_dir=self.cache,
        )

    def embed(self, *paths: Path, decode: DecodeOptions | None = None) -> list[Embedded]:
        """The embeddings of a new run."""
        options = RunOptions(decode or DecodeOptions(), batch_size=4)
        records = clipcli.embed(paths, self.open(), options=options)
        return [record for record in records if isinstance(record, Embedded)]

    def embed_one(self, path: Path, decode: DecodeOptions | None = None) -> Embedded:
        (record,) = self.embed(path, decode=decode)
        return record

    def without(self, path: Path, decode: DecodeOptions | None = None) -> NDArray[np.float32]:
        """What the model says where nothing is remembered."""
        embedder = Embedder.open(
            str(self.model), device="cpu", precision=self.precision, remember=False
        )
        (record,) = clipcli.embed([path], embedder, options=RunOptions(decode or DecodeOptions()))
        assert isinstance(record, Embedded)
        return record.embedding


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache")


@pytest.fixture
def album(tmp_path: Path, example_photos: Path) -> Path:
    """Six small photographs, made just now."""
    return make_album(tmp_path / "album", example_photos)


def make_album(folder: Path, example_photos: Path) -> Path:
    folder.mkdir()
    for path in example_photos.glob("*.jpg"):
        with Image.open(path) as photo:
            photo.resize((96, 72)).save(folder / path.name)
    return folder


def encoded(records: Sequence[Embedded]) -> list[str]:
    """Names of the photographs that were not known."""
    return [Path(record.path).name for record in records if not record.recalled]


def assert_same(some: Sequence[Embedded], others: Sequence[Embedded]) -> None:
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one.embedding, other.embedding)


def assert_close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-5)


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """The same JPEG with other metadata."""
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


# --- by its content


def test_every_photograph_is_encoded_once(memory: Memory, album: Path) -> None:
    first, second = memory.embed(album), memory.embed(album)
    assert len(encoded(first)) == 6
    assert encoded(second) == []
    assert [record.path for record in second] == [record.path for record in first]
    assert_same(second, first)
    for record in second:
        assert_close(record.embedding, memory.without(Path(record.path)))


@pytest.mark.parametrize("way", ["renamed", "moved", "copied", "linked"])
def test_a_photograph_is_known_under_another_path(memory: Memory, album: Path, way: str) -> None:
    (before,) = memory.embed(album / "cat.jpg")
    new = album.parent / "elsewhere" / "dog.png"
    new.parent.mkdir()
    if way == "renamed":
        new = (album / "cat.jpg").rename(album / "kitten.jpg")
    elif way == "moved":
        (album / "cat.jpg").rename(new)
    elif way == "copied":
        shutil.copy(album / "cat.jpg", new)
    else:
        new.symlink_to(album / "cat.jpg")
    after = memory.embed_one(new)
    assert after.recalled
    assert after.path == str(new)
    assert_same([after], [before])


def test_another_photograph_under_a_known_path_is_encoded(memory: Memory, album: Path) -> None:
    memory.embed(album)
    (album / "cat.jpg").rename(album / "other.jpg")
    (album / "coffee.jpg").rename(album / "cat.jpg")
    records = memory.embed(album)
    assert encoded(records) == []
    by_name = {Path(record.path).name: record.embedding for record in records}
    assert_close(by_name["cat.jpg"], memory.without(album / "cat.jpg"))
    save(album / "cat.jpg", noise(96, 72))
    assert encoded(memory.embed(album)) == ["cat.jpg"]


def test_rewritten_metadata_is_not_encoded_again(memory: Memory, album: Path) -> None:
    before = memory.embed_one(album / "cat.jpg")
    jpeg = (album / "cat.jpg").read_bytes()
    (album / "cat.jpg").write_bytes(with_comment(jpeg, b"a cat, on a sofa"))
    after = memory.embed_one(album / "cat.jpg")
    assert after.recalled
    assert_same([after], [before])


def test_metadata_that_turn_the_picture_are_encoded_again(memory: Memory, album: Path) -> None:
    path = album / "cat.jpg"
    memory.embed(path)
    exif = Image.Exif()
    exif[0x0112] = 6  # the right side is up
    with Image.open(path) as picture:
        picture.save(path, exif=exif, quality="keep")
    after = memory.embed_one(path)
    assert not after.recalled
    assert_close(after.embedding, memory.without(path))


def test_copies_in_one_run_have_one_embedding(memory: Memory, album: Path) -> None:
    for index in range(20):
        shutil.copy(album / "cat.jpg", album / f"copy{index}.jpg")
    for _ in range(2):
        records = {Path(one.path).name: one.embedding for one in memory.embed(album)}
        cat = records["cat.jpg"]
        for index in range(20):
            assert_close(records[f"copy{index}.jpg"], cat)


def test_what_is_longer_than_2_to_1_is_known_to_be(memory: Memory, tmp_path: Path) -> None:
    long = save(tmp_path / "long.jpg", noise(200, 90))
    assert memory.embed_one(long).middle_only
    again = memory.embed_one(long)
    assert (again.recalled, again.middle_only) == (True, True)
    padded = memory.embed_one(long, DecodeOptions("pad"))
    assert (padded.recalled, padded.middle_only) == (False, False)


def test_a_photograph_that_failed_is_tried_again(memory: Memory, tmp_path: Path) -> None:
    path = save_truncated_jpeg(tmp_path / "photo.jpg")
    for _ in range(2):
        (record,) = clipcli.embed([path], memory.open())
        assert isinstance(record, Failure)
        assert "truncated" in record.error
    save(path, soft(160, 120))
    assert not memory.embed_one(path).recalled


def test_times_that_no_clock_has_shown_are_no_harm(memory: Memory, album: Path) -> None:
    for times_ns in ((0, -(10**18)), (0, 10**19)):  # before 1970; 2286, past 64 bits of ns
        os.utime(album / "cat.jpg", ns=times_ns)
        assert len(memory.embed(album)) == 6


# --- by its path


CHANGES = ("nothing", "read", "touched", "mode", "rewritten", "replaced", "swapped")


@dataclass(frozen=True)
class Trusted:
    """Photographs that are known by path, one for each change, and what it took."""

    memory: Memory
    album: Path
    opened_at_once: list[str]
    opened_after_a_while: list[str]


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Trusted:
    folder = tmp_path_factory.mktemp("trusted")
    album = folder / "album"
    album.mkdir()
    for seed, change in enumerate(CHANGES):
        path = save(album / f"{change}.bmp", noise(64, 48, seed))  # all of one size
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    memory = Memory(folder / "cache")
    memory.embed(album)
    with opened() as at_once:
        memory.embed(album)
    time.sleep(SETTLE_S)
    with opened() as after_a_while:
        memory.embed(album)
    return Trusted(memory, album, at_once, after_a_while)


def test_what_was_changed_within_two_seconds_of_being_read_is_read_again(trusted: Trusted) -> None:
    photos = {str(path) for path in trusted.album.iterdir()}
    assert photos <= set(trusted.opened_at_once)
    assert photos <= set(trusted.opened_after_a_while)


def test_an_unchanged_path_is_trusted_without_being_read(trusted: Trusted) -> None:
    path = trusted.album / "nothing.bmp"
    with opened() as paths:
        record = trusted.memory.embed_one(path)
    assert record.recalled
    assert str(path) not in paths
    assert_close(record.embedding, trusted.memory.without(path))


def test_reading_a_photograph_does_not_change_it(trusted: Trusted) -> None:
    path = trusted.album / "read.bmp"
    path.read_bytes()
    with opened() as paths:
        assert trusted.memory.embed_one(path).recalled
    assert str(path) not in paths


def test_a_path_is_trusted_however_it_is_written(
    trusted: Trusted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trusted.album)
    with opened() as paths:
        for path in (Path("nothing.bmp"), Path("../album/nothing.bmp")):
            assert trusted.memory.embed_one(path).recalled
    assert not [path for path in paths if path.endswith("nothing.bmp")]


@pytest.mark.parametrize("change", ["touched", "mode"])
def test_a_path_whose_times_changed_is_read_and_not_encoded(trusted: Trusted, change: str) -> None:
    path = trusted.album / f"{change}.bmp"
    if change == "touched":
        os.utime(path)
    else:
        path.chmod(0o600)
    with opened() as paths:
        assert trusted.memory.embed_one(path).recalled
    assert str(path) in paths


@pytest.mark.parametrize("change", ["rewritten", "replaced"])
def test_other_bytes_of_the_same_size_and_time_are_noticed(trusted: Trusted, change: str) -> None:
    path = trusted.album / f"{change}.bmp"
    before = path.stat()
    target = path if change == "rewritten" else path.with_suffix(".new")
    other = save(path.parent.parent / "other.bmp", noise(64, 48, 100 + CHANGES.index(change)))
    target.write_bytes(other.read_bytes())
    os.utime(target, ns=(before.st_mtime_ns, before.st_mtime_ns))
    target.replace(path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    record = trusted.memory.embed_one(path)
    assert not record.recalled
    assert_close(record.embedding, trusted.memory.without(path))


def test_a_path_is_another_photographs_after_a_rename(trusted: Trusted) -> None:
    path = trusted.album / "swapped.bmp"
    shutil.copy2(trusted.album / "nothing.bmp", trusted.album / "new.bmp")
    (trusted.album / "new.bmp").replace(path)
    with opened() as paths:
        record = trusted.memory.embed_one(path)
    assert record.recalled
    assert str(path) in paths
    assert_close(record.embedding, trusted.memory.without(trusted.album / "nothing.bmp"))


# --- whose embedding it is


def save_model(path: Path, seed: int) -> Path:
    """A random CLIP of 48 * 48 pixels with CLIP's own vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    tensors = checkpoint.read(VIT).tensors
    tensors["token_embedding.weight"] = torch.randn(
        clip_tokenizer().n_tokens, 64, generator=generator
    )
    for name in ("visual.proj", "text_projection"):
        tensors[name] = torch.randn(tensors[name].shape, generator=generator)
    tensors["vocab_size"] = torch.tensor(clip_tokenizer().n_tokens)
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkpoints that differ in their tensors alone."""
    folder = tmp_path_factory.mktemp("models")
    return save_model(folder / "one.safetensors", 1), save_model(folder / "other.safetensors", 2)


def test_another_model_answers_for_itself_and_the_first_is_not_forgotten(
    memory: Memory, models: tuple[Path, Path], album: Path
) -> None:
    one, other = (Memory(memory.cache, model) for model in models)
    first = one.embed(album)
    second = other.embed(album)
    assert len(encoded(second)) == 6
    for record in second:
        assert_close(record.embedding, other.without(Path(record.path)))
    assert np.abs(first[0].embedding - second[0].embedding).max() > 0.1
    again = one.embed(album)
    assert encoded(again) == []
    assert_same(again, first)


def test_the_same_model_in_another_file_is_the_same_model(memory: Memory, album: Path) -> None:
    memory.embed(album)
    assert encoded(Memory(memory.cache, MODELS / "vit_hf").embed(album)) == []


def test_a_checkpoint_that_was_replaced_is_another_model(
    models: tuple[Path, Path], memory: Memory, album: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    mine = Memory(memory.cache, path)
    for model in models:
        shutil.copy(model, path)
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        record = mine.embed_one(album / "cat.jpg")
        assert not record.recalled
        assert_close(record.embedding, mine.without(album / "cat.jpg"))


def test_each_precision_has_its_own_embeddings(memory: Memory, album: Path) -> None:
    half = Memory(memory.cache, precision="bf16")
    whole = memory.embed(album)
    assert len(encoded(half.embed(album))) == 6
    record = half.embed_one(album / "cat.jpg")
    assert record.recalled
    np.testing.assert_allclose(record.embedding, half.without(album / "cat.jpg"), atol=0.02)
    again = memory.embed(album)
    assert encoded(again) == []
    assert_same(again, whole)


@pytest.mark.parametrize(
    "decode",
    [
        DecodeOptions("pad"),
        DecodeOptions("squash"),
        DecodeOptions(exact=True),
        DecodeOptions(reference=True),
    ],
    ids=lambda options: options.name,
)
def test_each_way_of_preparing_has_its_own_embeddings(
    memory: Memory, tmp_path: Path, decode: DecodeOptions
) -> None:
    path = tmp_path / "large.jpg"
    exif = Image.Exif()
    exif[0x0112] = 3
    noise(480, 360).save(path, exif=exif)  # four times what the model looks at, and turned
    default = memory.embed_one(path)
    other = memory.embed_one(path, decode)
    assert not other.recalled
    assert_close(other.embedding, memory.without(path, decode))
    assert np.abs(other.embedding - default.embedding).max() > 1e-3
    again = memory.embed_one(path)
    assert again.recalled
    assert_same([again], [default])
    again = memory.embed_one(path, decode)
    assert again.recalled
    assert_same([again], [other])


@pytest.mark.parametrize(
    "decode",
    [DecodeOptions("squash"), DecodeOptions(exact=True), DecodeOptions(reference=True)],
    ids=lambda options: options.name,
)
def test_the_same_pixels_prepared_in_another_way_are_not_encoded_again(
    memory: Memory, tmp_path: Path, decode: DecodeOptions
) -> None:
    path = save(tmp_path / "square.png", noise(48, 48))
    memory.embed(path)
    record = memory.embed_one(path, decode)
    assert record.recalled
    assert_close(record.embedding, memory.without(path, decode))


# --- texts


TEXTS = ["a photo of a dog.", "a photo of a cat.", "ein Hund \N{DOG FACE}", ""]


def test_texts_are_remembered_to_the_bit(memory: Memory, models: tuple[Path, Path]) -> None:
    one = Memory(memory.cache, models[0])
    first = one.open().encode_texts(TEXTS)
    mixed = one.open().encode_texts(["new", *reversed(TEXTS), "new"])
    np.testing.assert_array_equal(mixed[1:-1], first[::-1])
    np.testing.assert_array_equal(mixed[0], mixed[-1])
    assert np.abs(mixed[0] - first).max(axis=1).min() > 0.01


def test_texts_of_one_model_are_never_anothers(memory: Memory, models: tuple[Path, Path]) -> None:
    found = [Memory(memory.cache, model).open().encode_texts(TEXTS) for model in models]
    assert np.abs(found[0] - found[1]).max(axis=1).min() > 0.1
    for model, embeddings in zip(models, found, strict=True):
        np.testing.assert_array_equal(
            Memory(memory.cache, model).open().encode_texts(TEXTS), embeddings
        )
        without = Embedder.open(str(model), device="cpu", precision="fp32", remember=False)
        assert_close(embeddings, without.encode_texts(TEXTS))


def test_a_truncated_text_is_known_to_those_who_allow_it(
    memory: Memory, models: tuple[Path, Path]
) -> None:
    one = Memory(memory.cache, models[0])
    long = "dog " * 100
    truncated = one.open().encode_texts([long], truncate=True)
    with pytest.raises(TextTooLongError):
        one.open().encode_texts([long])
    np.testing.assert_array_equal(one.open().encode_texts([long], truncate=True), truncated)


# --- from the command line


def test_classify_embed_and_similar_know_what_one_of_them_has_seen(
    cli: Cli, models: tuple[Path, Path], album: Path, tmp_path: Path
) -> None:
    shared = ("--model", models[0], "--cache-dir", tmp_path / "cache")
    save(tmp_path / "new.png", noise(40, 40))
    first = cli("classify", album, "--labels", "dog,cat", *shared)
    assert first.last_line.endswith(" images/s")
    commands: list[tuple[object, ...]] = [
        ("classify", album, "--labels", "cup,rocket"),
        ("embed", album, "-o", tmp_path / "album.npy"),
        ("similar", "a dog", album, "--text"),
        ("similar", album / "cat.jpg", album),
    ]
    for command in commands:
        assert cli(*command, *shared).last_line.endswith(" on cpu; all known from before")
    again = cli("classify", album, "--labels", "dog,cat", *shared)
    assert again.stdout == first.stdout
    more = cli("classify", album, tmp_path / "new.png", "--labels", "dog,cat", *shared)
    assert more.last_line.endswith(" images/s; 6 known from before")


def test_no_cache_neither_looks_nor_keeps(
    cli: Cli, models: tuple[Path, Path], album: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    shared = ("--model", models[0], "--cache-dir", cache, "--no-cache")
    assert cli("classify", album, "--labels", "dog,cat", *shared).code == 0
    assert not cache.exists()
    cache.mkdir()
    (cache / "embeddings.sqlite").write_bytes(b"who looks at this complains")
    result = cli("classify", album, "--labels", "dog,cat", *shared)
    assert result.code == 0
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in cache.iterdir()] == ["embeddings.sqlite"]
    assert (cache / "embeddings.sqlite").read_bytes() == b"who looks at this complains"


def test_the_cache_lies_where_the_environment_says(
    cli: Cli, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_CACHE", str(tmp_path / "mine"))
    arguments = ("embed", album, "--model", VIT, "-o", tmp_path / "album.npy")
    cli(*arguments)
    assert (tmp_path / "mine/embeddings.sqlite").exists()
    assert cli(*arguments).last_line.endswith("; all known from before")
