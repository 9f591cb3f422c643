"""The simulated line: the same frames for the same seed, and masks that are the whole truth."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from producers.simulator import DEFECTS, GOOD, PRODUCTS, LineSimulator, SimulatedFrame
from producers.simulator.baseline import auroc, mean_difference_auroc
from producers.simulator.line import VISIBLE
from sightline.errors import SettingsError

SMALL = {"width": 200, "height": 150}


def digest(frame: SimulatedFrame) -> str:
    content = frame.image.tobytes() + frame.mask.tobytes() + frame.label.encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_frame_does_not_depend_on_the_frames_before_it(product: str) -> None:
    forwards = LineSimulator(product, seed=5, defect_rate=0.5, **SMALL)
    backwards = LineSimulator(product, seed=5, defect_rate=0.5, **SMALL)
    first = [digest(forwards.render(index)) for index in range(12)]
    second = [digest(backwards.render(index)) for index in reversed(range(12))]
    assert first == second[::-1]
    assert len(set(first)) == 12


def test_another_process_renders_the_same_bytes() -> None:
    program = (
        "import hashlib; from producers.simulator import LineSimulator;"
        "f = LineSimulator('circuit_board', seed=9, width=200, height=150, defect_rate=1.0).render(321);"
        "print(hashlib.blake2b(f.image.tobytes() + f.mask.tobytes() + f.label.encode(), digest_size=16).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert told == digest(LineSimulator("circuit_board", seed=9, defect_rate=1.0, **SMALL).render(321))


def test_lines_of_different_seeds_and_products_differ() -> None:
    images = [LineSimulator("gear", seed, **SMALL).render_as(0, GOOD).image for seed in (1, 2)]
    assert not np.array_equal(*images)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("kind", DEFECTS)
@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_the_mask_is_exactly_where_the_defect_changed_the_picture(product: str, kind: str, severity: float) -> None:
    line = LineSimulator(product, seed=4, width=320, height=240)
    for index in range(3):
        bad, twin = line.render_as(index, kind, severity), line.render_as(index, GOOD)
        difference = np.abs(bad.image.astype(int) - twin.image.astype(int)).max(axis=2)
        assert np.array_equal(bad.mask, difference > 0)
        assert difference[bad.mask].min() >= VISIBLE
        assert bad.mask.sum() >= 9
        assert bad.label == kind


@pytest.mark.parametrize("kind", ["scratch", "dent", "stain", "crack", "chip"])
def test_a_plain_defect_covers_more_than_a_faint_one(kind: str) -> None:
    line = LineSimulator("gear", seed=6, width=320, height=240)
    areas = [np.mean([line.render_as(index, kind, severity).mask.sum() for index in range(8)]) for severity in (0, 1)]
    assert areas[1] > 1.5 * areas[0]


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (64, 300), (1280, 720), (500, 97)])
def test_every_size_gives_a_picture_of_that_size(product: str, width: int, height: int) -> None:
    line = LineSimulator(product, seed=1, width=width, height=height)
    for kind in (GOOD, "crack", "misalignment"):
        frame = line.render_as(2, kind)
        assert frame.image.shape == (height, width, 3)
        assert frame.image.dtype == np.uint8
        assert frame.mask.shape == (height, width)
        assert frame.image.std() > 5
        assert frame.mask.any() == (kind != GOOD)


@pytest.mark.parametrize("product", PRODUCTS)
def test_good_parts_vary_in_light_place_and_texture(product: str) -> None:
    line = LineSimulator(product, seed=8, **SMALL)
    images = np.stack([line.render_as(index, GOOD).image for index in range(24)]).astype(float)
    levels = images.mean(axis=(1, 2, 3))
    assert levels.std() / levels.mean() > 0.05
    assert images.std(axis=0).mean() > 8


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_plain_difference_from_the_mean_good_picture_does_not_solve_the_task(product: str) -> None:
    size = {"width": 320, "height": 240}
    learn, test = LineSimulator(product, seed=21, **size), LineSimulator(product, seed=22, **size)
    kinds = list(DEFECTS)
    train = [learn.render_as(index * 7, GOOD).image for index in range(50)]
    good = [test.render_as(index * 7, GOOD).image for index in range(48)]
    bad = [test.render_as(2000 + index * 7, kinds[index % len(kinds)]).image for index in range(48)]
    assert mean_difference_auroc(train, good, bad) < 0.80


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0
    assert auroc(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == 0.625
    assert auroc(np.array([1.0]), np.array([1.0])) == 0.5


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"product": "bottle"}, "'bottle'.*bottle_cap, gear, blister_pack, circuit_board"),
        ({"kinds": ["rust"]}, "'rust'.*scratch, dent, stain"),
        ({"kinds": []}, "kinds is empty.*scratch"),
        ({"width": 63}, "width is 63.*64 to 4096"),
        ({"height": 4097}, "height is 4097.*64 to 4096"),
        ({"seed": -1}, "seed is -1"),
        ({"defect_rate": 1.5}, "defect_rate is 1.5.*0 to 1"),
        ({"mean_run": 0.5}, "mean_run is 0.5"),
    ],
)
def test_wrong_settings_are_named_with_their_value_and_the_remedy(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        LineSimulator(**{"product": "gear", "seed": 0, **wrong})  # type: ignore[arg-type]


def test_wrong_requests_are_named() -> None:
    line = LineSimulator("gear", **SMALL)
    with pytest.raises(SettingsError, match="index is -1"):
        line.render(-1)
    with pytest.raises(SettingsError, match="'rust'"):
        line.render_as(0, "rust")
    with pytest.raises(SettingsError, match="severity is 2"):
        line.render_as(0, "dent", 2)
