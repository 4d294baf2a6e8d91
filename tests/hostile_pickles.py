"""Pickles that hurt a reader: nested, shared, many, long, of wrong types and numbers.

`FORMS` are those that once crashed, hung or filled the memory; `generated` makes more of them.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterator

from pickle_by_hand import (
    HUGE,
    LAUGHS,
    NO_HOOKS,
    REBUILD,
    call,
    group,
    named,
    number,
    numbers,
    state_dict,
    storage,
    tensor,
    text,
)

DEPTH = 200_000  # beyond any stack of C
MANY = 7_900_000  # as many bytes as a pickle may have
MODULE = named("__torch__.x", "A")
DEEP = b")" + b"\x85" * DEPTH
# an ordered dictionary that is about to get attributes of its own
OWN_BODY = NO_HOOKS + text("a") + tensor() + b"s"


def key(value: bytes) -> bytes:
    return b"}" + value + tensor() + b"s"


def in_set(value: bytes) -> bytes:
    return b"\x8f(" + value + b"\x90"


def in_frozenset(value: bytes) -> bytes:
    return b"(" + value + b"\x91"


def many(n_items: int, value: bytes, step: int = 1) -> bytes:
    """Keys that are numbers, each with `value`."""
    return b"".join(number(index * step) + value for index in range(n_items))


FORMS = {
    "deep tuple as a key": key(DEEP),
    "deep tuple as a key of another": key(DEEP + DEEP + b"\x86"),
    "deep tuple in a set": state_dict(a=in_set(DEEP)),
    "deep tuple in a frozenset": state_dict(a=in_frozenset(DEEP)),
    "deep tuple as a key beside a tensor": state_dict(a=tensor(), b=b"}" + DEEP + b"Ns"),
    "shared tuples as a key": key(LAUGHS),
    "shared tuples in a set": state_dict(a=in_set(LAUGHS)),
    "shared tuples in a frozenset": state_dict(a=in_frozenset(LAUGHS)),
    "frozensets in frozensets": state_dict(a=b"(" * 300_000 + b"\x91" * 300_000),
    "millions of sets": b"(" + b"\x8f" * MANY + b"t",
    "millions of dictionaries": b"(" + b"}" * MANY + b"t",
    "millions of marks": b"(" * MANY,
    "dictionaries in dictionaries": (b"}" + text("a")) * 150_000 + b"}" + b"s" * 150_000,
    "key of 7 MB": key(text("k" * 7_000_000)),
    "key of 7 MB of bytes": key(b"B" + struct.pack("<I", 7_000_000) + bytes(7_000_000)),
    "storage of 7 MB": state_dict(a=tensor(of=storage("k" * 7_000_000))),
    "storage of escapes": state_dict(a=tensor(of=storage("\x1b" * 900))),
    "global of 7 MB": named("m" * 3_500_000, "n" * 3_500_000),
    "global of escapes": text("\x1b" * 900) + text("\U000e0001" * 900) + b"\x93",
    "name of escapes": key(text("\U000e0001" * 190)),
    "number of 7 MB": key(b"\x8b" + struct.pack("<i", 7_000_000) + b"\x7f" * 7_000_000),
    "decimal number of 7 MB": key(b"L" + b"9" * 7_000_000 + b"L\n"),
    "names in names": (b"}" + text("n" * 150)) * 5000 + tensor() + b"s" * 5000,
    "200,000 names of one tensor": b"}" + tensor() + b"q\x000(" + many(200_000, b"h\x00") + b"u",
    "50,000 modules of one state": b"".join(
        (
            MODULE + b"q\x000",
            b"}(" + many(1000, tensor()) + b"uq\x010",
            b"}(" + many(50_000, b"h\x00)\x81h\x01b") + b"u",
        )
    ),
    "module that is its own attribute": MODULE + b")\x81q\x00}" + text("a") + b"h\x00sb",
    "numbers that hash alike": b"}(" + many(50_000, b"}", step=2**40) + b"u",
    "own items": OWN_BODY + state_dict(items=number(1)) + b"b",
    "own get": OWN_BODY + state_dict(get=named("torch", "HalfStorage")) + b"b",
    "own class": OWN_BODY + state_dict(keys=b"N", __class__=MODULE) + b"b",
    "own slots": OWN_BODY + group(b"N", state_dict(items=number(1))) + b"b",
}


def generated(n_pickles: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and bodies of pickles, each hostile in one of the ways below."""
    rng = random.Random(seed)
    ways: list[Callable[[random.Random], bytes]] = [_nested, _shared, _many, _long, _number, _soup]
    for index in range(n_pickles):
        way = ways[index % len(ways)]
        yield f"{index} {way.__name__.strip('_')}", way(rng)


