"""Frames as cameras, networks and people really send them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.runtime.decode import MAX_SCANS, MAX_SIDE, decode, probe
from models.runtime.jpeg_header import one_pass
from sightline.contracts import Reason
from sightline.errors import FrameError

START_OF_FRAME = b"\xff\xc0"
END = b"\xff\xd9"


def picture(width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """A smooth RGB gradient with a red square at the top left."""
    rows, cols = np.mgrid[:height, :width]
    image = np.stack([cols * 200 / width, rows * 200 / height, np.full((height, width), 60)], axis=2)
    image[: height // 4, : width // 4] = (220, 30, 30)
    return image.astype(np.uint8)


def jpeg(image: NDArray[np.uint8], *flags: int) -> bytes:
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95, *flags])
    return data.tobytes()


GOOD = jpeg(picture())


def reason_of(data: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        decode(data, 64, 64)
    return caught.value.reason


def claiming(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    at = GOOD.index(START_OF_FRAME) + 5
    return GOOD[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + GOOD[at + 4 :]


def with_orientation(data: bytes, orientation: int) -> bytes:
    """The same JPEG with an EXIF segment."""
    tiff = (
        b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + bytes(6)
    )
    segment = b"Exif\x00\x00" + tiff
    return data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]


def test_a_good_frame_comes_out_at_the_detector_size_with_its_own_size_kept() -> None:
    frame = decode(GOOD, 48, 64)
    assert frame.image.shape == (48, 64, 3)
    assert frame.image.dtype == np.uint8
    assert (frame.width, frame.height) == probe(GOOD) == (320, 240)


def test_colours_are_rgb_and_places_agree_with_the_original() -> None:
    red = decode(GOOD, 60, 80).image[5, 5]
    assert red[0] > 180
    assert red[2] < 80


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (100, 130), (240, 320), (500, 700)])
def test_every_scale_gives_the_same_picture(size: tuple[int, int]) -> None:
    height, width = size
    expected = cv2.resize(picture(), (width, height), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(decode(GOOD, height, width).image - expected).mean() < 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"hello", Reason.NOT_JPEG),
        (cv2.imencode(".png", picture())[1].tobytes(), Reason.NOT_JPEG),
        (GOOD[: len(GOOD) // 2], Reason.TRUNCATED),
        (GOOD[:-2], Reason.TRUNCATED),
        (GOOD[: len(GOOD) // 2] + END, Reason.TRUNCATED),
        (GOOD[:100], Reason.TRUNCATED),
        (b"\xff\xd8\xff", Reason.TRUNCATED),
        (b"\xff\xd8\xff" + b"this is text " * 40, Reason.TRUNCATED),
        (b"\xff\xd8\xff" + b"this is text " * 40 + END, Reason.UNDECODABLE),
        (claiming(65_000, 65_000), Reason.TOO_LARGE),
        (claiming(MAX_SIDE + 1, 8), Reason.TOO_LARGE),
    ],
)
def test_each_fault_has_its_reason(data: bytes, reason: Reason) -> None:
    assert reason_of(data) == reason


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_progressive_frame_is_truncated_and_not_a_blurred_picture(share: float) -> None:
    whole = jpeg(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert decode(whole, 64, 64).width == 320
    assert reason_of(whole[: int(share * len(whole))]) == Reason.TRUNCATED
    assert reason_of(whole[: int(share * len(whole))] + END) in (Reason.TRUNCATED, Reason.UNDECODABLE)


def test_a_progressive_frame_may_have_neither_the_size_nor_the_scans_of_a_bomb() -> None:
    whole = jpeg(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    at = whole.index(b"\xff\xc2") + 5
    large = whole[:at] + (5000).to_bytes(2, "big") * 2 + whole[at + 4 :]
    assert reason_of(large) == Reason.TOO_LARGE
    last = whole.rindex(b"\xff\xda")
    assert reason_of(whole[:-2] + whole[last:-2] * MAX_SCANS + END) == Reason.TOO_LARGE


def test_a_large_baseline_frame_is_read() -> None:
    large = jpeg(np.full((5000, 5000, 3), 77, np.uint8))
    assert abs(int(decode(large, 64, 64).image.mean()) - 77) <= 1


def test_how_a_picture_is_coded_is_told_from_its_markers() -> None:
    assert one_pass(GOOD)
    assert one_pass(with_orientation(GOOD, 3))
    assert one_pass(jpeg(picture()[:, :, 0]))
    assert not one_pass(jpeg(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    scan = GOOD.index(b"\xff\xda")
    assert not one_pass(GOOD[: scan + 4] + b"\x01" + GOOD[scan + 5 :])  # one component, more to come
    assert not one_pass(GOOD[:100])


def test_padding_that_cameras_write_is_no_fault() -> None:
    for harmless in (GOOD + bytes(500), GOOD[:-2] + bytes(3) + END):
        assert np.array_equal(decode(harmless, 64, 64).image, decode(GOOD, 64, 64).image)


def test_a_grey_frame_becomes_rgb() -> None:
    image = decode(jpeg(picture()[:, :, 0]), 64, 64).image
    assert image.shape == (64, 64, 3)
    assert np.array_equal(image[..., 0], image[..., 2])


def test_a_cmyk_frame_keeps_its_colours() -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK file")
    from io import BytesIO

    file = BytesIO()
    pillow.fromarray(picture()).convert("CMYK").save(file, "JPEG", quality=95)
    assert np.abs(decode(file.getvalue(), 64, 64).image.astype(int) - decode(GOOD, 64, 64).image).mean() < 6


def test_exif_orientation_is_ignored_so_that_boxes_fit_the_archive() -> None:
    turned = with_orientation(GOOD, 6)
    assert probe(turned) == (320, 240)
    assert np.array_equal(decode(turned, 64, 64).image, decode(GOOD, 64, 64).image)


def test_quality_tells_a_blurred_and_a_dark_frame_from_a_good_one() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(60, 200, (128, 128, 3), dtype=np.uint8)
    good = decode(jpeg(sharp), 128, 128).quality
    blurred = decode(jpeg(cv2.GaussianBlur(sharp, (0, 0), 3)), 128, 128).quality
    dark = decode(jpeg(sharp // 4), 128, 128).quality
    assert blurred.blur < 0.2 * good.blur
    assert dark.exposure < 0.5 * good.exposure
    assert good.exposure == pytest.approx(130, abs=5)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(2, len(GOOD) - 1), junk=st.binary(min_size=1, max_size=40))
def test_damage_anywhere_gives_a_picture_or_a_frame_error(at: int, junk: bytes) -> None:
    data = GOOD[:at] + junk + GOOD[at + len(junk) :]
    try:
        assert decode(data, 64, 64).image.shape == (64, 64, 3)
    except FrameError as error:
        assert error.reason in set(Reason)
