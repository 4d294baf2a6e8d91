"""Files of embeddings: `.npy` with a `.jsonl` of paths beside it, `.npz`, `.safetensors`.

Each holds the paths, the embeddings and a header that says which model and which preprocessing
made them. Nothing in them is a pickle.

`.npy` is the one for many photographs: it is written row by row and read by mapping it. The
other two are for exchange and are built in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import EmbeddingFileError, UsageError, one_line
from clipcli.files.made_by import stored_name
from clipcli.files.rows import json_text
from clipcli.records import TEXT, MadeBy

SUFFIXES = (".npy", ".npz", ".safetensors")
SCAN_BYTES = 1 << 20  # searched at once for line ends
LONGEST = 1.01  # an embedding: float16 rounds its length by a thousandth at most

Dtype = Literal["float32", "float16"]


@dataclass(frozen=True)
class Header:
    """What a file holds beside its rows: their `MadeBy`, dtype and count.

    sha256: the model's fingerprint; preprocessing: TEXT for embeddings of texts; precision: ""
    in files of version 0.1.0, which did not say.
    """

    model: str
    sha256: str
    preprocessing: str
    dtype: Dtype
    count: int = 0
    precision: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a name that is no text."""
        names = (self.model, self.sha256, self.preprocessing, self.precision)
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a name in its header is no text")

    @classmethod
    def of(cls, made_by: MadeBy, dtype: Dtype) -> Header:
        """The header of a new file."""
        return cls(
            made_by.model,
            made_by.fingerprint,
            made_by.preprocessing,
            dtype,
            precision=made_by.precision,
        )

    @property
    def made_by(self) -> MadeBy:
        """Whose embeddings these are."""
        return MadeBy(self.model, self.sha256, self.precision, stored_name(self.preprocessing))


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

    def row(self, index: int) -> NDArray[np.float32]:
        """One embedding, float32 [d]. Raises EmbeddingFileError where it is none."""
        embedding: NDArray[np.float32] = self.embeddings[index].astype(np.float32)
        length = float(np.linalg.norm(embedding.astype(np.float64)))
        if not 0 < length < LONGEST:
            raise EmbeddingFileError(
                one_line(
                    f"{self.path}: row {index}, {self.paths[index]}: an embedding of length"
                    f" {length:g}; expected numbers of length 1; embed the photographs again"
                )
            )
        return embedding

    def find(self, path: str) -> int | None:
        """The first row of a path, spelt as it is stored."""
        if isinstance(self.paths, MappedPaths):
            return self.paths.find(path)
        return self.paths.index(path) if path in self.paths else None


class MappedPaths(Sequence[str]):
    """The paths of a `.jsonl`, mapped. Each becomes a string when it is asked for: to open a
    million takes as long as to search for their line ends.

    A damaged line raises EmbeddingFileError when it is asked for.
    """

    def __init__(self, path: Path) -> None:
        """Raises ValueError where the file is not a header and then one JSON string a line."""
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
