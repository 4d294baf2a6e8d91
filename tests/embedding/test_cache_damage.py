"""Whatever happens to the cache's file, answers are right, and no command ends in a traceback.

In the environment, DAMAGED_CACHES=2000 tries so many, and DAMAGED_FROM=44 leaves out the first 44.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from damage import KINDS, damage_the_log
from pictures import noise, save
from places import REFERENCE
from safetensors.torch import save_file

import clipcli
from clipcli.cli import cache
from clipcli.embedding.cache import photos
from clipcli.embedding.cache.photos import FileState, PhotoEntry, PhotoMemory
from clipcli.embedding.cache.repair import repair
from clipcli.embedding.cache.store import FILE_NAME, Cache
from clipcli.embedding.embedder import Embedder
from clipcli.errors import CacheError
from clipcli.models.checkpoint import checkpoint
from clipcli.models.tokenizer import clip_tokenizer
from clipcli.records import Classified

N_CACHES = int(os.environ.get("DAMAGED_CACHES", "44"))
FIRST_SEED = int(os.environ.get("DAMAGED_FROM", "0"))
N_PHOTOS = 12
N_OTHERS = 150  # entries of photographs elsewhere, so that tables have several pages
LABELS = ["dog", "cat", "rocket", "cup"]


@dataclass(frozen=True)
class Setting:
    """An album, its right answers, and two caches: one that knows the album, and another."""

    model: Path
    album: Path
    expected: list[Classified]
    cache: Path
    other: Path

    def copy(self, folder: Path, with_log: bool) -> Path:
        """The cache in an empty folder: as a run leaves it, or a killed one, with SQLite's log."""
        copy_folder(self.cache.parent / "killed" if with_log else self.cache.parent, folder)
        return folder / FILE_NAME

    def open(self, cache: Path | None) -> Embedder:
        return Embedder.open(
            str(self.model),
            device="cpu",
            precision="fp32",
            cache_dir=cache and cache.parent,
            remember=cache is not None,
        )

    def classify(self, cache: Path | None) -> list[Classified]:
        """The labels of the album."""
        embedder = self.open(cache)
        records = list(clipcli.classify(self.album, LABELS, embedder, top_k=len(LABELS)))
        embedder.warn_of_damage()
        return [record for record in records if isinstance(record, Classified)]

    def assert_right(self, cache: Path) -> None:
        found = self.classify(cache)
        assert [record.path for record in found] == [record.path for record in self.expected]
        for record, right in zip(found, self.expected, strict=True):
            assert record.middle_only == right.middle_only, record.path
            for one, other in zip(record.predictions, right.predictions, strict=True):
                assert one.label == other.label, record.path
                assert one.similarity == pytest.approx(other.similarity, abs=1e-5), record.path


def copy_folder(source: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)


def save_model(path: Path, seed: int) -> Path:
    """A random CLIP of 48 * 48 pixels with CLIP's own vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    tensors = checkpoint.read(REFERENCE / "models/vit.pt").tensors
    tensors["token_embedding.weight"] = torch.randn(
        clip_tokenizer().n_tokens, 64, generator=generator
    )
    for name in ("visual.proj", "text_projection"):
        tensors[name] = torch.randn(tensors[name].shape, generator=generator)
    tensors["vocab_size"] = torch.tensor(clip_tokenizer().n_tokens)
    save_file(tensors, path)
    os.utime(path, (10**9, 10**9))
    return path


def remember_others(embedder: Embedder, root: Path, seed: int) -> None:
    """Entries of photographs that are not here, in several transactions."""
    random = np.random.default_rng(seed)
    cache = Cache(root)
    memory = PhotoMemory(cache, embedder.spec, "crop")
    for start in range(0, N_OTHERS, 50):
        vectors = random.normal(size=(50, embedder.spec.embed_dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        memory.remember(
            [
                PhotoEntry(
                    f"/elsewhere/{seed}/photo {start + n}.jpg",
                    random.bytes(32),
                    FileState(1000 + n, 10**18 + n, 10**18 + n, n),
                    random.bytes(32),
                    bool(n % 3),
                    vector,
                )
                for n, vector in enumerate(vectors)
            ]
        )
    cache.close()


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("damage")
    album = folder / "album"
    album.mkdir()
    for seed in range(N_PHOTOS):
        save(album / f"{seed}.png", noise(150 if seed in (3, 7) else 64, 48, seed))
    model = save_model(folder / "model.safetensors", 1)
    caches = [folder / name / FILE_NAME for name in ("cache", "other")]
    setting = Setting(model, album, [], *caches)
    setting.expected.extend(setting.classify(None))
    assert len(setting.expected) == N_PHOTOS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photos, "SETTLED_NS", 0)  # as if the album had been there for a while
        for seed, cache in enumerate(caches):
            embedder = setting.open(cache)  # while it is open, SQLite keeps its log
            remember_others(embedder, cache.parent, 2 * seed)
            if seed == 0:
                setting.assert_right(cache)
            remember_others(embedder, cache.parent, 2 * seed + 1)
            shutil.copytree(cache.parent, cache.parent / "killed")
            del embedder
    assert all(record.recalled for record in setting.classify(caches[0]))
    return setting


def test_damage_changes_no_answer(
    setting: Setting, tmp_path: Path, notes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + N_CACHES):
        damage = KINDS[seed % len(KINDS)]
        damaged = setting.copy(tmp_path / "damaged", damage is damage_the_log)
        damage(damaged, Random(seed), setting.other)
        try:
            try_runs(setting, damaged, tmp_path / "copy", notes, seen)
            try_commands(setting, damaged, tmp_path / "copy", notes, seen)
        except BaseException as error:
            error.add_note(f"seed {seed}: {damage.__name__}")
            raise
    with capsys.disabled():
        print(f"\n{N_CACHES} damaged caches: {dict(seen)}")
    assert seen["with damaged entries"]
    assert seen["given up by the run"]
    assert seen["repaired"]


def try_runs(
    setting: Setting, damaged: Path, folder: Path, notes: list[str], seen: Counter[str]
) -> None:
    """Every answer is right, in a run that meets the damage and in the next."""
    copy_folder(damaged.parent, folder)
    notes.clear()
    setting.assert_right(folder / FILE_NAME)
    assert len(notes) <= 2
    for note in notes:
        n_entries, is_count, _ = note.partition(" damaged entr")
        seen["damaged entries"] += int(n_entries.split()[-1]) if is_count else 0
        seen["with damaged entries"] += bool(is_count)
        seen["given up by the run"] += not is_count
    setting.assert_right(folder / FILE_NAME)


def try_commands(
    setting: Setting, damaged: Path, folder: Path, notes: list[str], seen: Counter[str]
) -> None:
    """Each command ends well or in one line, and what is repaired is whole."""
    copy_folder(damaged.parent, folder)
    where = str(folder)
    for command in (cache.info, cache.verify, partial(cache.prune, yes=True)):
        with suppress(CacheError):
            assert command(where) == 0
    setting.assert_right(folder / FILE_NAME)
    copy_folder(damaged.parent, folder)
    try:
        repaired = repair(folder / FILE_NAME)
    except CacheError:
        seen["not repaired"] += 1
        assert cache.clear(where, yes=True) == 0
    else:
        seen["repaired"] += 1
        seen["entries kept"] += repaired.n_kept
        seen["entries dropped"] += repaired.n_dropped
    assert cache.verify(where) == 0
    notes.clear()
    setting.assert_right(folder / FILE_NAME)
    assert notes == []
