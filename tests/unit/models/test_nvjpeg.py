"""What decodes JPEGs on a GPU, here with the same library's decoder on the CPU: what it takes, and what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.runtime.decode import DecodedFrame, Wanted, decode_each
from models.runtime.nvjpeg import BatchDecoder
from models.runtime.view import open_view
from sightline.errors import FrameError, PrerequisiteError

pytest.importorskip("nvidia.nvimgcodec", reason="nvidia-nvimgcodec-cu13 is for Linux")


@pytest.fixture(scope="module")
def decoder() -> BatchDecoder:
    return BatchDecoder("cpu")


def picture(width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """A smooth gradient with a red square at the top left, in the order of OpenCV."""
    rows, cols = np.mgrid[:height, :width]
    image = np.stack([np.full((height, width), 60), rows * 200 / height, cols * 200 / width], axis=2)
    image[: height // 4, : width // 4] = (30, 30, 220)
    return image.astype(np.uint8)


def jpeg(image: NDArray[np.uint8], *flags: int) -> bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95, *flags])
    assert done
    return data.tobytes()


GOOD = jpeg(picture())
GREY = jpeg(picture()[..., 1])
PROGRESSIVE = jpeg(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
TURNED = b"\xff\xd8\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06"
TURNED = TURNED + bytes(6) + GOOD[2:]
"""By its EXIF data to be shown turned by a quarter."""


@pytest.mark.parametrize(
    "data", [GOOD, GREY, PROGRESSIVE, TURNED, GOOD + bytes(64)], ids=["colour", "grey", "progressive", "exif", "padded"]
)
@pytest.mark.parametrize("view", [None, open_view((40, 30, 160, 120), None, "")], ids=["whole", "region"])
def test_a_frame_is_what_it_is_when_the_cpu_decodes_it(decoder: BatchDecoder, data: bytes, view) -> None:
    wanted = [Wanted(data, 96, 96, view)]
    (found,), (expected,) = decoder(wanted), decode_each(wanted)
    assert isinstance(found, DecodedFrame)
    assert isinstance(expected, DecodedFrame)
    assert (found.width, found.height, found.covered) == (expected.width, expected.height, expected.covered)
    assert np.abs(found.image.astype(int) - expected.image).mean() < 1
    assert found.quality.exposure == pytest.approx(expected.quality.exposure, abs=1)


def test_what_is_wrong_with_a_frame_is_said_in_its_place(decoder: BatchDecoder) -> None:
    bad = [b"", b"no picture", GOOD[:100], GOOD[: len(GOOD) // 2], GOOD[:-2]]
    wanted = [Wanted(data, 64, 64) for one in bad for data in (GOOD, one)]
    wanted.append(Wanted(GOOD, 64, 64, open_view((300, 0, 100, 100), None, "")))
    found, expected = list(decoder(wanted)), list(decode_each(wanted))
    assert [getattr(one, "reason", None) for one in found] == [getattr(one, "reason", None) for one in expected]
    assert sum(isinstance(one, FrameError) for one in found) == len(bad) + 1
    assert list(decoder([])) == []


def test_large_frames_are_decoded_a_few_at_a_time(decoder: BatchDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    together = []

    class Watched:
        def __init__(self, behind: Any) -> None:
            self._behind = behind

        def decode(self, jpegs: list[bytes], **more: Any) -> Any:
            together.append(len(jpegs))
            return self._behind.decode(jpegs, **more)

    monkeypatch.setattr(decoder, "_decoder", Watched(decoder._decoder))
    monkeypatch.setattr("models.runtime.nvjpeg.MOST_PIXELS", 2 * 320 * 240)
    wanted = [Wanted(data, 64, 64) for data in (GOOD, b"", GOOD, GOOD, jpeg(picture(640, 480)), GOOD)]
    found = list(decoder(wanted))
    assert [getattr(one, "width", 0) for one in found] == [320, 0, 320, 320, 640, 320]
    assert together == [2, 1, 1, 1]


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU: tests/gpu")
def test_without_a_gpu_it_says_so_and_takes_nothing_else() -> None:
    with pytest.raises(PrerequisiteError, match=r"needs an NVIDIA GPU.*choose decode cpu"):
        BatchDecoder()
