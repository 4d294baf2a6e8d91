"""Writing files of embeddings; see `embedding_file` for what is in them."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import OutputError, UsageError
from clipcli.files.embedding_file import SUFFIXES, Header
from clipcli.files.part_file import PartFile
from clipcli.files.rows import Writer, json_text, row_formats
from clipcli.records import Embedded, EmbeddedText, Record

NPY_HEADER_BYTES = 128  # room for a header whose count of rows is only known at the end


@contextmanager
def open_embeddings(path: Path, header: Header) -> Iterator[Writer]:
    """A writer by suffix; the file appears when the block ends well.

    After an error the rows so far are in NAME.part, which can be read like the whole.
    Raises UsageError for a suffix that is none of these.
    """
    check_suffix(path)
    writers: dict[str, type[_EmbeddingWriter]] = {
        ".npy": NpyWriter,
        ".npz": NpzWriter,
        ".safetensors": SafetensorsWriter,
    }
    with PartFile(path, kept="rows") as file, writers[path.suffix](file, header) as writer:
        yield writer


def check_suffix(path: Path) -> None:
    """Raises UsageError for a suffix that is none of these."""
    if path.suffix not in SUFFIXES:
        *others, last = (f".{name}" for name in row_formats(Embedded))
        raise UsageError(
            f"{path}: suffix {path.suffix or 'missing'};"
            f" expected {', '.join([*SUFFIXES, *others])} or {last}"
        )


class _EmbeddingWriter(AbstractContextManager["_EmbeddingWriter"]):
    """Rows of numbers and a name for each; failures have none. After an error in its `with`, the
    rows so far become a readable file."""

    def __init__(self, file: PartFile, header: Header) -> None:
        self.file = file
        self.header = header

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self.header.count:
            with suppress(OutputError):  # on a full disk, the rows that are there stay as they are
                self.finish()

    def write(self, record: Record) -> None:
        match record:
            case Embedded(name, embedding) | EmbeddedText(name, embedding):
                self._add(name, embedding.astype(self.header.dtype))
                self.header = replace(self.header, count=self.header.count + 1)

    @abstractmethod
    def _add(self, name: str, row: NDArray[np.generic]) -> None: ...

    @abstractmethod
    def finish(self) -> None: ...

    def _described(self) -> str:
        return json_text(asdict(self.header))


class NpyWriter(_EmbeddingWriter):
    """Rows go to disk as they come; the headers of both files are written again at the end."""

    def __init__(self, file: PartFile, header: Header) -> None:
        super().__init__(file, header)
        self.paths = PartFile(file.path.with_suffix(".jsonl"), kept="paths")
        self.width = 0
        self._first_line_bytes = len(self._described().encode()) + len("1000000000000")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        # the paths first: a reader that finds new paths and old rows sees that counts differ
        if error is None:
            self.paths.commit()
        else:
            self.paths.abandon(error)

    def finish(self) -> None:
        array_header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            array_header,
            {
                "descr": np.lib.format.dtype_to_descr(np.dtype(self.header.dtype)),
                "fortran_order": False,
                "shape": (self.header.count, self.width),
            },
        )
        header = array_header.getvalue()
        # numpy fills its header with spaces before the newline; fill it to NPY_HEADER_BYTES
        length = NPY_HEADER_BYTES - 10
        self.file.write_at_start(
            header[:8] + length.to_bytes(2, "little") + header[10:-1].ljust(length - 1) + b"\n"
        )
        first_line = self._described().encode()
        self.paths.write_at_start(first_line.ljust(self._first_line_bytes - 1) + b"\n")

    def _add(self, name: str, row: NDArray[np.generic]) -> None:
        if not self.header.count:
            self.width = len(row)
            self.finish()  # keeps room for the headers
        self.file.write(row.tobytes())
        self.paths.write(json_text(name).encode() + b"\n")


class _MemoryWriter(_EmbeddingWriter):
    """Rows are kept in memory and written together."""

    def __init__(self, file: PartFile, header: Header) -> None:
        super().__init__(file, header)
        self.paths: list[str] = []
        self.rows: list[NDArray[np.generic]] = []

    def finish(self) -> None:
        del self.paths[self.header.count :], self.rows[self.header.count :]  # an interrupted row
        embeddings = np.stack(self.rows) if self.rows else np.empty((0, 0), self.header.dtype)
        self.file.write_at_start(self._bytes(embeddings))

    def _add(self, name: str, row: NDArray[np.generic]) -> None:
        self.paths.append(name)
        self.rows.append(row)

    @abstractmethod
    def _bytes(self, embeddings: NDArray[np.generic]) -> bytes: ...


class NpzWriter(_MemoryWriter):
    """Three arrays: `paths`, `embeddings`, and the header as the text `model`."""

    def _bytes(self, embeddings: NDArray[np.generic]) -> bytes:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            paths=np.array(self.paths, dtype=np.str_),
            embeddings=embeddings,
            model=np.array(self._described()),
        )
        return buffer.getvalue()


class SafetensorsWriter(_MemoryWriter):
    """One tensor, `embeddings`; paths and header are metadata."""

    def _bytes(self, embeddings: NDArray[np.generic]) -> bytes:
        from safetensors.numpy import save  # on use: it takes longer than a small search

        metadata = {"header": self._described(), "paths": json_text(self.paths)}
        return save({"embeddings": embeddings}, metadata)
