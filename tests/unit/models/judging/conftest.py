"""A folder of labelled grey pictures, some with a bright spot, and a detector whose score is the brightest cell."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.doubles import write_brightness_bundle
from models.judging.judge import judge
from models.judging.judgement import Judgement

HOSTILE_KIND = "<b>dent & $x_{"
HOSTILE_FILE = '"><img src=x onerror=alert(1)> $\\frac{ 漢字 🙂.png'


def write_picture(path: Path, brightness: int) -> None:
    """64 × 64, grey, with a spot of `brightness` over four of the detector's cells."""
    image = np.full((64, 64, 3), 90, np.uint8)
    image[16:32, 16:32] = brightness
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(".png", image)[1]))


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    for number in range(10):
        write_picture(root / "train" / "good" / f"{number}.png", 90)
    for number, brightness in enumerate((90, 100, 110, 160)):
        write_picture(root / "test" / "good" / f"{number}.png", brightness)
    write_picture(root / "test" / HOSTILE_KIND / HOSTILE_FILE, 140)
    for number, brightness in enumerate((180, 230, 250)):
        write_picture(root / "test" / "spot" / f"{number}.png", brightness)
        mask = np.zeros((64, 64), np.uint8)
        mask[16:32, 16:32] = 255
        folder = root / "ground_truth" / "spot"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}_mask.png"), mask)
    return root


@pytest.fixture(scope="session")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bright") / "bundle"
    write_brightness_bundle(folder, threshold=200.0, review_threshold=150.0)
    return folder


@pytest.fixture(scope="session")
def judged(bright: Path, parts: Path) -> Judgement:
    return judge(bright, parts)
