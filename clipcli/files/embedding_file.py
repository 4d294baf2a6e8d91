"""Files of embeddings: `.npy` with a `.jsonl` of paths beside it, `.npz`, `.safetensors`.

Each holds the paths, the embeddings and a header that says which model and which preprocessing
made them. Nothing in them is a pickle.

`.npy` is the one for many photographs: it is written row by row and read by mapping it. The
other two are for exchange and are built in memory.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import EmbeddingFileError, OutputError, UsageError, one_line
from clipcli.files.part_file import PartFile
from clipcli.files.writers import Record, json_text
from clipcli.records import Embedded, EmbeddedText

SUFFIXES = (".npy", ".npz", ".safetensors")
NPY_HEADER_BYTES = 128  # room for a header whose count of rows is only known at the end

SCAN_BYTES = 1 << 20  # looked through at once for line ends

TEXT = "text"  # in place of a preprocessing, in a file of texts

Dtype = Literal["float32", "float16"]


@dataclass(frozen=True)
class Header:
    """What made a file of embeddings.

    model: its name; sha256: its fingerprint; preprocessing: how pictures were brought into its
    square, "text" for embeddings of texts; count: rows.
    """

    model: str
    sha256: str
    preprocessing: str
    dtype: Dtype
    count: int = 0


@dataclass(frozen=True)
class EmbeddingFile:
    """`paths[i]` has `embeddings[i]`: float16 or float32 [n, d], unit length.

    `path` is the file's own. In a file of texts the texts stand in `paths`.
    """

    path: Path
    header: Header
    paths: Sequence[str]
    embeddings: NDArray[np.generic]

    @property
    def is_of_texts(self) -> bool:
        """Whether texts stand in `paths`."""
        return self.header.preprocessing == TEXT

    def find(self, path: str) -> int | None:
        """The first row of a path, spelt as it is stored."""
        if isinstance(self.paths, MappedPaths):
            return self.paths.find(path)
        return self.paths.index(path) if path in self.paths else None


class MappedPaths(Sequence[str]):
    """The paths of a `.jsonl`, mapped. They become strings one by one, when they are asked for:
    a million of them open in the time of looking for line ends.

    A line that turns out to be damaged raises EmbeddingFileError.
    """

    def __init__(self, path: Path) -> None:
        """Raises ValueError for what cannot be one line of JSON text a path, below a header."""
        self._path = path
        with path.open("rb") as file:
            self._lines = mmap(file.fileno(), 0, access=ACCESS_READ)
        characters = np.frombuffer(self._lines, np.uint8)
        # int64 [1 + n]: where the header's line ends, and each path's
        self._ends = np.concatenate(
            [
                start + np.flatnonzero(characters[start : start + SCAN_BYTES] == ord("\n"))
                for start in range(0, len(characters), SCAN_BYTES)
            ]
        )
        if not len(self._ends) or self._ends[-1] != len(characters) - 1:
            raise ValueError(f"{path}: its last line does not end")
        first, last = characters[self._ends[:-1] + 1], characters[self._ends[1:] - 1]
        damaged = np.flatnonzero((first != ord('"')) | (last != ord('"')))
        if len(damaged):
            raise ValueError(f"{path}: line {damaged[0] + 2} is no text in JSON")

    def header(self) -> dict[str, Any]:
        """The first line."""
        fields: dict[str, Any] = json.loads(self._lines[: self._ends[0]])
        return fields

    def find(self, path: str) -> int | None:
        """The first row of a path, in the time of one pass over the file."""
        line = b"\n" + json_text(path).encode() + b"\n"
        place = self._lines.find(line, self._ends[0])
        return None if place < 0 else int(np.searchsorted(self._ends, place))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        rows = range(len(self))[index]
        return self._path_of(rows) if isinstance(rows, int) else [*map(self._path_of, rows)]

    def _path_of(self, row: int) -> str:
        try:
            path: str = json.loads(self._lines[self._ends[row] + 1 : self._ends[row + 1]])
        except ValueError as error:
            raise EmbeddingFileError(
                one_line(f"{self._path}: line {row + 2}: {error}; embed the photographs again")
            ) from error
        return path


class EmbeddingWriter(Protocol):
    """Takes records one by one; failures have no row.

    `commit` makes the file appear, `abandon` leaves what there is in the path it returns.
    """

    def write(self, record: Record) -> None: ...
    def finish(self) -> None: ...
    def commit(self) -> None: ...
    def abandon(self) -> Path | None: ...


def writer_for(path: Path, header: Header) -> EmbeddingWriter:
    """A writer by suffix. Raises UsageError for a suffix that is none of these."""
    check_suffix(path)
    return _NpyWriter(path, header) if path.suffix == ".npy" else _WholeWriter(path, header)


def check_suffix(path: Path) -> None:
    """Raises UsageError for a suffix that is none of these."""
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: suffix {path.suffix or 'missing'}; expected {', '.join(SUFFIXES)},"
            " .csv or .jsonl"
        )


class _NpyWriter:
    """Rows go to disk as they come; the two headers are put right at the end."""

    def __init__(self, path: Path, header: Header) -> None:
        self.header = header
        self.width = 0
        self.rows = PartFile(path)
        try:
            self.paths = PartFile(path.with_suffix(".jsonl"))
        except BaseException:
            self.rows.abandon()
            raise
        self._first_line_bytes = len(self._first_line()) + len("1000000000000")

    def write(self, record: Record) -> None:
        for name, embedding in _named(record):
            if not self.header.count:
                self.width = len(embedding)
                self._write_headers()  # holds their place
            self.rows.write(embedding.astype(self.header.dtype).tobytes())
            self.paths.write(json_text(name).encode() + b"\n")
            self.header = replace(self.header, count=self.header.count + 1)

    def finish(self) -> None:
        self._write_headers()

    def commit(self) -> None:
        # the paths first: a reader that finds new paths and old rows sees that counts differ
        self.paths.commit()
        self.rows.commit()

    def abandon(self) -> Path | None:
        if self.header.count:
            with suppress(OutputError):  # on a full disk, what is there already has to do
                self._write_headers()
        self.paths.abandon()
        return self.rows.abandon()

    def _write_headers(self) -> None:
        array_header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            array_header,
            {
                "descr": np.lib.format.dtype_to_descr(np.dtype(self.header.dtype)),
                "fortran_order": False,
                "shape": (self.header.count, self.width),
            },
        )
        packed = array_header.getvalue()
        # numpy pads with spaces before the newline; pad to the room that was left
        length = NPY_HEADER_BYTES - 10
        self.rows.write_at_start(
            packed[:8] + length.to_bytes(2, "little") + packed[10:-1].ljust(length - 1) + b"\n"
        )
        self.paths.write_at_start(self._first_line().ljust(self._first_line_bytes - 1) + b"\n")

    def _first_line(self) -> bytes:
        return json_text(asdict(self.header)).encode()


class _WholeWriter:
    """Rows are kept in memory and written together."""

    def __init__(self, path: Path, header: Header) -> None:
        self.suffix = path.suffix
        self.header = header
        self.file = PartFile(path)
        self.paths: list[str] = []
        self.rows: list[NDArray[np.generic]] = []

    def write(self, record: Record) -> None:
        for name, embedding in _named(record):
            self.paths.append(name)
            self.rows.append(embedding.astype(self.header.dtype))

    def commit(self) -> None:
        self.file.commit()

    def abandon(self) -> Path | None:
        if self.rows:
            with suppress(OutputError):
                self.finish()
        return self.file.abandon()

    def finish(self) -> None:
        header = replace(self.header, count=len(self.rows))
        embeddings = np.stack(self.rows) if self.rows else np.empty((0, 0), header.dtype)
        described = json_text(asdict(header))
        if self.suffix == ".npz":
            buffer = io.BytesIO()
            np.savez(
                buffer,
                paths=np.array(self.paths, dtype=np.str_),
                embeddings=embeddings,
                model=np.array(described),
            )
            self.file.write_at_start(buffer.getvalue())
        else:
            from safetensors.numpy import save  # on use: it takes longer than a small search

            metadata = {"header": described, "paths": json_text(self.paths)}
            self.file.write_at_start(save({"embeddings": embeddings}, metadata))


def _named(record: Record) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The row of a record, if it has one."""
    match record:
        case Embedded(name, embedding) | EmbeddedText(name, embedding):
            yield name, embedding


