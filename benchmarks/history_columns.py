"""Arrow columns from numpy arrays, without a Python object per row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


def hex_ids(rng: np.random.Generator, rows: int) -> pa.Array:
    """Strings of 32 hex digits, as the product's digests."""
    digits = _HEX[rng.integers(0, 256, rows * 16, dtype=np.uint8)]
    offsets = np.arange(rows + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(digits))


def pick(values: Sequence[str], index: NDArray[np.int64]) -> pa.Array:
    """`values[index]`."""
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(values, pa.string())).cast(pa.string())


def times(microseconds: NDArray[np.int64]) -> pa.Array:
    """UTC times from microseconds since 1970."""
    return pa.array(microseconds, pa.int64()).cast(pa.timestamp("us", "UTC"))


def struct_of(**columns: pa.Array | NDArray[np.generic]) -> pa.StructArray:
    """One struct a row."""
    return pa.StructArray.from_arrays([pa.array(column) for column in columns.values()], names=list(columns))


def pieces(
    pool: NDArray[np.uint8],
    rng: np.random.Generator,
    rows: int,
    length: int | NDArray[np.int64],
    valid: NDArray[np.bool_] | None = None,
) -> pa.Array:
    """Binary values of these lengths, each cut from `pool` (uint8) at a random place; NULL where not `valid`."""
    lengths = np.broadcast_to(np.asarray(length, np.int64), rows)
    ends = np.cumsum(lengths)
    starts = rng.integers(0, len(pool) - int(lengths.max(initial=0)), rows)
    values = np.empty(int(ends[-1]) if rows else 0, np.uint8)
    at = 0
    for start, size in zip(starts.tolist(), lengths.tolist(), strict=True):
        values[at : at + size] = pool[start : start + size]
        at += size
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    missing = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), rows, [missing, pa.py_buffer(offsets), pa.py_buffer(values)]
    ).cast(pa.binary())
