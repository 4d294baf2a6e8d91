"""The pickle of a state dict: which tensor has which name, storage, offset and shape.

Python's own unpickler does what a pickle asks for. This interpreter knows the opcodes that
torch.save and TorchScript write, and keeps only what leads to a tensor: dictionaries, modules,
and tuples in a tuple. Of anything else it keeps the kind, without the content. So nothing of a
file is called, compared or walked by recursion, and only short texts and small integers are
hashed.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from enum import Enum
from typing import IO, Any

import torch

from clipcli.errors import one_line
from clipcli.models.checkpoint.tensor_records import (
    STORAGE_DTYPES,
    Branch,
    Opaque,
    RefusedPickleError,
    Storage,
    TensorRecord,
    tensor_record,
)

# a ViT of 48 and 32 layers has 35,000, with the state of its optimizer 125,000
OPCODES_LIMIT = 1_000_000
PROTOCOL_LIMIT = 5
TEXT_LIMIT = 1000  # characters; of a longer text only the kind is kept


class _Known(Enum):
    """What a pickle may name to be called; nothing here is a function."""

    ORDERED_DICT = "collections.OrderedDict"
    REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
    REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
    MODULE = "__torch__"
    ATTRIBUTE = "torch.jit._pickle"  # lists of numbers among a TorchScript's attributes


class _NestedTuple(tuple[object, ...]):
    """A tuple with a tuple in it; deeper ones are not kept, since no tensor needs them."""

    __slots__ = ()


class StateDictReader:
    """Reads the pickles of one archive, which share a limit of opcodes."""

    def __init__(self) -> None:
        self.opcodes_left = OPCODES_LIMIT

    def read(self, data: bytes | bytearray) -> object:
        """The value that is pickled, as far as it leads to tensors.

        Raises RefusedPickleError for what could run code, ValueError for what is no such pickle.
        """
        machine = _Machine(data)
        file = machine.file
        while (code := file.read(1)) != b".":
            self.opcodes_left -= 1
            if self.opcodes_left < 0:
                raise RefusedPickleError(
                    f"its pickles have more than the {OPCODES_LIMIT:,} steps that names and"
                    " shapes can need"
                )
            if code not in _OPCODES:
                raise ValueError(f"{code!r} is none of its opcodes" if code else "it ends early")
            read_argument, act = _OPCODES[code]
            act(machine, read_argument and read_argument(file))
        return machine.pop()


class _Machine:
    """A stack, the places in it that are marked, and a memo of values to use again."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.file = io.BytesIO(data)
        self.size_bytes = len(data)
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def pop(self) -> object:
        return self.pop_some(1)[0]

    def pop_some(self, n_values: int) -> list[object]:
        start = len(self.stack) - n_values
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("its stack is empty")
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_to_mark(self) -> list[object]:
        if not self.marks:
            raise ValueError("a mark is missing")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def push(self, value: object) -> None:
        self.stack.append(value)

    def push_value(self, value: object) -> None:
        """A number, a text or bytes that stand in the pickle."""
        if isinstance(value, str) and len(value) > TEXT_LIMIT:
            value = Opaque.TEXT
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            value = Opaque.NUMBER
        elif isinstance(value, bytes | bytearray):
            value = Opaque.BYTES
        self.push(value)

    def push_tuple(self, values: list[object]) -> None:
        kinds = {type(value) for value in values}
        if _NestedTuple in kinds:
            values = [Opaque.TUPLE if isinstance(v, _NestedTuple) else v for v in values]
        self.push(
            tuple(values) if kinds.isdisjoint({tuple, _NestedTuple}) else _NestedTuple(values)
        )

    def push_global(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("it asks for something whose name is no text or too long")
        if module == "torch" and name in STORAGE_DTYPES:
            self.push(STORAGE_DTYPES[name])
        elif module.startswith("__torch__"):
            self.push(_Known.MODULE)
        elif module == "torch.jit._pickle":
            self.push(_Known.ATTRIBUTE)
        elif f"{module}.{name}" in _CALLABLE:
            self.push(_Known(f"{module}.{name}"))
        else:
            asked = one_line(f"{module}.{name}"[:100])[:100]
            raise RefusedPickleError(f"its pickle asks for {asked}, which could run code")

    def remember(self, index: object) -> None:
        if not isinstance(index, int) or not 0 <= index <= self.size_bytes:
            shown = str(index)[:20]
            raise RefusedPickleError(f"memo index {shown} in {self.size_bytes:,} bytes of pickle")
        self.push(self.pop())  # there must be one
        self.memo[index] = self.stack[-1]

    def recall(self, index: object) -> None:
        if not isinstance(index, int) or index not in self.memo:
            raise ValueError("it uses what it has not kept")
        self.push(self.memo[index])

    def set_items(self, items: list[object]) -> None:
        branch = self.pop()
        if not isinstance(branch, Branch) or branch.kind == "module" or len(items) % 2:
            raise ValueError("keys and values of something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            name = key if isinstance(key, str | int) else None
            if isinstance(value, Branch | TensorRecord):
                branch.children[name] = value
            elif name is not None:
                branch.children.pop(name, None)
        self.push(branch)

    def add_items(self, items: list[object], kind: Opaque) -> None:
        """Of a list or a set; they are not kept."""
        if not self.stack or self.stack[-1] is not kind:
            raise ValueError(f"{len(items)} items of something that is no {kind.value}")

    def freeze(self, items: list[object]) -> None:
        self.push(Opaque.FROZENSET)

    def refer(self, reference: object) -> None:
        """The storage that a reference names: a kind, a type, a key, a device and a length."""
        match reference:
            case ("storage", torch.dtype() as dtype, str(key), *_):
                self.push(Storage(key, dtype))
            case _:
                raise RefusedPickleError("a reference to something that is no storage")

    def reduce(self) -> None:
        arguments, known = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise ValueError("a call without arguments")
        if known is _Known.ORDERED_DICT and not arguments:
            self.push(Branch("OrderedDict"))  # filled later
        elif known is _Known.REBUILD_TENSOR and len(arguments) >= 4:
            self.push(tensor_record(*arguments[:4]))
        elif known is _Known.REBUILD_PARAMETER and arguments:
            self.push(arguments[0])
        elif known is _Known.ATTRIBUTE:
            self.push(None)
        else:
            raise ValueError("a call that no tensor needs")

    def new_module(self) -> None:
        arguments, known = self.pop(), self.pop()
        if known is not _Known.MODULE or arguments != ():
            raise ValueError("an object that is no module")
        self.push(Branch("module"))

    def build(self) -> None:
        """A module's attributes; those of an OrderedDict (`_metadata`) are not needed."""
        state, target = self.pop(), self.pop()
        if not (isinstance(target, Branch) and isinstance(state, Branch)):
            raise ValueError("attributes of something that is no module")
        if target.kind == "module":
            target.children = state.children  # no copy: one state may be that of many modules
        self.push(target)

    def protocol(self, version: object) -> None:
        if not isinstance(version, int) or version > PROTOCOL_LIMIT:
            raise ValueError(f"protocol {version}, expected at most {PROTOCOL_LIMIT}")

    def frame(self, n_bytes: object) -> None:
        if not isinstance(n_bytes, int) or n_bytes > self.size_bytes - self.file.tell():
            raise ValueError("a frame that ends early")


_CALLABLE = frozenset(known.value for known in _Known) - {"__torch__", "torch.jit._pickle"}
_Act = Callable[[_Machine, Any], object]
_ACTS: dict[str, _Act] = {
    "PROTO": _Machine.protocol,
    "FRAME": _Machine.frame,
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.pop_to_mark(),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_LIST": lambda m, _: m.push(Opaque.LIST),
    "EMPTY_SET": lambda m, _: m.push(Opaque.SET),
    "EMPTY_DICT": lambda m, _: m.push(Branch("dict")),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.push_tuple(m.pop_some(1)),
    "TUPLE2": lambda m, _: m.push_tuple(m.pop_some(2)),
    "TUPLE3": lambda m, _: m.push_tuple(m.pop_some(3)),
    "TUPLE": lambda m, _: m.push_tuple(m.pop_to_mark()),
    "FROZENSET": lambda m, _: m.freeze(m.pop_to_mark()),
    "APPEND": lambda m, _: m.add_items(m.pop_some(1), Opaque.LIST),
    "APPENDS": lambda m, _: m.add_items(m.pop_to_mark(), Opaque.LIST),
    "ADDITEMS": lambda m, _: m.add_items(m.pop_to_mark(), Opaque.SET),
    "SETITEM": lambda m, _: m.set_items(m.pop_some(2)),
    "SETITEMS": lambda m, _: m.set_items(m.pop_to_mark()),
    "GLOBAL": lambda m, argument: m.push_global(*argument.split(" ", 1)),
    "INST": lambda m, argument: m.push_global(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.push_global(*m.pop_some(2)),
    "PERSID": _Machine.refer,
    "BINPERSID": lambda m, _: m.refer(m.pop()),
    "REDUCE": lambda m, _: m.reduce(),
    "NEWOBJ": lambda m, _: m.new_module(),
    "BUILD": lambda m, _: m.build(),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "INT"), _Machine.push_value),
    **dict.fromkeys(("LONG", "LONG1", "LONG4", "BINFLOAT"), _Machine.push_value),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _Machine.push_value),
    **dict.fromkeys(("SHORT_BINSTRING", "BINSTRING"), _Machine.push_value),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"), _Machine.push_value),
}
# by its byte, how an opcode's argument is read and what it does
_OPCODES: dict[bytes, tuple[Callable[[IO[bytes]], object] | None, _Act]] = {
    opcode.code.encode("latin-1"): (opcode.arg.reader if opcode.arg else None, _ACTS[opcode.name])
    for opcode in pickletools.opcodes
    if opcode.name in _ACTS
}
