"""Random generators by address: the same numbers for the same address, in any order and any process."""

from __future__ import annotations

from zlib import crc32

import numpy as np

MAX_SEED = 2**63 - 1


def generator(seed: int, *address: str | int) -> np.random.Generator:
    """The generator at `address` (names and counts) under `seed`, independent of all others."""
    words = [crc32(part.encode()) if isinstance(part, str) else part for part in address]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *words))))
