"""Embeddings of a window against those of a reference."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.drift import compare, shift
from sightline.errors import DetectorError


def test_a_shift_is_measured_in_the_reference_own_spread() -> None:
    draw = np.random.default_rng(0)
    spread = np.array([10.0, 1.0, 0.1])
    known, same = draw.normal(0, spread, (400, 3)), draw.normal(0, spread, (400, 3))
    moved = same + np.array([0.0, 3.0, 0.0])
    found = shift(known, moved)
    assert found.value == pytest.approx(3.0, abs=0.4)
    assert found.value > found.chance
    unmoved = shift(known, same)
    assert unmoved.value < unmoved.chance < 0.5


def test_few_or_identical_pictures_are_refused() -> None:
    draw = np.random.default_rng(0)
    with pytest.raises(DetectorError, match="9 pictures are to be compared with 50"):
        shift(draw.normal(size=(50, 3)), draw.normal(size=(9, 3)))
    with pytest.raises(DetectorError, match="all the same"):
        shift(np.ones((50, 3)), draw.normal(size=(50, 3)))


def test_pictures_in_another_light_are_far_from_the_reference(bundle: Path, textures, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(bundle)
    groups = {"reference": textures(30, 1), "windows/same": textures(20, 2), "windows/dark": textures(20, 3) // 2}
    for place, images in groups.items():
        (tmp_path / place).mkdir(parents=True)
        for number, image in enumerate(images):
            cv2.imwrite(str(tmp_path / place / f"{number}.jpg"), image)
    found = compare(tmp_path)
    assert found["dark"].value > 2 * found["dark"].chance
    assert found["dark"].value > 3 * found["same"].value
    assert (found["same"].frames, found["same"].reference_frames) == (20, 30)
