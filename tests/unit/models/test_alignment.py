from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.runtime.alignment import Alignment, learn, locate

SIDE = 200


def disc(x: float, y: float, radius: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A bright ellipse with a dark spot in its upper half, on grey; `x` and `y` in pixels."""
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    cv2.ellipse(image, (round(x), round(y)), radius, 0, 0, 360, (200, 200, 200), -1)
    cv2.circle(image, (round(x), round(y - radius[1] / 2)), 4, (20, 20, 20), -1)
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def everywhere() -> NDArray[np.uint8]:
    """Discs at many places and of many sizes."""
    rng = np.random.default_rng(3)
    return np.stack(
        [
            disc(*rng.uniform(75, 125, 2), (int(rng.integers(30, 60)), int(rng.integers(30, 60))), seed)
            for seed in range(24)
        ]
    )


def test_a_disc_is_found_where_it_is_and_as_large_as_it_is() -> None:
    found = locate(disc(80, 120, (40, 30)))
    assert found is not None
    # the standard deviation of a disc's area is half its radius
    assert found == pytest.approx((80 / SIDE, 120 / SIDE, 20 / SIDE, 15 / SIDE), abs=0.01)


def test_nothing_is_found_on_a_picture_without_a_background() -> None:
    assert locate(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)) is None


def test_parts_of_any_place_and_size_come_out_alike(everywhere: NDArray[np.uint8]) -> None:
    alignment = learn(everywhere, 64)
    assert alignment is not None
    parts = alignment.cut(everywhere, alignment.places(everywhere)).astype(np.float32)
    assert parts.shape == (24, 64, 64, 3)
    before = np.stack([cv2.resize(image, (64, 64)) for image in everywhere]).astype(np.float32)
    assert parts.std(axis=0).mean() < before.std(axis=0).mean() / 3


def test_parts_that_lie_alike_are_left_as_they_are() -> None:
    assert learn(np.stack([disc(100, 100, (40, 40), seed) for seed in range(12)]), 64) is None


def test_outlines_that_differ_from_part_to_part_are_no_guide() -> None:
    rng = np.random.default_rng(5)
    images = []
    for _ in range(24):
        image = np.full((SIDE, SIDE, 3), 90, np.uint8)
        centre, spokes = rng.uniform(80, 120, 2), rng.uniform(15, 75, 9)
        turns = np.arange(9) * 2 * np.pi / 9
        corners = centre + spokes[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        images.append(cv2.fillPoly(image, [corners.round().astype(np.int32)], (200, 200, 200)))
    assert learn(np.stack(images), 64) is None


def test_a_map_goes_back_to_where_the_part_lies(everywhere: NDArray[np.uint8]) -> None:
    alignment = learn(everywhere, 64)
    assert alignment is not None
    image = disc(120, 80, (40, 40))[None]
    places = alignment.places(image)
    parts = alignment.cut(image, places)
    dark = (parts[..., 0] < 60).astype(np.float32)
    whole = alignment.back(dark, places)[0]
    rows, cols = np.nonzero(whole > 0.5)
    # the spot lies half a radius above the centre
    assert (cols.mean() + 0.5) / 64 == pytest.approx(120 / SIDE, abs=0.02)
    assert (rows.mean() + 0.5) / 64 == pytest.approx(60 / SIDE, abs=0.02)
    assert whole[0, 0] == 0


def test_a_part_far_from_all_that_were_learnt_is_not_brought_in() -> None:
    alignment = Alignment(
        side=64, usual=(0.5, 0.5, 0.1, 0.1), lowest=(0.45, 0.45, 0.09, 0.09), highest=(0.55, 0.55, 0.11, 0.11)
    )
    place = alignment.places(disc(30, 100, (20, 20))[None])[0]
    assert place[0] == 0.45
    blank = np.full((1, SIDE, SIDE, 3), 90, np.uint8)
    assert alignment.places(blank)[0] == pytest.approx((0.5, 0.5, 0.1, 0.1))
