"""Regions and masks: what is looked at, where a cell counts, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.decode import decode
from models.runtime.scores import Scores
from models.runtime.view import Box, View, cells, check_maskable, masked, open_view
from sightline.contracts import Reason
from sightline.errors import DetectorError, FrameError, SettingsError

KEY = "[score.views.cam-1] "


def png(path: Path, image: NDArray[np.uint8]) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def black(width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    return np.zeros((height, width), np.uint8)


@pytest.fixture
def spot(tmp_path: Path) -> Path:
    """A mask of 160 × 120 that is white in x 80…99, y 30…44."""
    image = black()
    image[30:45, 80:100] = 255
    return png(tmp_path / "spot.png", image)


def test_a_region_shows_the_pixels_of_the_frame_that_it_names() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:180, 200:360] = (250, 0, 0)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    seen = decode(jpeg, 64, 64, View(region=Box(200, 100, 160, 80)))
    assert (seen.width, seen.height, seen.covered) == (640, 480, (200, 100, 160, 80))
    assert np.abs(seen.image.astype(int) - (250, 0, 0))[2:-2, 2:-2].max() < 25
    # a region of which half is the red area
    half = decode(jpeg, 64, 64, View(region=Box(120, 100, 160, 80))).image
    assert half[2:-2, :30, 0].max() < 40
    assert half[2:-2, 34:, 0].min() > 210


def test_without_a_region_the_picture_is_as_ever() -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8))[1].tobytes()
    assert (decode(jpeg, 48, 64, View()).image == decode(jpeg, 48, 64).image).all()


@pytest.mark.parametrize("size", [(159, 200), (200, 119)])
def test_a_frame_that_does_not_hold_the_region_is_refused_with_both_sizes(size: tuple[int, int]) -> None:
    view = View(key=KEY, region=Box(60, 20, 100, 100))
    with pytest.raises(FrameError, match=rf"{size[0]}x{size[1]}, \[score.views.cam-1\] region = .* 160x120") as refused:
        view.covered(*size)
    assert refused.value.reason == Reason.SIZE_MISMATCH
    assert view.covered(160, 120) == (60, 20, 100, 100)


def test_a_frame_of_another_size_than_the_mask_is_refused(spot: Path) -> None:
    view = open_view(None, spot, KEY)
    assert view.covered(160, 120) == (0, 0, 160, 120)
    with pytest.raises(FrameError, match=r"frame is 320x240, .*\[score.views.cam-1\] mask 160x120"):
        view.covered(320, 240)


def test_cells_count_where_one_of_their_pixels_is_white(spot: Path) -> None:
    kept = cells(open_view(None, spot, KEY), 8, 8)  # 20 × 15 pixels a cell
    assert np.argwhere(kept).tolist() == [[2, 4]]
    kept = cells(open_view((70, 20, 40, 40), spot, KEY), 4, 4)  # 10 × 10 pixels a cell; white in 10…29, 10…24
    assert np.argwhere(kept).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


@settings(deadline=None)
@given(
    x=st.integers(0, 159), y=st.integers(0, 119), rows=st.integers(1, 300), cols=st.integers(1, 300)
)  # fmt: skip
def test_no_white_pixel_is_ever_lost_between_pixels_and_cells(x: int, y: int, rows: int, cols: int) -> None:
    image = black()
    image[y, x] = 255
    data = cv2.imencode(".png", image)[1].tobytes()
    kept = cells(View(mask=data, mask_width=160, mask_height=120), rows, cols)
    assert kept[y * rows // 120, x * cols // 160]


def test_what_is_left_aside_is_zero_and_never_the_score(spot: Path) -> None:
    maps = np.full((2, 8, 8), 9.0, np.float32)
    maps[0, 2, 4], maps[1, 2, 4] = 3.0, -1.0
    seen = masked(open_view(None, spot, KEY), Scores(maps, maps.max(axis=(1, 2))))
    assert seen.scores.tolist() == [3.0, -1.0]
    assert seen.maps.sum(axis=(1, 2)).tolist() == [3.0, -1.0]
    scores = Scores(maps, maps.max(axis=(1, 2)))
    assert masked(None, scores) is masked(View(region=Box(0, 0, 32, 32)), scores) is scores


@pytest.mark.parametrize("region", [(-1, 0, 64, 64), (0, 0, 15, 64), (0, 0, 64, 0)])
def test_a_region_that_is_none_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(SettingsError, match=r"\[score.views.cam-1\] region = .*expected \[x, y, width, height\]"):
        open_view(region, None, KEY)


def test_every_fault_of_a_mask_is_told_with_its_key(tmp_path: Path, spot: Path) -> None:
    jpeg = tmp_path / "mask.jpg"
    cv2.imwrite(str(jpeg), black() + 255)
    torn = tmp_path / "torn.png"
    torn.write_bytes(spot.read_bytes()[:30])
    clear = png(tmp_path / "clear.png", np.zeros((120, 160, 4), np.uint8))
    dark = png(tmp_path / "dark.png", black())
    faults = {
        tmp_path / "absent.png": "No such file",
        jpeg: "no PNG",
        torn: "damaged",
        clear: "transparent",
        dark: "black all over",
    }
    for path, words in faults.items():
        with pytest.raises(SettingsError, match=words) as refused:
            open_view(None, path, KEY)
        assert str(refused.value).startswith(f"{KEY}mask = {str(path)!r}")
    with pytest.raises(SettingsError, match="black all over inside"):
        open_view((0, 0, 40, 20), spot, KEY)
    with pytest.raises(SettingsError, match=r"reaches to 200x64, the mask .* is 160x120"):
        open_view((100, 0, 100, 64), spot, KEY)


def test_a_detector_that_does_not_say_where_cannot_be_masked(card: DetectorCard, spot: Path) -> None:
    views = [open_view((0, 0, 90, 90), None, "[score.views.a] "), open_view(None, spot, "[score.views.b] ")]
    local, whole = (replace(card, parameters=card.parameters | {"whole": value}) for value in (False, True))
    check_maskable(local, views)
    check_maskable(whole, views[:1])
    with pytest.raises(DetectorError, match=r"as a whole, so \[score.views.b\] mask"):
        check_maskable(whole, views)
    with pytest.raises(DetectorError, match="does not say whether"):
        check_maskable(replace(card, parameters={}), views)
