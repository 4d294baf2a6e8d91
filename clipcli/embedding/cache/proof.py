"""Whether a row is what was stored, and belongs to what was asked for.

The last column of every table is a CRC-32 of all others, the key with the value: SQLite does not
notice a flipped bit, and where an index is damaged it hands back another row. This is against
damage; it does not stop anybody who can write the file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from clipcli.records import Embedding

UNIT_LENGTH_ERROR = 1e-3

integer_bytes = struct.Struct("<q").pack
state_bytes = struct.Struct("<4q").pack
flag_bytes = {flag: integer_bytes(flag) for flag in (0, 1)}  # whatever else is read is no flag


def checksum(*values: Any) -> int:
    """CRC-32 of a row's values, bytes and 64-bit integers, in the order of its columns.

    Raises TypeError or struct.error for any other value.
    """
    return zlib.crc32(
        b"".join([value if type(value) is bytes else integer_bytes(value) for value in values])
    )


def fits(expected: object, *values: Any) -> bool:
    """Whether this is the checksum of these values, which are no bytes where there is damage.

    For what a run reads by the thousand: integers are given as bytes, so that none is looked at.
    """
    try:
        return zlib.crc32(b"".join(values)) == expected
    except TypeError:
        return False


def is_whole(row: Sequence[Any]) -> bool:
    """Whether the last value of a row is the checksum of the others."""
    try:
        return bool(checksum(*row[:-1]) == row[-1])
    except (TypeError, struct.error):
        return False


def to_blob(embedding: NDArray[np.float32]) -> bytes:
    return embedding.astype("<f4").tobytes()


def unit_vectors(blobs: Sequence[bytes], embed_dim: int) -> list[Embedding | None]:
    """Each as float32 [embed_dim], or None where it is of another size or not of unit length."""
    found: list[Embedding | None] = [None] * len(blobs)
    places = [n for n, blob in enumerate(blobs) if len(blob) == 4 * embed_dim]
    joined = b"".join([blobs[n] for n in places])
    vectors = np.frombuffer(joined, "<f4").reshape(len(places), embed_dim)
    with np.errstate(all="ignore"):  # NaN, infinite and huge ones are what is looked for
        squares = np.einsum("nd,nd->n", vectors, vectors)
        are_unit = np.abs(squares - 1) < 2 * UNIT_LENGTH_ERROR
    for n, vector, is_unit in zip(places, vectors, are_unit.tolist(), strict=True):
        if is_unit:
            found[n] = vector.astype(np.float32)  # a copy, which can be written to
    return found
