from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from models.dataset import Sample
from models.judging.metrics import KindCount, area, by_kind, evaluate, pixel_curves
from models.runtime.scores import Scores


def samples(*kinds: str, mask: Path | None = None) -> list[Sample]:
    return [Sample(Path(f"{number}.jpg"), kind, mask if kind != "good" else None) for number, kind in enumerate(kinds)]


def scores(*values: float) -> Scores:
    flat = np.array(values, np.float32)
    return Scores(np.broadcast_to(flat[:, None, None], (len(flat), 8, 8)).copy(), flat)


def test_the_confusion_matrix_and_f1_are_those_of_the_threshold() -> None:
    found = evaluate(samples("good", "good", "dent", "dent", "crack"), scores(1.0, 3.5, 3.0, 2.0, 9.0), threshold=3.0)
    assert [found[name] for name in ("true_positives", "false_positives", "false_negatives", "true_negatives")] == [
        2,
        1,
        1,
        1,
    ]
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["false_alarm_rate"] == 0.5
    assert found["image_auroc"] == pytest.approx(4 / 6)
    # by falling score: defect, good, defect, defect, good; precision 1, 2/3 and 3/4 at the three defects
    assert found["image_pr_auc"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found["f1_max"] == pytest.approx(6 / 7)


def test_labels_of_one_kind_leave_out_what_they_cannot_tell() -> None:
    only_good = evaluate(samples("good", "good"), scores(1.0, 4.0), threshold=3.0)
    assert only_good["false_alarm_rate"] == only_good["accuracy"] == 0.5
    assert not {"image_auroc", "image_pr_auc", "f1", "f1_max", "pixel_auroc", "aupro_30"} & set(only_good)
    assert evaluate([], scores(), threshold=1.0) == {}


def test_each_kind_says_what_was_found_put_up_for_review_and_missed() -> None:
    labelled = samples("good", "dent", "dent", "dent", "crack", "good")
    values = np.array([2.0, 3.0, 2.9, 1.9, 8.0, 1.0], np.float32)
    assert by_kind(labelled, values, threshold=3.0, review_threshold=2.0) == {
        "crack": KindCount(frames=1, found=1, review=0, missed=0),
        "dent": KindCount(frames=3, found=1, review=1, missed=1),
        "good": KindCount(frames=2, found=0, review=1, missed=1),
    }


def test_pixel_metrics_reward_the_right_place(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:32, :32] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    labelled = samples("good", "dent", mask=tmp_path / "mask.png")
    right, wrong = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    right[1, :4, :4] = wrong[1, 4:, 4:] = 5.0
    values = np.array([0.0, 5.0], np.float32)
    good, bad = evaluate(labelled, Scores(right, values), 1.0), evaluate(labelled, Scores(wrong, values), 1.0)
    assert good["pixel_auroc"] > 0.95
    assert good["aupro_30"] > 0.9
    assert bad["pixel_auroc"] < 0.5
    assert bad["aupro_30"] < 0.2
    assert good["aupro_05"] <= good["aupro_30"]


def test_defective_frames_without_a_mask_do_not_count_for_pixels(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    masked = samples("good", "dent", mask=tmp_path / "mask.png")
    maps = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    both = evaluate([*masked, *samples("dent")], Scores(maps, maps.max((1, 2))), 1.0)
    alone = evaluate(masked, Scores(maps[:2], maps[:2].max((1, 2))), 1.0)
    for name in ("pixel_auroc", "aupro_30", "aupro_05"):
        assert both[name] == alone[name]


def overlap_under(limit: float, masks: NDArray[np.bool_], values: NDArray[np.float32]) -> float:
    curves = pixel_curves(masks, values)
    assert curves is not None
    return area(curves.false_positive_rate, curves.overlap, limit)


def by_brute_force(limit: float, masks: NDArray[np.bool_], values: NDArray[np.float32]) -> float:
    """Bergmann's definition, one threshold after the other."""
    regions = []
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [(index, labels == label) for label in range(1, count + 1)]
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(values)[::-1]:
        called = values >= threshold
        rates.append(float(called[~masks].mean()))
        overlaps.append(float(np.mean([called[index][region].mean() for index, region in regions])))
    fine = np.linspace(0, limit, 200_001)
    # the curve is a polygon with few vertical steps, so a fine grid comes as near as wanted
    return float(np.trapezoid(np.interp(fine, rates, overlaps), fine) / limit)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("levels", [4, 1000])
def test_overlap_is_that_of_the_definition_with_and_without_ties(limit: float, levels: int) -> None:
    rng = np.random.default_rng(levels)
    masks = rng.random((4, 12, 12)) < 0.25
    masks[0] = False
    values = (rng.integers(0, levels, masks.shape) + (levels // 2) * masks).astype(np.float32)
    assert overlap_under(limit, masks, values) == pytest.approx(by_brute_force(limit, masks, values), abs=1e-4)


def test_pixel_recall_has_the_area_that_scikit_learn_finds() -> None:
    rng = np.random.default_rng(5)
    masks = rng.random((3, 10, 10)) < 0.3
    values = rng.integers(0, 9, masks.shape).astype(np.float32) + 3 * masks
    curves = pixel_curves(masks, values)
    assert curves is not None
    expected = roc_auc_score(masks.ravel(), values.ravel())
    assert area(curves.false_positive_rate, curves.recall, 1.0) == pytest.approx(expected, abs=1e-12)


def test_small_and_large_regions_weigh_the_same() -> None:
    masks = np.zeros((1, 4, 6), bool)
    masks[0, :, :3] = masks[0, 0, 5] = True
    values = np.zeros((1, 4, 6), np.float32)
    values[0, :, :3] = 2.0
    # the large region is found at once, the small one only with everything else: overlap rises from 1/2 to 1
    assert overlap_under(1.0, masks, values) == pytest.approx(0.75)
    assert overlap_under(0.3, masks, values) == pytest.approx((0.5 + 0.65) / 2)


@pytest.mark.parametrize(("limit", "constant"), [(0.3, 0.15), (0.05, 0.025), (1.0, 0.5)])
def test_a_perfect_map_has_all_of_the_area_and_a_constant_one_the_diagonal(limit: float, constant: float) -> None:
    masks = np.zeros((2, 6, 6), bool)
    masks[1, :2, :2] = True
    assert overlap_under(limit, masks, masks.astype(np.float32)) == pytest.approx(1.0)
    assert overlap_under(limit, masks, np.ones(masks.shape, np.float32)) == pytest.approx(constant)


def test_pixels_of_one_label_have_no_curve() -> None:
    values = np.ones((1, 4, 4), np.float32)
    assert pixel_curves(np.zeros((1, 4, 4), bool), values) is None
    assert pixel_curves(np.ones((1, 4, 4), bool), values) is None