def _placed(rng: random.Random, value: bytes) -> bytes:
    """`value` in one of the places where a state dict has another."""
    other = rng.choice([b"N", b"\x88", b")", b"]", b"}", number(rng.getrandbits(40)), tensor()])
    return rng.choice(
        [
            value,
            key(value),
            b"}" + value + other + b"s",
            state_dict(a=value, b=tensor()),
            state_dict(state_dict=state_dict(a=value), epoch=other),
            in_set(value),
            in_frozenset(value + other),
            b"]" + value + b"a" + other + b"0",
            value + b"Q",
            group(value, other, text("0")) + b"Q",
            group(text("storage"), value, text("0")) + b"Q",
            group(text("storage"), named("torch", "HalfStorage"), value) + b"Q",
            state_dict(a=tensor(of=value)),
            state_dict(a=call(REBUILD, storage(), number(0), value, value)),
            state_dict(a=call(REBUILD, storage(), value, numbers((2,)), numbers((1,)))),
            state_dict(a=call(named("torch._utils", "_rebuild_parameter"), value, other)),
            state_dict(a=call(named("torch.jit._pickle", "build_intlist"), value)),
            call(value, other),
            NO_HOOKS + value + b"b",
            MODULE + b")\x81" + value + b"b",
            MODULE + value + b"\x81",
            value + text("a") + tensor() + b"s",
            value + other + b"\x93",
        ]
    )


def _nested(rng: random.Random) -> bytes:
    depth = int(10 ** rng.uniform(1, 4.7))
    opened, closed = rng.choice(
        [
            (b"", b"\x85"),
            (b"]", b"a"),
            (b"}" + text("a"), b"s"),
            (b"}", b"Ns"),
            (b"(", b"\x91"),
            (b"(", b"t"),
            (b"\x8f(", b"\x90"),
            (NO_HOOKS + text("a"), b"s"),
            (MODULE + b")\x81}" + text("a"), b"sb"),
        ]
    )
    return _placed(rng, opened * depth + rng.choice([b")", b"N", tensor()]) + closed * depth)


def _shared(rng: random.Random) -> bytes:
    """Each level holds the one below twice: 2 ** n_levels values in a few hundred bytes."""
    start, doubled = rng.choice(
        [
            (b")", b"h%ch%c\x86"),
            (b"]", b"](h%ch%ce"),
            (b"\x8f", b"(h%ch%c\x91"),
            (b"}", b"}(X\x01\x00\x00\x00ah%cX\x01\x00\x00\x00bh%cu"),
            (b"}", b"}(h%cNh%cNu"),
        ]
    )
    n_levels = rng.randrange(20, 200)
    levels = b"".join(b"q%c0" % i + doubled % (i, i) for i in range(n_levels))
    return _placed(rng, start + levels)


def _many(rng: random.Random) -> bytes:
    n_times = int(10 ** rng.uniform(2, 4.7))
    one = rng.choice(
        [b")", b"]", b"}", b"\x8f", b"N", b"(", b"K\x01", b"\x8c\x01a", MODULE, NO_HOOKS, b"\x94"]
    )
    return _placed(rng, b"N" + one * n_times if rng.random() < 0.3 else b"(" + one * n_times + b"t")


def _long(rng: random.Random) -> bytes:
    n_bytes = int(10 ** rng.uniform(2, 6))
    letter = rng.choice(["a", "\n", "\x1b", "é", "\ud800", "\U000e0001"])
    content = (letter * n_bytes).encode("utf-8", "surrogatepass")[:n_bytes]
    size = struct.pack("<I", len(content))
    value = rng.choice(
        [
            b"X" + size + content,
            b"T" + size + content,
            b"B" + size + content,
            b"\x8d" + size + bytes(4) + content,
            b"\x96" + size + bytes(4) + content,
            b"\x8b" + size + content,
            b"L" + b"7" * n_bytes + b"L\n",
            b"X" + struct.pack("<I", rng.getrandbits(32)) + content,
        ]
    )
    return _placed(rng, value)


def _number(rng: random.Random) -> bytes:
    numbers_ = [0, -1, 2**31, 2**63 - 1, 2**63, HUGE, 2**70, -(2**63), rng.getrandbits(62)]
    shape = tuple(rng.choice(numbers_) for _ in range(rng.randrange(0, 12)))
    stride = tuple(rng.choice(numbers_) for _ in shape)
    odd = rng.choice([math.nan, math.inf, -math.inf, -0.0, 1e308])
    value = rng.choice(
        [
            b"G" + struct.pack(">d", odd),
            number(rng.choice(numbers_)),
            tensor(shape, stride, rng.choice(numbers_)),
            tensor((2, 3), (rng.choice(numbers_), 1), rng.choice(numbers_)),
            b"Nr" + struct.pack("<I", rng.getrandbits(32)),
            b"j" + struct.pack("<I", rng.getrandbits(32)),
            b"\x95" + struct.pack("<Q", rng.getrandbits(63)),
            b"\x80" + bytes([rng.randrange(256)]) + b"N",
        ]
    )
    return _placed(rng, value)


def _soup(rng: random.Random) -> bytes:
    """Right opcodes in any order."""
    words = [b"(", b"}", b"]", b")", b"\x8f", b"N", b"\x88", b"K\x02", text("a"), text("weight")]
    words += [b"0", b"1", b"t", b"\x85", b"\x86", b"\x87", b"s", b"u", b"a", b"e", b"\x90", b"\x91"]
    words += [b"q\x01", b"h\x01", b"\x94", b"R", b"\x81", b"b", b"Q", b"\x93", MODULE, REBUILD]
    words += [tensor(), storage(), NO_HOOKS]
    return b"".join(rng.choices(words, k=rng.randrange(2, 40)))
