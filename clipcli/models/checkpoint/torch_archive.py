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
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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
PICKLE_LIMIT_BYTES = 8_000_000  # the largest published one has 0.2 MB
DIMENSIONS_LIMIT = 8
NAME_LIMIT = 1000  # characters
# training checkpoints keep the weights under one of these, with "module." before each name
STATE_DICT_KEYS = ("state_dict", "model_state_dict")


class _Storage(NamedTuple):  # a tuple, since a pickle can change the attributes of a dataclass
    key: str
    dtype: torch.dtype


class _TensorRecord(NamedTuple):
    """A tensor as the pickle describes it; no memory is taken before it is checked."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Inert(type):
    """The type of a class to which a pickle cannot give attributes or methods."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise _RefusedPickleError("its pickle changes a class")


class _Module(metaclass=_Inert):
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
    # zipfile raises any of these for damaged headers
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error) as error:
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
    size_bytes = path.stat().st_size
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _RefusedPickleError(f"{entry.filename!r} is compressed, torch never does that")
        if entry.header_offset + entry.file_size > size_bytes:
            raise _RefusedPickleError(
                f"{entry.filename!r} claims {entry.file_size:,} bytes in a file of {size_bytes:,}"
            )
    root = main_pickles[0].removesuffix("data.pkl")
    byte_order = entries.get(root + "byteorder")  # old archives do not say; they are little-endian
    if byte_order is not None and archive.read(byte_order) != b"little":
        raise _RefusedPickleError("its numbers are big-endian, expected little-endian")
    content = _unpickle(archive, entries[main_pickles[0]])
    for name, entry in entries.items():
        # not needed, but read as well: a pickle that would run code is refused wherever it is
        if name.count("/") == 1 and name.endswith(".pkl") and name not in main_pickles:
            _unpickle(archive, entry)
    records = dict(_named_records(content))
    if not records:
        raise _RefusedPickleError(f"a pickled {type(content).__name__} without a named tensor")
    return _read_records(archive, entries, f"{root}data/", records, size_bytes)


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
            ("collections", "OrderedDict"): self._ordered_dict,
            ("torch._utils", "_rebuild_tensor_v2"): self._rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): self._rebuild_parameter,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        if module.startswith("__torch__"):
            return _Module
        if module == "torch.jit._pickle":  # lists of numbers among a TorchScript's attributes
            return self._ignore
        asked = f"{module}.{name}"[:100]
        raise _RefusedPickleError(f"its pickle asks for {asked}, which could run code")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key = pid[:3]  # then the device, which does not matter, and the length
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise _RefusedPickleError("a reference to something that is no storage")
        return _Storage(key, dtype)

    # methods, since a pickle can change the attributes of a function

    def _ordered_dict(self) -> dict[Any, Any]:
        return OrderedDict()  # filled later; copies of full ones would take memory without end

    def _rebuild_tensor(
        self, storage: _Storage, offset: int, shape: Any, stride: Any, *_: Any
    ) -> _TensorRecord:
        if not isinstance(storage, _Storage):
            raise _RefusedPickleError("a tensor without a storage")
        if not (isinstance(shape, tuple) and isinstance(stride, tuple)):
            raise _RefusedPickleError("a tensor without a shape or a stride")
        if len(shape) != len(stride) or len(shape) > DIMENSIONS_LIMIT:
            raise _RefusedPickleError(
                f"a tensor of {len(shape)} dimensions and {len(stride)} strides; expected as many"
                f" of both, at most {DIMENSIONS_LIMIT}"
            )
        # nothing of the numbers is shown: they may be anything, of any size
        if not all(type(n) is int and 0 <= n < 2**63 for n in (offset, *shape, *stride)):
            raise _RefusedPickleError("a tensor whose shape, stride or offset is no usable number")
        if 0 in shape:
            raise _RefusedPickleError(f"a tensor of shape {list(shape)}, which holds no number")
        return _TensorRecord(storage, offset, shape, stride)

    def _ignore(self, *_: Any) -> None:
        return None

    def _rebuild_parameter(self, data: _TensorRecord, *_: Any) -> _TensorRecord:
        return data


def _named_records(content: Any) -> Iterator[tuple[str, _TensorRecord]]:
    """Tensors of nested dictionaries or modules with their dotted names."""
    if isinstance(content, dict):
        for key in STATE_DICT_KEYS:
            if isinstance(content.get(key), dict):
                content = content[key]
                break
    seen = set()  # a container that lies in itself would be walked for ever
    pending = [("", content)] if isinstance(content, dict | _Module) else []
    while pending:
        prefix, container = pending.pop()
        if id(container) in seen:
            continue
        seen.add(id(container))
        children = container if isinstance(container, dict) else vars(container)
        for name, child in children.items():
            if not isinstance(child, dict | _Module | _TensorRecord):
                continue
            if not isinstance(name, str | int) or len(prefix) + len(str(name)) > NAME_LIMIT:
                raise _RefusedPickleError(
                    f"a name that is no text or longer than {NAME_LIMIT} characters"
                )
            if isinstance(child, _TensorRecord):
                yield f"{prefix}{name}".removeprefix("module."), child
            else:
                pending.append((f"{prefix}{name}.", child))


def _read_records(
    archive: zipfile.ZipFile,
    entries: dict[str, zipfile.ZipInfo],
    data_folder: str,
    records: dict[str, _TensorRecord],
    size_bytes: int,
) -> dict[str, Tensor]:
    storages: dict[_Storage, Tensor] = {}
    tensors = {}
    tensors_bytes = storages_bytes = 0  # entries may overlap and tensors share their storage
    for name, record in records.items():
        entry = entries.get(data_folder + record.storage.key)
        if entry is None:
            raise _RefusedPickleError(f"{name!r} lies in storage {record.storage.key!r}, not there")
        n_numbers = entry.file_size // record.storage.dtype.itemsize
        reach = record.offset + sum(
            (size - 1) * step for size, step in zip(record.shape, record.stride, strict=True)
        )
        if math.prod(record.shape) > n_numbers or reach >= n_numbers:
            raise _RefusedPickleError(
                f"{name!r} has shape {list(record.shape)} in a storage of {n_numbers:,} numbers"
            )
        tensors_bytes += math.prod(record.shape) * record.storage.dtype.itemsize
        storages_bytes += 0 if record.storage in storages else entry.file_size
        if max(tensors_bytes, storages_bytes) > size_bytes:
            raise _RefusedPickleError(
                f"its tensors need more than the {size_bytes:,} bytes that the file has"
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
    return torch.frombuffer(data, dtype=dtype, count=usable_bytes // dtype.itemsize)