def read(path: Path) -> EmbeddingFile:
    """A file of embeddings; `.npy` is mapped, not loaded.

    Raises EmbeddingFileError for a file that is damaged or was not written by this program.
    """
    readers = {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise UsageError(
            f"{path}: suffix {path.suffix or 'missing'}; expected {', '.join(SUFFIXES)}"
        )
    try:
        header, paths, embeddings = readers[path.suffix](path)
        file = EmbeddingFile(path, Header(**header), paths, embeddings)
    except Exception as error:  # numpy, zipfile and json raise anything on a damaged file
        raise EmbeddingFileError(
            one_line(f"{path}: {type(error).__name__}: {error}")
            + "; expected a file written by clipcli embed"
        ) from error
    if embeddings.dtype.name != file.header.dtype:
        raise EmbeddingFileError(
            f"{path}: numbers are {embeddings.dtype}, its header says {file.header.dtype};"
            " expected a file written by clipcli embed"
        )
    if embeddings.ndim != 2 or not len(paths) == len(embeddings) == file.header.count:
        raise EmbeddingFileError(
            f"{path}: {len(paths)} paths, embeddings of {list(embeddings.shape)} and a count of"
            f" {file.header.count}; expected the same number of each; embed the photographs again"
        )
    return file


_Parts = tuple[dict[str, Any], Sequence[str], NDArray[np.generic]]


def _read_npy(path: Path) -> _Parts:
    embeddings = np.lib.format.open_memmap(path, mode="r")  # unlike numpy.load, .npy only
    size_bytes = embeddings.offset + embeddings.nbytes
    if path.stat().st_size != size_bytes:
        raise ValueError(f"{path.stat().st_size} bytes where its header tells of {size_bytes}")
    paths = MappedPaths(path.with_suffix(".jsonl"))
    return paths.header(), paths, embeddings


def _read_npz(path: Path) -> _Parts:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return json.loads(str(arrays["model"])), arrays["paths"].tolist(), arrays["embeddings"]


def _read_safetensors(path: Path) -> _Parts:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        embeddings = file.get_tensor("embeddings")
    return json.loads(metadata["header"]), json.loads(metadata["paths"]), embeddings


def check_same_model(file: EmbeddingFile, name: str, fingerprint: str) -> None:
    """Raises EmbeddingFileError if `file` was made by another model than this one."""
    if file.header.sha256 != fingerprint:
        raise EmbeddingFileError(
            f"{file.path}: made by {file.header.model} ({file.header.sha256[:12]}), but the query"
            f" is encoded by {name} ({fingerprint[:12]}); pass --model {file.header.model}"
        )


def check_same_preprocessing(file: EmbeddingFile, described: str) -> None:
    """Raises EmbeddingFileError if pictures in `file` were prepared in another way."""
    if file.header.preprocessing not in (TEXT, described):
        raise EmbeddingFileError(
            f"{file.path}: its photographs were prepared with {file.header.preprocessing}, the"
            f" query's with {described}; pass {file.header.preprocessing}"
        )
