from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.interpret import MAX_GROWTH, MAX_REGIONS, heat_map, in_frame, overlay_thumbnail, regions, verdict
from models.runtime.view import Box
from sightline.contracts import Verdict


def flat(value: float = 0.5) -> NDArray[np.float32]:
    return np.full((8, 8), value, np.float32)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(1.99, Verdict.OK), (2.0, Verdict.REVIEW), (2.99, Verdict.REVIEW), (3.0, Verdict.DEFECT), (9.0, Verdict.DEFECT)],
)
def test_thresholds_belong_to_the_worse_verdict(card: DetectorCard, score: float, expected: Verdict) -> None:
    assert verdict(score, card) is expected


def test_boxes_are_in_pixels_of_the_frame_strongest_first(card: DetectorCard) -> None:
    anomaly_map = flat()
    anomaly_map[0, 0] = 2.5
    anomaly_map[3:5, 4:7] = 4.0
    anomaly_map[4, 5] = 5.0
    found = regions(anomaly_map, card, Box(0, 0, 800, 400))
    assert [(box.x, box.y, box.width, box.height, box.peak) for box in found] == [
        (400, 150, 300, 100, 5.0),
        (0, 0, 100, 50, 2.5),
    ]


def test_boxes_stay_inside_a_frame_that_the_grid_does_not_divide(card: DetectorCard) -> None:
    box = regions(flat(9.0), card, Box(0, 0, 101, 53))[0]
    assert (box.x, box.y, box.width, box.height) == (0, 0, 101, 53)


def test_a_calm_map_has_no_box_and_a_noisy_one_a_bounded_number(card: DetectorCard) -> None:
    assert regions(flat(1.9), card, Box(0, 0, 640, 480)) == ()
    noisy = np.zeros((32, 32), np.float32)
    noisy[::2, ::2] = 5.0
    assert len(regions(noisy, card, Box(0, 0, 640, 480))) == MAX_REGIONS


def test_a_heat_map_can_be_read_back_within_half_a_step(card: DetectorCard) -> None:
    anomaly_map = np.linspace(0, 8, 64, dtype=np.float32).reshape(8, 8)
    heat = heat_map(anomaly_map, card)
    assert (heat.rows, heat.cols, heat.scale, len(heat.values)) == (8, 8, 6.0, 64)
    back = np.frombuffer(heat.values, np.uint8).reshape(8, 8) * heat.scale / 255
    assert np.abs(back - np.minimum(anomaly_map, 6.0)).max() <= 0.5 * 6.0 / 255 + 1e-6


def test_a_thumbnail_is_a_small_jpeg_that_shows_the_place(card: DetectorCard) -> None:
    image = np.full((256, 256, 3), 120, np.uint8)
    anomaly_map = flat()
    anomaly_map[6:, 6:] = 6.0
    data = overlay_thumbnail(image, anomaly_map, card)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert picture.shape == (192, 192, 3)
    assert len(data) < 20_000
    assert np.abs(picture[:48, :48] - 120).max() <= 3
    assert np.abs(picture[-20:, -20:] - 120).mean() > 20


def test_a_thumbnail_can_undo_the_squeeze_of_the_decoder(card: DetectorCard) -> None:
    data = overlay_thumbnail(np.zeros((256, 256, 3), np.uint8), flat(), card, width=160, height=90)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (90, 160, 3)


def test_a_review_threshold_above_the_scale_still_draws(card: DetectorCard) -> None:
    odd = replace(card, map_scale=0.5)
    assert overlay_thumbnail(np.zeros((64, 64, 3), np.uint8), flat(2.0), odd).startswith(b"\xff\xd8")


def test_boxes_of_a_region_are_in_pixels_of_the_frame(card: DetectorCard) -> None:
    anomaly_map = flat()
    anomaly_map[3:5, 4:7] = 4.0
    (box,) = regions(anomaly_map, card, Box(1000, 200, 800, 400))
    assert (box.x, box.y, box.width, box.height) == (1400, 350, 300, 100)


def test_a_regions_map_lies_at_its_place_in_the_frames(card: DetectorCard) -> None:
    anomaly_map = flat(1.0)
    anomaly_map[0, 7] = 5.0
    whole = in_frame(anomaly_map, Box(320, 240, 320, 240), 640, 480)
    assert whole.shape == (16, 16)
    assert (whole[8:, 8:] == anomaly_map).all()
    assert whole[:8].max() == whole[:, :8].max() == 0
    assert in_frame(anomaly_map, Box(0, 0, 640, 480), 640, 480) is anomaly_map


def test_a_small_regions_map_stays_bounded_and_keeps_its_peak(card: DetectorCard) -> None:
    anomaly_map = flat(1.0)
    anomaly_map[5, 2] = 5.0
    whole = in_frame(anomaly_map, Box(1203, 877, 100, 60), 4000, 3000)
    assert whole.shape == (8 * MAX_GROWTH, 8 * MAX_GROWTH)
    assert (whole.max(), whole[4, 4]) == (5.0, 5.0)  # 1228 / 250, 917 / 187.5
    assert whole[:4].max() == whole[5:].max() == 0
