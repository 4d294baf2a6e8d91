"""Files of embeddings come back as they were written; damaged ones are one line."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from answers import LITE
from numpy.typing import NDArray
from pictures import python
from safetensors.numpy import load_file, save_file

from clipcli.errors import EmbeddingFileError, LockedError, OutputError, UsageError
from clipcli.files import embedding_file
from clipcli.files.embedding_file import SUFFIXES, Dtype, Header
from clipcli.files.embedding_writer import open_embeddings
from clipcli.files.rows import Record
from clipcli.records import Embedded, EmbeddedText, Failure, MadeBy

NAMES = ["a.jpg", "two\nlines.jpg", os.fsdecode(b"caf\xe9.jpg"), "猫/ .jpg", "x" * 300, '"\\"']
MADE_BY = MadeBy("ViT-B/32", "0123456789abcdef" * 4, "fp32", "crop")
HEADER = Header.of(MADE_BY, "float32")


def embeddings(n_rows: int, width: int = 8) -> NDArray[np.float32]:
    values = np.random.default_rng(0).normal(size=(n_rows, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def write(path: Path, names: list[str] = NAMES, dtype: Dtype = "float32") -> Path:
    with open_embeddings(path, Header.of(MADE_BY, dtype)) as writer:
        for name, embedding in zip(names, embeddings(len(names)), strict=True):
            writer.write(Embedded(name, embedding, LITE))
            writer.write(Failure("half.jpg", "truncated"))
        writer.finish()
    return path


def interrupted(path: Path, *records: Record) -> list[str]:
    """What the error of an interrupted run tells besides."""
    try:
        with open_embeddings(path, HEADER) as writer:
            for record in records:
                writer.write(record)
            raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        return getattr(error, "__notes__", [])


def refusal(path: Path) -> str:
    with pytest.raises(EmbeddingFileError) as caught:
        embedding_file.read(path)
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.fixture(params=SUFFIXES)
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / f"photos{request.param}"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_was_written_comes_back(path: Path, dtype: Dtype) -> None:
    file = embedding_file.read(write(path, dtype=dtype))
    assert file.path == path
    assert list(file.paths) == NAMES
    assert file.embeddings.dtype == np.dtype(dtype)
    assert (file.embeddings == embeddings(len(NAMES)).astype(dtype)).all()
    assert file.header == Header(
        "ViT-B/32", "0123456789abcdef" * 4, "crop", dtype, count=len(NAMES), precision="fp32"
    )


def test_file_of_no_photographs_comes_back(path: Path) -> None:
    file = embedding_file.read(write(path, []))
    assert list(file.paths) == []
    assert len(file.embeddings) == file.header.count == 0


def test_texts_come_back(path: Path) -> None:
    with open_embeddings(path, HEADER) as writer:
        writer.write(EmbeddedText("a photo of a cat.", embeddings(1)[0], LITE))
        writer.finish()
    assert list(embedding_file.read(path).paths) == ["a photo of a cat."]


def test_paths_are_a_sequence(path: Path) -> None:
    paths = embedding_file.read(write(path)).paths
    assert (paths[0], paths[-1], len(paths)) == (NAMES[0], NAMES[-1], len(NAMES))
    assert paths[1:4] == NAMES[1:4]
    assert NAMES[3] in paths
    for beyond in (len(NAMES), -len(NAMES) - 1):
        with pytest.raises(IndexError):
            paths[beyond]


def test_a_path_is_found_in_its_first_row(path: Path) -> None:
    names = [*NAMES, "a.jpg", "b/a.jpg", "a.jpg.jpg"]
    file = embedding_file.read(write(path, names))
    assert [file.find(name) for name in names] == [0, 1, 2, 3, 4, 5, 0, 7, 8]
    for part in (".jpg", "a", "", "two", "x" * 299, "photos.npy", '"', "\n"):
        assert file.find(part) is None


def test_line_ends_are_found_across_the_pieces_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "photos.npy")
    for piece_bytes in (1, 2, 7, 64):
        monkeypatch.setattr(embedding_file, "SCAN_BYTES", piece_bytes)
        assert list(embedding_file.read(path).paths) == NAMES


def test_safetensors_is_imported_for_its_own_files_only(tmp_path: Path) -> None:
    write(tmp_path / "photos.npy")
    code = (
        "import sys\nfrom pathlib import Path\nfrom clipcli.files import embedding_file\n"
        "from clipcli.search import nearest\n"
        "print(len(embedding_file.read(Path('photos.npy')).paths))\n"
        "print({'safetensors', 'torch', 'PIL'} & {*sys.modules})"
    )
    assert python(code, tmp_path) == f"{len(NAMES)}\nset()\n"


def test_nothing_appears_before_it_is_whole(path: Path) -> None:
    with open_embeddings(path, HEADER) as writer:
        writer.write(Embedded("a.jpg", embeddings(1)[0], LITE))
        with pytest.raises(LockedError):
            open_embeddings(path, HEADER).__enter__()
        writer.finish()
        assert not path.exists()
        assert not path.with_suffix(".jsonl").exists()
    beside = {"photos.jsonl"} if path.suffix == ".npy" else set()
    assert {*os.listdir(path.parent)} == {path.name} | beside


def test_other_suffixes_are_refused() -> None:
    for name, suffix in (("photos.pkl", ".pkl"), ("photos", "missing")):
        expected = f"^{name}: suffix {suffix}; expected .npy, .npz, .safetensors"
        with pytest.raises(UsageError, match=expected):
            open_embeddings(Path(name), HEADER).__enter__()
        with pytest.raises(UsageError, match=expected):
            embedding_file.read(Path(name))


# --- others can read them


def test_npy_is_read_by_plain_numpy_and_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.npy")
    loaded = np.load(path, allow_pickle=False)
    assert (loaded == embeddings(len(NAMES))).all()
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    assert isinstance(mapped, np.memmap)
    assert (mapped == loaded).all()
    assert path.stat().st_size == 128 + 4 * loaded.size


def test_paths_beside_an_npy_are_json_a_line(tmp_path: Path) -> None:
    write(tmp_path / "photos.npy")
    first, *lines = (tmp_path / "photos.jsonl").read_bytes().splitlines()
    assert json.loads(first) == {
        "model": "ViT-B/32",
        "sha256": "0123456789abcdef" * 4,
        "preprocessing": "crop",
        "precision": "fp32",
        "dtype": "float32",
        "count": len(NAMES),
    }
    assert lines[1:3] == [rb'"two\nlines.jpg"', rb'"caf\udce9.jpg"']
    assert [json.loads(line) for line in lines] == NAMES


def test_npz_holds_three_arrays_and_no_pickle(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert sorted(arrays) == ["embeddings", "model", "paths"]
        assert arrays["paths"].dtype.kind == "U"
        assert arrays["paths"].tolist() == NAMES
        assert (arrays["embeddings"] == embeddings(len(NAMES))).all()
        assert json.loads(str(arrays["model"]))["model"] == "ViT-B/32"


def test_safetensors_holds_one_tensor(tmp_path: Path) -> None:
    tensors = load_file(write(tmp_path / "photos.safetensors"))
    assert [*tensors] == ["embeddings"]
    assert (tensors["embeddings"] == embeddings(len(NAMES))).all()


# --- half a run


def test_abandoned_npy_is_an_array_of_the_rows_so_far(tmp_path: Path) -> None:
    path = tmp_path / "photos.npy"
    three = [Embedded(f"{number}.jpg", embeddings(3)[number], LITE) for number in range(3)]
    part = tmp_path / "photos.npy.part"
    assert interrupted(path, *three) == [f"the rows so far are in {part}"]
    assert not path.exists()
    assert (np.load(part, allow_pickle=False) == embeddings(3)).all()
    first, *lines = (tmp_path / "photos.jsonl.part").read_text().splitlines()
    assert json.loads(first)["count"] == 3
    assert lines == ['"0.jpg"', '"1.jpg"', '"2.jpg"']


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_abandoned_file_holds_the_rows_so_far(tmp_path: Path, suffix: str) -> None:
    one = Embedded("a.jpg", embeddings(1)[0], LITE)
    part = tmp_path / f"photos{suffix}.part"
    assert interrupted(tmp_path / f"photos{suffix}", one) == [f"the rows so far are in {part}"]
    whole = part.rename(tmp_path / f"rescued{suffix}")
    assert list(embedding_file.read(whole).paths) == ["a.jpg"]


def test_abandoned_before_the_first_row_leaves_nothing(path: Path) -> None:
    assert interrupted(path, Failure("half.jpg", "truncated")) == []
    assert os.listdir(path.parent) == []


def test_full_disk_leaves_the_rows_so_far(tmp_path: Path) -> None:
    code = (
        "import resource, numpy as np\nfrom pathlib import Path\n"
        "from clipcli.files.embedding_writer import *\n"
        "header = Header('m', '0' * 64, 'x', 'float32')\n"
        "row = np.full(512, 0.5, np.float32)\n"
        "try:\n"
        "    with open_embeddings(Path('photos.npy'), header) as writer:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "        while True: writer.write(Embedded('a.jpg', row, header.made_by))\n"
        "except OutputError as error: print(error, *error.__notes__, sep='; ')"
    )
    assert python(code, tmp_path) == (
        "photos.npy: cannot be written: File too large; free some space;"
        f" the rows so far are in {tmp_path}/photos.npy.part\n"
    )
    # 128 bytes of header and two rows of 2048; the third did not fit
    rows = np.load(tmp_path / "photos.npy.part", mmap_mode="r", allow_pickle=False)
    assert rows.shape == (2, 512)
    assert (rows == 0.5).all()
    assert not (tmp_path / "photos.npy").exists()


def test_paths_that_cannot_be_written_stop_an_npy(tmp_path: Path) -> None:
    (tmp_path / "photos.jsonl").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        open_embeddings(tmp_path / "photos.npy", HEADER).__enter__()
    assert os.listdir(tmp_path) == ["photos.jsonl"]


# --- damaged and hostile files


def test_missing_file_is_named(path: Path) -> None:
    assert "No such file" in refusal(path)


def test_npy_without_its_paths_names_them(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.npy")
    (tmp_path / "photos.jsonl").unlink()
    assert "photos.jsonl" in refusal(path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_file_is_refused(path: Path, kept: float) -> None:
    write(path)
    os.truncate(path, int(kept * path.stat().st_size))
    assert refusal(path).endswith("; expected a file written by clipcli embed")


def test_file_of_another_kind_is_refused(path: Path, tmp_path: Path) -> None:
    write(path)
    for suffix in {*SUFFIXES} - {path.suffix}:
        other = write(tmp_path / f"other{suffix}")
        shutil.copy(other, path)
        assert refusal(path).endswith("; expected a file written by clipcli embed")


def test_damaged_bytes_are_one_line_or_come_back(path: Path) -> None:
    whole = write(path).read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(min(len(data), 400))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            assert len(embedding_file.read(path).paths) == len(NAMES)
        except EmbeddingFileError as error:
            message = str(error)
            assert message.isprintable(), message


def test_counts_that_differ_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.npy")
    write(tmp_path / "fewer.npy", NAMES[:2])
    shutil.copy(tmp_path / "fewer.jsonl", tmp_path / "photos.jsonl")
    assert refusal(path) == (
        "2 paths, embeddings of [6, 8] and a count of 2; expected the same number of each;"
        " embed the photographs again"
    )


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"", "cannot mmap an empty file"),
        (b"no newline", "its last line does not end"),
        (b'{}\n"a"\n\n"c"\n"d"\n"e"\n"f"\n', "line 3 is no text in JSON"),
        (b'{}\n"a"\n"b"\n"c"\n4\n"e"\n"f"\n', "line 5 is no text in JSON"),
        (b'{}\n"a"\n"b"\n"c"\n"d"\n"e"\n"f', "its last line does not end"),
        (b'{}\n"a"\n"b"\n"c"\n"d"\n"e"\n"f"\n', "missing 4 required"),
        (b'{"model": \n"a"\n"b"\n"c"\n"d"\n"e"\n"f"\n', "JSONDecodeError"),
        (b"[" * 100_000 + b"\n", "RecursionError"),
    ],
)
def test_damaged_paths_are_refused(tmp_path: Path, damaged: bytes, reason: str) -> None:
    path = write(tmp_path / "photos.npy")
    (tmp_path / "photos.jsonl").write_bytes(damaged)
    message = refusal(path)
    assert reason in message
    assert message.endswith("; expected a file written by clipcli embed")


@pytest.mark.parametrize("line", [b'"\xff"', b'"a\\"', b'"a" "b"', b'"\x1b"', b'"a", "b"', b'"'])
def test_a_damaged_path_is_told_when_it_is_asked_for(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path / "photos.npy")
    beside = tmp_path / "photos.jsonl"
    lines = beside.read_bytes().splitlines()
    beside.write_bytes(b"\n".join([*lines[:3], line, *lines[4:], b""]))
    file = embedding_file.read(path)
    assert [file.paths[row] for row in (0, 1, 3, 4, 5)] == NAMES[:2] + NAMES[3:]
    assert file.find(NAMES[5]) == 5
    with pytest.raises(EmbeddingFileError) as caught:
        file.paths[2]
    message = str(caught.value)
    assert message.startswith(f"{beside}: line 4: ")
    assert message.endswith("; embed the photographs again")
    assert message.isprintable()


def test_damaged_lines_are_refused_or_told(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.npy")
    beside = tmp_path / "photos.jsonl"
    whole = beside.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.randrange(256)
        beside.write_bytes(data)
        try:
            file = embedding_file.read(path)
            assert all(isinstance(name, str) for name in file.paths)
        except EmbeddingFileError as error:
            message = str(error)
            assert message.isprintable(), message


def test_array_with_something_behind_it_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.npy")
    with path.open("ab") as file:
        file.write(b"x")
    assert refusal(path) == (
        "ValueError: 321 bytes where its header tells of 320; expected a file written by"
        " clipcli embed"
    )


def test_array_of_other_numbers_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.npy")
    np.save(path, np.ones((len(NAMES), 8)))
    assert refusal(path) == (
        "numbers are float64, its header says float32; expected a file written by clipcli embed"
    )


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_file_of_another_program_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photos{suffix}"
    if suffix == ".npz":
        np.savez(path, weights=np.ones(3))
    else:
        save_file({"embeddings": np.ones((2, 3), np.float32)}, path)
    assert refusal(path).startswith("KeyError: ")


class Trap:
    """A pickle that makes a folder named `sprung` where it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, bare: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(Path(f"photos{suffix}"))
    hostile = np.array([Trap()], dtype=object)
    if bare:
        path.write_bytes(pickle.dumps(Trap()))
    elif suffix == ".npy":
        np.save(path, hostile, allow_pickle=True)
    else:
        np.savez(path, paths=hostile, embeddings=hostile, model=hostile, allow_pickle=True)
    assert refusal(path)
    assert not Path("sprung").exists()


# --- which model
