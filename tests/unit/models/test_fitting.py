"""What a fit decides before it learns: alignment, variants, and what a mask allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibrate import Rates
from models.detector import Detector
from models.features import FeatureSettings
from models.fitting import Fitted, Recipe, fit
from models.methods import METHODS
from models.preparation import Preparation, Variation
from models.progress import quiet
from models.runtime.card import LATENCY_BUDGET_MS, DetectorCard
from models.runtime.view import open_view
from sightline.errors import DetectorError

FEATURES = FeatureSettings(input_size=64, dimensions=16)


def write(folder: Path, images: list[NDArray[np.uint8]]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:02}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image)
    return paths


def bar(rng: np.random.Generator, turn: int, x: int, y: int, size: int) -> NDArray[np.uint8]:
    """A bright square with a dark bar along one edge, `turn` quarters round, on grey noise."""
    part = np.full((size, size, 3), 200, np.uint8)
    part[: size // 4] = 120
    image = np.full((160, 160, 3), 80, np.uint8)
    image[y : y + size, x : x + size] = np.rot90(part, turn)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Squares at any place and of any size, all the same way up."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(12):
        size = int(rng.integers(50, 90))
        x, y = (int(value) for value in rng.integers(8, 152 - size, 2))
        images.append(bar(rng, 0, x, y, size))
    return write(tmp_path_factory.mktemp("moving"), images)


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Squares in one place, each a random number of quarters round."""
    rng = np.random.default_rng(1)
    images = [bar(rng, int(turn), 40, 40, 80) for turn in rng.integers(0, 4, 12)]
    return write(tmp_path_factory.mktemp("turning"), images)


def fitted(paths: list[Path], recipe: Recipe) -> Fitted:
    return fit(paths, replace(recipe, features=FEATURES), quiet)


def test_parts_that_move_are_aligned_unless_that_is_switched_off(moving: list[Path]) -> None:
    found = fitted(moving, Recipe(variation=Variation.NONE))
    assert found.preparation.alignment is not None
    assert found.preparation.picture_side == 128
    assert found.parameters["aligned"] is True
    assert isinstance(found.detector, Detector)
    assert fitted(moving, Recipe(variation=Variation.NONE, alignment="off")).preparation == Preparation(64)


def test_parts_that_lie_still_cannot_be_aligned_by_force(turning: list[Path]) -> None:
    with pytest.raises(DetectorError, match=r"alignment is 'on', but in these 12 frames .* use 'auto' or 'off'"):
        fitted(turning, Recipe(alignment="on"))


def test_trials_find_that_a_part_may_lie_any_way_round(turning: list[Path]) -> None:
    found = fitted(turning, Recipe())
    assert found.preparation.variation is Variation.SYMMETRIC
    tried = {name: value for name, value in found.parameters.items() if name.startswith("trial_")}
    assert max(tried, key=lambda name: float(tried[name])) == "trial_symmetric"
    assert set(tried) == {"trial_none", "trial_mild", "trial_symmetric"}


def test_a_mask_is_refused_where_it_cannot_be_applied(moving: list[Path], tmp_path: Path) -> None:
    mask = np.full((160, 160), 255, np.uint8)
    mask[:80] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    view = open_view(None, tmp_path / "mask.png", "--")
    whole = next(name for name, method in METHODS.items() if method.whole)
    with pytest.raises(DetectorError, match=f"method '{whole}' judges the picture as a whole"):
        fitted(moving, Recipe(method=whole, view=view))
    with pytest.raises(DetectorError, match="a mask cannot follow the part"):
        fitted(moving, Recipe(alignment="on", view=view))
    assert fitted(moving, Recipe(variation=Variation.NONE, view=view)).preparation.alignment is None


def test_what_a_mask_hides_does_not_count_for_the_threshold(turning: list[Path], tmp_path: Path) -> None:
    mask = np.zeros((160, 160), np.uint8)
    mask[:24] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    view = open_view(None, tmp_path / "mask.png", "--")
    seen = fitted(turning, Recipe(variation=Variation.NONE))
    hidden = fitted(turning, Recipe(variation=Variation.NONE, view=view))
    assert hidden.calibration.highest < seen.calibration.highest
    assert len(str(hidden.parameters["mask_sha256"])) == 64


def test_a_card_gives_back_the_rates_that_were_asked_for_and_no_others(moving: list[Path], card: DetectorCard) -> None:
    asked = Rates(false_alarm=0.02, review=0.1)
    for rates in (None, asked):
        recipe = replace(Recipe(), variation=Variation.NONE, rates=rates)
        found = fitted(moving, recipe)
        said = replace(card, parameters=dict(found.parameters), calibration=found.calibration.on_card())
        assert Recipe.from_card(said).rates == rates
        assert Recipe.from_card(said).latency_budget_ms == LATENCY_BUDGET_MS
        assert Recipe.from_card(replace(said, latency_budget_ms=40.0)).latency_budget_ms == 40.0
        assert found.calibration.rates == (rates or Rates(false_alarm=1 / 13, review=3 / 13))
