"""nvJPEG on a real GPU; run by `pytest tests/gpu`, outside the default run. Skips, and says why, without one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pictures import SIZES, simulated
from models.runtime.decode import DecodedFrame, Wanted, decode_each
from models.runtime.nvjpeg import BatchDecoder
from producers.simulator import PRODUCTS
from sightline.errors import FrameError, PrerequisiteError


@pytest.fixture(scope="module")
def decoder() -> BatchDecoder:
    try:
        return BatchDecoder()
    except PrerequisiteError as error:
        pytest.skip(f"NO GPU TEST WAS RUN: {error}")


@pytest.fixture(scope="module")
def jpegs() -> tuple[bytes, ...]:
    return simulated(next(iter(PRODUCTS)), *SIZES["720p"], count=24).jpegs


def test_frames_are_those_of_the_cpu(decoder: BatchDecoder, jpegs: tuple[bytes, ...]) -> None:
    wanted = [Wanted(jpeg, 256, 256) for jpeg in jpegs]
    for found, expected in zip(decoder(wanted), decode_each(wanted), strict=True):
        assert isinstance(found, DecodedFrame)
        assert isinstance(expected, DecodedFrame)
        assert np.abs(found.image.astype(int) - expected.image).mean() < 1


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["without end marker", "with end marker"])
def test_a_scan_that_stops_short_is_no_frame(decoder: BatchDecoder, jpegs: tuple[bytes, ...], end: bytes) -> None:
    (found,) = decoder([Wanted(jpegs[0][: len(jpegs[0]) // 2] + end, 256, 256)])
    assert isinstance(found, FrameError)
    assert found.reason == "truncated"
