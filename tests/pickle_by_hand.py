"""Pickles opcode by opcode, so that they can say what no pickler would, and archives of them."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

HUGE = 2**40


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    if len(data) < 256:
        return b"\x8a" + bytes([len(data)]) + data
    return b"\x8b" + struct.pack("<i", len(data)) + data


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def named_by_stack(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + group(*arguments) + b"R"


def storage(key: str = "0", dtype: str = "FloatStorage", kind: str = "storage") -> bytes:
    return group(text(kind), named("torch", dtype), text(key), text("cuda:0"), number(6)) + b"Q"


REBUILD = named("torch._utils", "_rebuild_tensor_v2")
NO_HOOKS = call(named("collections", "OrderedDict"))
LAUGHS = b")" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(60))  # 2 ** 60 tuples


def numbers(values: tuple[int, ...]) -> bytes:
    return group(*map(number, values))


def tensor(
    shape: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
    offset: int = 0,
    of: bytes | None = None,
) -> bytes:
    parts = (of or storage(), number(offset), numbers(shape), numbers(stride), b"\x89", NO_HOOKS)
    return call(REBUILD, *parts)


def state_dict(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def whole(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def write_archive(path: Path, body: bytes, **others: bytes) -> Path:
    """An archive as torch.save writes it, with one storage of six float32 numbers."""
    entries = {"data.pkl": whole(body), "data/0": struct.pack("<6f", *range(6)), **others}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"version": b"3\n", **entries}.items():
            archive.writestr(f"archive/{name}", content)
    return path
