"""What a disk, and whoever writes the file, may do to a cache: ten kinds of damage, each by a seed.

Each takes the path of a cache, `Random`, and the path of another cache with the same page size.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

PAGE = 16384
Damage = Callable[[Path, Random, Path], None]

VALUES = (
    "7",
    "-1",
    "NULL",
    "1.5",
    "x'00'",
    "x''",
    "CAST(x'fffe41' AS TEXT)",
    "'text'",
    "zeroblob(64)",
)
COLUMNS = {
    "file": ("path", "size", "mtime_ns", "inode", "content", "checksum"),
    "pixels": ("content", "preprocessing", "pixels", "middle_only", "checksum"),
    "embedding": ("pixels", "model", "vector", "checksum"),
    "text": ("text", "model", "vector", "checksum"),
    "model": ("key", "name", "fingerprint", "precision", "checksum"),
    "remembered": ("key", "value", "checksum"),
    "failure": ("path", "way", "versions", "mtime_ns", "error", "checksum"),
}
# columns that are exchanged between two rows: one value, or a value with its checksum
SWAPPED = (
    ("embedding", ("vector",)),
    ("embedding", ("vector", "checksum")),
    ("text", ("vector", "checksum")),
    ("pixels", ("pixels",)),
    ("pixels", ("pixels", "checksum")),
    ("pixels", ("middle_only",)),
    ("file", ("content",)),
    ("file", ("content", "checksum")),
)


def flip_bits(cache: Path, random: Random, other: Path) -> None:
    data = bytearray(cache.read_bytes())
    for _ in range(random.choice((1, 8, 64))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    cache.write_bytes(data)


def change_bytes(cache: Path, random: Random, other: Path) -> None:
    data = bytearray(cache.read_bytes())
    for _ in range(random.choice((1, 4, 16))):
        n_bytes = random.choice((1, 16, 500))
        start = random.randrange(len(data))
        data[start : start + n_bytes] = random.randbytes(len(data[start : start + n_bytes]))
    cache.write_bytes(data)


def zero_a_page(cache: Path, random: Random, other: Path) -> None:
    data = bytearray(cache.read_bytes())
    start = random.randrange(len(data) // PAGE) * PAGE
    data[start : start + PAGE] = bytes(PAGE)
    cache.write_bytes(data)


def swap_pages(cache: Path, random: Random, other: Path) -> None:
    data = bytearray(cache.read_bytes())
    one, two = (number * PAGE for number in random.sample(range(1, len(data) // PAGE), 2))
    data[one : one + PAGE], data[two : two + PAGE] = data[two : two + PAGE], data[one : one + PAGE]
    cache.write_bytes(data)


def take_a_page_of_another(cache: Path, random: Random, other: Path) -> None:
    data, foreign = bytearray(cache.read_bytes()), other.read_bytes()
    here, there = (random.randrange(len(some) // PAGE) * PAGE for some in (data, foreign))
    data[here : here + PAGE] = foreign[there : there + PAGE]
    cache.write_bytes(data)


def cut(cache: Path, random: Random, other: Path) -> None:
    os.truncate(cache, random.randrange(cache.stat().st_size))


def swap_row_numbers(cache: Path, random: Random, other: Path) -> None:
    """In the index of one table: each of some pairs of keys leads to the other's row."""
    table, key = random.choice((("embedding", "pixels"), ("text", "text")))
    with closing(sqlite3.connect(cache)) as connection:
        rows = connection.execute(f"SELECT {key}, model, rowid FROM {table} WHERE rowid < 128")
        entries = [(digest + model, rowid) for digest, model, rowid in rows if rowid > 1]
    data = bytearray(cache.read_bytes())
    random.shuffle(entries)
    for (one, rowid), (two, other_rowid) in zip(entries[::2], entries[1::2], strict=False):
        places = [
            data.find(digest + bytes([n])) for digest, n in ((one, rowid), (two, other_rowid))
        ]
        assert min(places) > 0
        data[places[0] + len(one)] = other_rowid
        data[places[1] + len(two)] = rowid
        if random.random() < 0.3:
            break
    cache.write_bytes(data)


def swap_values(cache: Path, random: Random, other: Path) -> None:
    table, columns = random.choice(SWAPPED)
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        key = {"file": "path", "pixels": "content"}.get(table, "rowid")
        wanted = f"SELECT {key}, {', '.join(columns)} FROM {table}"
        rows = connection.execute(wanted).fetchall()
        random.shuffle(rows)
        setting = ", ".join(f"{column} = ?" for column in columns)
        for one, two in zip(rows[::2], rows[1::2], strict=False):
            for to, source in ((one, two), (two, one)):
                change = f"UPDATE {table} SET {setting} WHERE {key} = ?"
                connection.execute(change, (*source[1:], to[0]))


def change_types(cache: Path, random: Random, other: Path) -> None:
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        for _ in range(random.choice((1, 3))):
            table = random.choice(list(COLUMNS))
            column, value = random.choice(COLUMNS[table]), random.choice(VALUES)
            some = random.choice(("1", "abs(random()) % 2"))
            connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {some}")


def damage_the_head(cache: Path, random: Random, other: Path) -> None:
    """The header, or the text of the tables, which need be no UTF-8 afterwards."""
    data = bytearray(cache.read_bytes())
    start, stop = random.choice(((0, 100), (16, 100), (100, 140), (PAGE - 1600, PAGE)))
    for _ in range(random.choice((1, 3))):
        data[random.randrange(start, stop)] = random.choice((0, 255, random.randrange(256)))
    cache.write_bytes(data)


def damage_the_log(cache: Path, random: Random, other: Path) -> None:
    """What SQLite keeps beside the file, where a run was killed; its index is rubbish or gone."""
    log = cache.with_name(cache.name + "-wal")
    data = bytearray(log.read_bytes())
    for _ in range(random.choice((1, 8))):
        start = random.choice((random.randrange(32), random.randrange(len(data))))
        data[start] = random.randrange(256)
    log.write_bytes(data[: random.choice((len(data), random.randrange(len(data))))])
    index = cache.with_name(cache.name + "-shm")
    if random.random() < 0.5:
        index.write_bytes(random.randbytes(32768))


KINDS: tuple[Damage, ...] = (
    flip_bits,
    change_bytes,
    zero_a_page,
    swap_pages,
    take_a_page_of_another,
    cut,
    swap_row_numbers,
    swap_values,
    change_types,
    damage_the_head,
    damage_the_log,
)
