"""What a pickle says of its tensors: names, storages, offsets, shapes. No number is read yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import torch

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
DIMENSIONS_LIMIT = 8
NAME_LIMIT = 200  # characters; the longest published name has 75
# training checkpoints keep the weights under one of these, with "module." before each name
STATE_DICT_KEYS = ("state_dict", "model_state_dict")


class RefusedPickleError(Exception):
    """The pickle asks for something that tensors do not need."""


class Opaque(Enum):
    """A value that leads to no tensor: all that is kept of it is its kind."""

    LIST = "list"
    SET = "set"
    FROZENSET = "frozenset"
    TUPLE = "tuple"
    TEXT = "str"
    BYTES = "bytes"
    NUMBER = "int"


@dataclass(frozen=True, slots=True)
class Storage:
    """The raw numbers of one or more tensors, under their key in the archive."""

    key: str
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor as the pickle describes it; no memory is taken before it is checked."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Branch:
    """A dictionary or a TorchScript module: what in it is or leads to a tensor, by name.

    A name that is no text or too long is None.
    """

    kind: str
    children: dict[str | int | None, Branch | TensorRecord] = field(default_factory=dict)


def tensor_record(storage: object, offset: object, shape: object, stride: object) -> TensorRecord:
    """Raises RefusedPickleError unless these can be a tensor's."""
    if not isinstance(storage, Storage):
        raise RefusedPickleError("a tensor without a storage")
    if not (isinstance(shape, tuple) and isinstance(stride, tuple)):
        raise RefusedPickleError("a tensor without a shape or a stride")
    if len(shape) != len(stride) or len(shape) > DIMENSIONS_LIMIT:
        raise RefusedPickleError(
            f"a tensor of {len(shape)} dimensions and {len(stride)} strides; expected as many"
            f" of both, at most {DIMENSIONS_LIMIT}"
        )
    # nothing of the numbers is shown: they may be anything, of any size
    if not all(type(n) is int and n >= 0 for n in (offset, *shape, *stride)):
        raise RefusedPickleError("a tensor whose shape, stride or offset is no usable number")
    if 0 in shape:
        raise RefusedPickleError(f"a tensor of shape {list(shape)}, which holds no number")
    assert isinstance(offset, int)
    return TensorRecord(storage, offset, shape, stride)


def kind(content: object) -> str:
    """What a pickled value is called."""
    if isinstance(content, Branch):
        return content.kind
    if isinstance(content, Enum):
        return str(content.value)
    names = {TensorRecord: "tensor", Storage: "storage"}
    return names.get(
        type(content), "tuple" if isinstance(content, tuple) else type(content).__name__
    )


def named_records(content: object) -> Iterator[tuple[str, TensorRecord]]:
    """Tensors of nested dictionaries or modules with their dotted names."""
    if not isinstance(content, Branch):
        return
    if content.kind != "module":
        for key in STATE_DICT_KEYS:
            inner = content.children.get(key)
            if isinstance(inner, Branch) and inner.kind != "module":
                content = inner
                break
    seen = set()  # a dictionary that lies in itself would be walked for ever
    pending = [("", content.children)]
    while pending:
        prefix, children = pending.pop()
        if id(children) in seen:
            continue
        seen.add(id(children))
        for name, child in children.items():
            # as it would be shown: a line of control characters grows when they are escaped
            if name is None or len(repr(f"{prefix}{name}")) - 2 > NAME_LIMIT:
                raise RefusedPickleError(
                    f"a name that is no text or longer than {NAME_LIMIT} characters"
                )
            if isinstance(child, TensorRecord):
                yield f"{prefix}{name}".removeprefix("module."), child
            else:
                pending.append((f"{prefix}{name}.", child.children))
