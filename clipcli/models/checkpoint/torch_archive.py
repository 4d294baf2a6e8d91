"""Reading what torch.save and TorchScript write: a zip of raw storages and a pickle.

The pickle says which tensor has which name, storage, offset and shape. The code of a TorchScript
archive is never looked at, its modules serve as dictionaries. Whatever a file claims is checked
before memory is taken for it.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint import outline
from clipcli.models.checkpoint.outline import excerpt
from clipcli.models.checkpoint.state_dict_pickle import StateDictReader
from clipcli.models.checkpoint.tensor_records import (
    RefusedPickleError,
    Storage,
    TensorRecord,
    kind,
    named_records,
)

PICKLES_LIMIT_BYTES = 8_000_000  # the largest published one has 0.2 MB
DIRECTORY_LIMIT_BYTES = 4_000_000  # a zip's directory has about 100 bytes for each storage
PIECE_BYTES = 100_000_000  # of a storage, which is in memory twice while it is copied
# what zipfile raises for damaged headers
_DAMAGES = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)


class _BoundedFile(io.BufferedReader):
    """A file of which at most `limit_bytes` are read at once, whatever its directory claims."""

    limit_bytes = DIRECTORY_LIMIT_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.limit_bytes:
            raise RefusedPickleError(
                f"a directory of {size:,} bytes, more than the {self.limit_bytes:,} that the"
                " names of storages can need"
            )
        return super().read(size)


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of the archive by their dotted names, on the CPU.

    Raises CheckpointError for an archive that is damaged, asks to run code, or is no state dict.
    """
    try:
        with _BoundedFile(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            file.limit_bytes = PIECE_BYTES  # the directory has been read
            return _read_archive(archive, path)
    except RefusedPickleError as error:
        raise CheckpointError(f"{path}: refused: {error}; expected tensors and nothing else") from (
            error
        )
    except MemoryError as error:
        raise CheckpointError(f"{path}: no room in memory for its tensors") from error
    except _DAMAGES as error:
        raise CheckpointError(
            f"{path}: a damaged zip archive ({excerpt(error)}); expected what torch.save or"
            " TorchScript writes; fetch the file again"
        ) from error


def _read_archive(archive: zipfile.ZipFile, path: Path) -> dict[str, Tensor]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    main_pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(main_pickles) != 1 or len(entries) != len(archive.infolist()):
        raise RefusedPickleError(
            f"a zip with {len(main_pickles)} data.pkl and {len(archive.infolist())} entries"
            f" of {len(entries)} names, where torch writes one data.pkl and each name once"
        )
    size_bytes = path.stat().st_size
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise RefusedPickleError(f"{_shown(entry)} is compressed, torch never does that")
        if entry.header_offset + entry.file_size > size_bytes:
            raise RefusedPickleError(
                f"{_shown(entry)} claims {entry.file_size:,} bytes in a file of {size_bytes:,}"
            )
    root = main_pickles[0].removesuffix("data.pkl")
    byte_order = entries.get(root + "byteorder")  # old archives do not say; they are little-endian
    if byte_order and (byte_order.file_size > 6 or archive.read(byte_order) != b"little"):
        raise RefusedPickleError("its numbers are big-endian, expected little-endian")
    content = _read_pickles(archive, entries[main_pickles[0]])
    records = dict(named_records(content))
    if not records:
        raise RefusedPickleError(f"a pickled {kind(content)} without a named tensor")
    return _read_tensors(archive, f"{root}data/", records, path)


def _read_pickles(archive: zipfile.ZipFile, main: zipfile.ZipInfo) -> object:
    """The content of `main`. The others are not needed, but read as well: a pickle that would run
    code is refused wherever it is."""
    pickles = [
        entry
        for entry in archive.infolist()
        if entry.filename.count("/") == 1 and entry.filename.endswith(".pkl") and entry is not main
    ]
    reader = StateDictReader()
    left_bytes = PICKLES_LIMIT_BYTES
    for entry in (*pickles, main):
        left_bytes -= entry.file_size
        if left_bytes < 0:
            raise RefusedPickleError(
                f"{_shown(entry)} has {entry.file_size:,} bytes, with the other pickles more than"
                f" the {PICKLES_LIMIT_BYTES:,} that names and shapes can need"
            )
        try:
            content = reader.read(_read_entry(archive, entry))
        except ValueError as error:
            raise RefusedPickleError(
                f"{_shown(entry)} is no pickle of tensors ({excerpt(error)})"
            ) from error
    return content


def _read_tensors(
    archive: zipfile.ZipFile, data_folder: str, records: dict[str, TensorRecord], path: Path
) -> dict[str, Tensor]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    size_bytes = path.stat().st_size
    needed: dict[Storage, zipfile.ZipInfo] = {}
    tensors_bytes = 0
    for name, record in records.items():
        entry = entries.get(data_folder + record.storage.key)
        if entry is None:
            key = excerpt(repr(record.storage.key))
            raise RefusedPickleError(f"{name!r} lies in storage {key}, not there")
        n_numbers = entry.file_size // record.storage.dtype.itemsize
        reach = record.offset + sum(
            (size - 1) * step for size, step in zip(record.shape, record.stride, strict=True)
        )
        if math.prod(record.shape) > n_numbers or reach >= n_numbers:
            raise RefusedPickleError(
                f"{name!r} has shape {list(record.shape)} in a storage of {n_numbers:,} numbers"
            )
        tensors_bytes += math.prod(record.shape) * record.storage.dtype.itemsize
        needed[record.storage] = entry
    # entries may overlap and tensors share their storage
    read_bytes = max(tensors_bytes, sum(entry.file_size for entry in needed.values()))
    if read_bytes > size_bytes:
        raise RefusedPickleError(
            f"its tensors need more than the {size_bytes:,} bytes that the file has"
        )
    outlined = {
        name: torch.empty(record.shape, dtype=record.storage.dtype, device="meta")
        for name, record in records.items()
    }
    outline.check(outlined, read_bytes, path)
    storages = {
        storage: _read_storage(archive, entry, storage.dtype) for storage, entry in needed.items()
    }
    return {
        name: storages[record.storage].as_strided(record.shape, record.stride, record.offset)
        for name, record in records.items()
    }


def _shown(entry: zipfile.ZipInfo) -> str:
    return excerpt(repr(entry.filename))


def _read_storage(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
    data = _read_entry(archive, entry)
    return torch.frombuffer(data, dtype=dtype, count=len(data) // dtype.itemsize)


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytearray:
    """An entry's bytes; zipfile checks their CRC."""
    data = bytearray()
    with archive.open(entry) as file:
        while piece := file.read(PIECE_BYTES):
            data += piece
    return data
