"""Reading what torch.save and TorchScript write: a zip of raw storages and a pickle.

The pickle says which tensor has which name, storage, offset and shape. It is read by an
unpickler that knows inert stand-ins only: nothing in it can be called, imported or run. The
code of a TorchScript archive is never looked at, its modules serve as dictionaries.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipcli.errors import CheckpointError

STORAGE_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
PICKLE_LIMIT_BYTES = 64_000_000  # the largest published one has 0.2 MB
# training checkpoints keep the weights under one of these, with "module." before each name
STATE_DICT_KEYS = ("state_dict", "model_state_dict")


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype


@dataclass(frozen=True)
class _TensorRecord:
    """A tensor as the pickle describes it; no memory is taken before it is checked."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Module:
    """Stands in for any TorchScript class: a bag of named tensors and modules."""


class _RefusedPickleError(Exception):
    """The pickle asks for something that tensors do not need."""


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of the archive by their dotted names, on the CPU.

    Raises CheckpointError for an archive that is damaged, asks to run code, or is no state dict.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path)
    except _RefusedPickleError as error:
        raise CheckpointError(f"{path}: refused: {error}; expected tensors and nothing else") from (
            error
        )
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise CheckpointError(
            f"{path}: a damaged zip archive ({error}); expected what torch.save or TorchScript"
            " writes; fetch the file again"
        ) from error


def _read_archive(archive: zipfile.ZipFile, path: Path) -> dict[str, Tensor]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    main_pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(main_pickles) != 1 or len(entries) != len(archive.infolist()):
        raise _RefusedPickleError(
            f"a zip with {len(main_pickles)} data.pkl and {len(archive.infolist())} entries"
            f" of {len(entries)} names, where torch writes one data.pkl and each name once"
        )
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _RefusedPickleError(f"{entry.filename!r} is compressed, torch never does that")
    root = main_pickles[0].removesuffix("data.pkl")
    byte_order = entries.get(root + "byteorder")  # old archives do not say; they are little-endian
    if byte_order is not None and archive.read(byte_order) != b"little":
        raise _RefusedPickleError("its numbers are big-endian, expected little-endian")
    content = _unpickle(archive, entries[main_pickles[0]])
    if root + "constants.pkl" in entries:  # not needed; looked at so that a trap is not passed by
        _unpickle(archive, entries[root + "constants.pkl"])
    records = dict(_named_records(content))
    if not records:
        raise _RefusedPickleError(f"a pickled {type(content).__name__} without a named tensor")
    return _read_records(archive, entries, f"{root}data/", records)


def _unpickle(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    if entry.file_size > PICKLE_LIMIT_BYTES:
        raise _RefusedPickleError(
            f"{entry.filename!r} has {entry.file_size:,} bytes, more than the"
            f" {PICKLE_LIMIT_BYTES:,} that names and shapes can need"
        )
    data = archive.read(entry)
    try:
        # a memo index far beyond the pickle's own size would make the unpickler take gigabytes
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(data):
                raise _RefusedPickleError(f"memo index {argument} in {len(data):,} bytes of pickle")
        return _TensorUnpickler(io.BytesIO(data)).load()
    except _RefusedPickleError:
        raise
    except Exception as error:  # a hostile pickle can raise anything; none of it ran code
        raise _RefusedPickleError(
            f"{entry.filename!r} is no pickle of tensors ({type(error).__name__}: {error})"
        ) from error


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors, their storages, ordered dictionaries and TorchScript modules."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        if module.startswith("__torch__"):
            return type(name, (_Module,), {})
        raise _RefusedPickleError(f"its pickle asks for {module}.{name}, which could run code")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key = pid[:3]  # then the device, which does not matter, and the length
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise _RefusedPickleError(f"unknown reference {str(pid)[:80]!r}")
        return _Storage(key, dtype)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _TensorRecord:
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, _Storage) or len(shape) != len(stride):
        raise _RefusedPickleError("a tensor without a storage or with a stride for no dimension")
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _RefusedPickleError(f"a tensor of shape {shape}, stride {stride}, offset {offset}")
    return _TensorRecord(storage, offset, tuple(shape), tuple(stride))


def _rebuild_parameter(data: _TensorRecord, *_: Any) -> _TensorRecord:
    return data


def _named_records(content: Any) -> Iterator[tuple[str, _TensorRecord]]:
    """Tensors of nested dictionaries or modules with their dotted names."""
    if isinstance(content, dict):
        for key in STATE_DICT_KEYS:
            if isinstance(content.get(key), dict):
                content = content[key]
                break
    seen = set()  # a container that lies in itself would be walked for ever
    pending = [("", content)]
    while pending:
        prefix, container = pending.pop()
        if id(container) in seen:
            continue
        seen.add(id(container))
        children = container if isinstance(container, dict) else vars(container)
        for name, child in children.items():
            if isinstance(child, _TensorRecord):
                yield f"{prefix}{name}".removeprefix("module."), child
            elif isinstance(child, dict | _Module):
                pending.append((f"{prefix}{name}.", child))


def _read_records(
    archive: zipfile.ZipFile,
    entries: dict[str, zipfile.ZipInfo],
    data_folder: str,
    records: dict[str, _TensorRecord],
) -> dict[str, Tensor]:
    storages: dict[_Storage, Tensor] = {}
    tensors = {}
    for name, record in records.items():
        entry = entries.get(data_folder + record.storage.key)
        if entry is None:
            raise _RefusedPickleError(f"{name!r} lies in storage {record.storage.key!r}, not there")
        n_numbers = entry.file_size // record.storage.dtype.itemsize
        reach = record.offset + sum(
            (size - 1) * step for size, step in zip(record.shape, record.stride, strict=True)
        )
        if math.prod(record.shape) > n_numbers or (0 not in record.shape and reach >= n_numbers):
            raise _RefusedPickleError(
                f"{name!r} has shape {list(record.shape)} in a storage of {n_numbers:,} numbers"
            )
        if record.storage not in storages:
            storages[record.storage] = _read_storage(archive, entry, record.storage.dtype)
        tensors[name] = storages[record.storage].as_strided(
            record.shape, record.stride, record.offset
        )
    return tensors


def _read_storage(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
    data = bytearray(archive.read(entry))  # checks the entry's CRC
    usable_bytes = len(data) - len(data) % dtype.itemsize
    if not usable_bytes:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=usable_bytes // dtype.itemsize)
