"""Order, pace and bounds of a run, over real photographs and files that are none."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from opened import opened
from pictures import noise, save
from PIL import Image
from places import REFERENCE

from clipcli.embedding.cache.photos import PhotoMemory
from clipcli.embedding.cache.store import Cache
from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import (
    N_HELD,
    N_RECALLED_AT_ONCE,
    EmbeddedOrNot,
    EmbeddingRun,
    RunOptions,
)
from clipcli.embedding.read_photo import ReadPhoto
from clipcli.errors import ExitCode, StoppedError
from clipcli.models.encoder import Encoder
from clipcli.photos.decode import DecodeOptions
from clipcli.photos.find import FoundFile
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Embedded, Failure, PassedOver, Photo

VIT = str(REFERENCE / "models" / "vit.pt")  # pictures of 48 * 48
BATCH = 4
WAIT_S = 30  # for what comes at once; a test that waits so long has failed


class CountingEncoder(Encoder):
    """The real one, and how many pictures each call brought."""

    counts: list[int]

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.counts.append(len(pixels))
        return super().encode_pixels(pixels)


@pytest.fixture(scope="module")
def embedder(lite: str) -> Embedder:
    return Embedder.open(lite, device="cpu", remember=False)


@pytest.fixture
def encoder() -> CountingEncoder:
    encoder = CountingEncoder.open(VIT, device="cpu", precision="fp32")
    assert isinstance(encoder, CountingEncoder)
    encoder.counts = []
    return encoder


@pytest.fixture
def memory(encoder: Encoder, tmp_path: Path) -> PhotoMemory:
    return remembering(encoder, tmp_path)


def remembering(
    encoder: Encoder, root: Path, kind: Callable[..., PhotoMemory] = PhotoMemory
) -> PhotoMemory:
    cache = Cache(root / "cache")
    return kind(cache, encoder.spec, DecodeOptions().name)


def run_of(
    encoder: Encoder, memory: PhotoMemory | None = None, batch_size: int = BATCH, workers: int = 2
) -> EmbeddingRun:
    options = RunOptions(batch_size=batch_size, workers=workers)
    return EmbeddingRun(encoder.spec, lambda: encoder, memory, options)


def embedded(run: EmbeddingRun, found: Iterable[FoundFile]) -> list[Embedded]:
    records = [record for some in run.records(found) for record in some]
    assert all(isinstance(record, Embedded) for record in records)
    return [record for record in records if isinstance(record, Embedded)]


def album(folder: Path, n: int) -> list[Photo]:
    """`n` different photographs."""
    folder.mkdir()
    return [Photo(str(save(folder / f"{seed}.png", noise(48, 48, seed)))) for seed in range(n)]


def run_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("decode", "encode"))]


# --- order


def test_results_failures_and_passed_over_files_keep_their_order(
    embedder: Embedder, example_photos: Path
) -> None:
    cat, rocket = (Photo(str(example_photos / name)) for name in ("cat.jpg", "rocket.jpg"))
    found: list[FoundFile] = [
        PassedOver("a"),
        cat,
        Failure("b", "no"),
        rocket,
        Photo("missing"),
        cat,
    ]
    records = list(embedder.embed_photos(found, RunOptions(batch_size=2)))
    kinds = [PassedOver, Embedded, Failure, Embedded, Failure, Embedded]
    assert [type(record) for record in records] == kinds
    assert [record.path for record in records] == [record.path for record in found]


def test_a_hundred_thousand_files_without_pixels_are_passed_on(
    embedder: Embedder, example_photos: Path
) -> None:
    found: list[FoundFile] = [Photo(str(example_photos / "cat.jpg"))]
    found += [PassedOver(f"{number}.txt") for number in range(100_000)]
    records = list(embedder.embed_photos(found))
    assert records[1:] == found[1:]


# --- the model


def test_the_model_begins_to_open_before_a_batch_is_full(encoder: Encoder, tmp_path: Path) -> None:
    begun = threading.Event()
    opened_by: list[str] = []

    def open_encoder() -> Encoder:
        opened_by.append(threading.current_thread().name)
        begun.set()
        return encoder

    def found() -> Iterator[FoundFile]:
        yield from album(tmp_path / "album", 1)
        for number in range(N_RECALLED_AT_ONCE - 1):
            yield PassedOver(f"{number}.txt")
        assert begun.wait(WAIT_S)
        yield PassedOver("last.txt")

    run = EmbeddingRun(encoder.spec, open_encoder, None, RunOptions())
    assert sum(len(some) for some in run.records(found())) == N_RECALLED_AT_ONCE + 1
    assert [name.partition("_")[0] for name in opened_by] == ["encode"]


def test_the_model_is_not_opened_where_nothing_needs_it(
    encoder: Encoder, memory: PhotoMemory, tmp_path: Path
) -> None:
    photos = album(tmp_path / "album", 3)
    embedded(run_of(encoder, memory), photos)
    openings: list[str] = []

    def open_encoder() -> Encoder:
        openings.append("one")
        return encoder

    found = [*photos, PassedOver("a.txt"), Failure("b", "no"), Photo("missing")]
    run = EmbeddingRun(encoder.spec, open_encoder, memory, RunOptions())
    assert sum(len(some) for some in run.records(found)) == 6
    assert openings == []


def test_a_model_that_cannot_be_opened_ends_the_run(encoder: Encoder, tmp_path: Path) -> None:
    openings: list[str] = []

    def open_encoder() -> Encoder:
        openings.append("one")
        raise ValueError("no model")

    run = EmbeddingRun(encoder.spec, open_encoder, None, RunOptions(batch_size=BATCH))
    with pytest.raises(ValueError, match="no model"):
        list(run.records(album(tmp_path / "album", 3 * BATCH)))
    assert openings == ["one"]
    assert run_threads() == []


def test_on_cuda_the_open_model_says_the_batch_size(
    encoder: CountingEncoder, tmp_path: Path
) -> None:
    photos = album(tmp_path / "album", 150)
    spec = replace(encoder.spec, device="cuda")
    records = embedded(EmbeddingRun(spec, lambda: encoder, None, RunOptions()), photos)
    assert [record.path for record in records] == [photo.path for photo in photos]
    assert max(encoder.counts) == min(encoder.default_batch_size, 150)
    assert sum(encoder.counts) == 150


def test_a_remembered_model_is_compiled_if_this_run_asks_for_it(tmp_path: Path) -> None:
    for compile in (False, True, False):
        embedder = Embedder.open(VIT, device="cpu", cache_dir=tmp_path, compile=compile)
        assert embedder.spec.compiled == compile


# --- bounds


@pytest.mark.parametrize("n_files", [50, 200])
def test_about_three_batches_are_read_ahead_of_who_takes_nothing(
    encoder: Encoder, tmp_path: Path, n_files: int
) -> None:
    photos = album(tmp_path / "album", n_files)
    run = run_of(encoder, workers=1)
    with opened() as paths:
        batches = run.records(photos)
        taken = next(batches)
        run._decoding.submit(int).result()  # the one thread has read what it was given before
        ahead = {photo.path for photo in photos} & set(paths) - {one.path for one in taken}
        batches.close()
    assert len(taken) == BATCH
    assert 2 * BATCH <= len(ahead) <= 3 * BATCH


@pytest.mark.parametrize("kind", ["known", "passed over"])
def test_few_results_wait_behind_a_slow_photograph(
    encoder: Encoder, tmp_path: Path, example_photos: Path, kind: str
) -> None:
    n_pulled = 0
    n_pulled_while_slow: list[int] = []

    class Watching(PhotoMemory):
        def by_pixels(self, pixels: bytes) -> NDArray[np.float32] | None:
            n_pulled_while_slow.append(n_pulled)  # it has been decoded, and is not yet passed on
            return super().by_pixels(pixels)

    memory = remembering(encoder, tmp_path, Watching)
    known = Photo(str(example_photos / "cat.jpg"))
    embedded(run_of(encoder, memory), [known])
    n_pulled_while_slow.clear()
    slow = Photo(str(save(tmp_path / "slow.png", Image.new("RGB", (8000, 4000)))))
    behind = [known if kind == "known" else PassedOver(f"{n}.txt") for n in range(20_000)]
    found = [slow, *behind]

    def pulled() -> Iterator[FoundFile]:
        nonlocal n_pulled
        for record in found:
            n_pulled += 1
            yield record

    records = [record for some in run_of(encoder, memory).records(pulled()) for record in some]
    assert [record.path for record in records] == [record.path for record in found]
    assert n_pulled_while_slow[0] <= N_HELD + N_RECALLED_AT_ONCE


def most_alive(encoder: Encoder, photos: list[Photo]) -> tuple[int, int]:
    """The most photographs that were read, and the most embeddings, that there are at once."""
    n_read, n_embedded = [], []
    gc.freeze()  # only what is made from now on is looked at
    for some in run_of(encoder).records(photos):
        del some
        kinds = Counter(type(one) for one in gc.get_objects())
        n_read.append(kinds[ReadPhoto])
        n_embedded.append(kinds[Embedded])
    gc.unfreeze()
    assert len(n_read) == len(photos) / BATCH
    return max(n_read), max(n_embedded)


def test_eight_times_as_many_photographs_take_no_more_memory(
    encoder: Encoder, tmp_path: Path
) -> None:
    photos = album(tmp_path / "album", 8 * BATCH)
    few, many = most_alive(encoder, photos), most_alive(encoder, 8 * photos)
    for n_read, n_embedded in (few, many):
        assert 1 <= n_read <= 4 * BATCH
        assert 1 <= n_embedded <= 3 * BATCH


# --- copies


def copies(folder: Path, n: int) -> list[Photo]:
    """One photograph `n` times, in files of which every third has the same bytes."""
    folder.mkdir()
    suffixes = (".png", ".bmp", ".tiff")
    names = [f"{number}{suffixes[number % 3]}" for number in range(n)]
    return [Photo(str(save(folder / name, noise(48, 48)))) for name in names]


@pytest.mark.parametrize("batch_size", [64, 8], ids=["in one batch", "in five batches"])
def test_forty_copies_are_encoded_once(
    encoder: CountingEncoder, memory: PhotoMemory, tmp_path: Path, batch_size: int
) -> None:
    photos = copies(tmp_path / "copies", 40)
    records = embedded(run_of(encoder, memory, batch_size), photos)
    assert encoder.counts == [1]
    assert [record.path for record in records] == [photo.path for photo in photos]
    for record in records[1:]:
        np.testing.assert_array_equal(record.embedding, records[0].embedding)
    if batch_size == 64:
        assert not any(record.recalled for record in records)  # no earlier run knew it
    assert all(record.recalled for record in embedded(run_of(encoder, memory), photos))
    assert encoder.counts == [1]


def test_copies_far_apart_are_encoded_once(
    encoder: CountingEncoder, memory: PhotoMemory, tmp_path: Path
) -> None:
    first = album(tmp_path / "album", 5 * BATCH)
    again = album(tmp_path / "again", 5 * BATCH)
    records = embedded(run_of(encoder, memory), [*first, *reversed(again), *first])
    assert sum(encoder.counts) == 5 * BATCH
    by_path = {record.path: record.embedding for record in records}
    without = embedded(run_of(encoder), first)
    for one, other, expected in zip(first, again, without, strict=True):
        np.testing.assert_array_equal(by_path[one.path], by_path[other.path])
        np.testing.assert_allclose(by_path[one.path], expected.embedding, atol=1e-5)


def test_each_copy_has_an_array_of_its_own(
    encoder: Encoder, memory: PhotoMemory, tmp_path: Path
) -> None:
    one, other = embedded(run_of(encoder, memory), copies(tmp_path / "copies", 2))
    one.embedding[:] = 0
    assert np.linalg.norm(other.embedding) == pytest.approx(1, abs=1e-5)


# --- the end before the end


def stop_taking(batches: Generator[list[EmbeddedOrNot]]) -> None:
    next(batches)
    batches.close()


def stop_while_taking(batches: Generator[list[EmbeddedOrNot]]) -> None:
    next(batches)
    with pytest.raises(StoppedError):
        batches.throw(StoppedError("interrupted", ExitCode.INTERRUPTED))


def let_go(batches: Generator[list[EmbeddedOrNot]]) -> None:
    next(batches)


@pytest.mark.parametrize("stop", [stop_taking, stop_while_taking, let_go])
def test_no_thread_is_left_when_the_consumer_stops(
    encoder: Encoder,
    tmp_path: Path,
    stop: Callable[[Generator[list[EmbeddedOrNot]]], None],
) -> None:
    batches = run_of(encoder).records(album(tmp_path / "album", 200))
    assert isinstance(batches, Generator)
    stop(batches)
    del batches
    assert run_threads() == []


def test_no_thread_is_left_when_the_run_is_stopped_while_it_looks_for_files(
    encoder: Encoder, tmp_path: Path
) -> None:
    photos = album(tmp_path / "album", 10)

    def found() -> Iterator[FoundFile]:
        yield from islice(cycle(photos), N_RECALLED_AT_ONCE)
        assert run_threads() != []
        raise StoppedError("interrupted", ExitCode.INTERRUPTED)

    with pytest.raises(StoppedError):
        list(run_of(encoder).records(found()))
    assert run_threads() == []


def test_what_is_decoded_after_the_end_does_not_open_the_model(
    encoder: Encoder, tmp_path: Path
) -> None:
    openings: list[str] = []

    def open_encoder() -> Encoder:
        openings.append("one")
        return encoder

    class UntilTheEnd(PhotoMemory):
        def by_pixels(self, pixels: bytes) -> NDArray[np.float32] | None:
            give_up_s = time.monotonic() + WAIT_S
            with suppress(RuntimeError, CancelledError):  # the thread that encodes takes no work
                while time.monotonic() < give_up_s:
                    run._encoding.submit(int).result()
            return super().by_pixels(pixels)

    def found() -> Iterator[FoundFile]:
        yield from album(tmp_path / "album", 1)
        for number in range(N_RECALLED_AT_ONCE - 1):
            yield PassedOver(f"{number}.txt")
        raise StoppedError("interrupted", ExitCode.INTERRUPTED)

    memory = remembering(encoder, tmp_path, UntilTheEnd)
    run = EmbeddingRun(encoder.spec, open_encoder, memory, RunOptions())
    with pytest.raises(StoppedError):
        list(run.records(found()))
    assert openings == []


def test_runs_that_overlap_or_fail_leave_pillows_limit_to_the_host(
    embedder: Embedder, example_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts_limit = 1000  # every photograph here is larger
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", hosts_limit)
    both_run = threading.Barrier(2, timeout=60)
    seen: list[int | None] = []

    def listed(name: str, fails: bool) -> Iterator[FoundFile]:
        """A run takes what is listed when it has begun, and waits here for the other."""
        both_run.wait()
        seen.append(Image.MAX_IMAGE_PIXELS)
        both_run.wait()
        yield Photo(str(example_photos / name))
        if fails:
            raise InterruptedError("the list broke off")

    def run(name: str, max_megapixels: float, fails: bool) -> list[type]:
        options = RunOptions(DecodeOptions(max_megapixels=max_megapixels))
        return [type(one) for one in embedder.embed_photos(listed(name, fails), options)]

    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(run, "cat.jpg", 100, False)
        failed = pool.submit(run, "rocket.jpg", 200, True)
        assert read.result() == [Embedded]
        with pytest.raises(InterruptedError):
            failed.result()
    assert [*seen, Image.MAX_IMAGE_PIXELS] == [hosts_limit] * 3


@pytest.mark.parametrize(("px", "expected"), [(336, 256), (1024, 31)])
def test_a_model_for_huge_squares_is_given_fewer_at_once(
    encoder: Encoder, px: int, expected: int
) -> None:
    """A run reads two batches ahead, and the pixels of a batch are bounded."""
    spec = replace(encoder.spec, preprocess=PreprocessConfig(px))
    assert spec.batch_size(n_cores=16) == expected
    assert spec.bounded(1) == 1
