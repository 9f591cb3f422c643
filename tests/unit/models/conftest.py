"""A small detector, fitted on plain textures and exported once for all tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import export
from models.detector import Detector
from models.features import Features, FeatureSettings
from models.heads.positional import PositionalGaussian
from models.runtime.card import DetectorCard, save_card

SETTINGS = FeatureSettings(input_size=64, dimensions=24)
OPTIONS = {"shrinkage": 0.2, "ridge": 0.01}

Textures = Callable[[int, int], NDArray[np.uint8]]


@pytest.fixture(scope="session")
def textures() -> Textures:
    """Good parts: a bright disc on grey, with light and noise that vary; (count, seed) to uint8 [N, 64, 64, 3]."""

    def make(count: int, seed: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        rows, cols = np.mgrid[:64, :64]
        disc = 90.0 + 80.0 * ((rows - 32) ** 2 + (cols - 32) ** 2 < 20**2)
        light = rng.uniform(0.9, 1.1, (count, 1, 1, 1))
        images = disc[None, :, :, None] * light + rng.normal(0, 4, (count, 64, 64, 3))
        return np.clip(images, 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def fitted(textures: Textures) -> Detector:
    features = Features(SETTINGS).eval()
    with torch.inference_mode():
        found = features(features.pixels(torch.from_numpy(textures(40, 1))))
        return Detector(features, PositionalGaussian.fit(found, **OPTIONS), smoothing=0.7).eval()


@pytest.fixture(scope="session")
def card() -> DetectorCard:
    return DetectorCard(
        name="sightline.disc",
        product="disc",
        method="padim",
        input_height=64,
        input_width=64,
        color_order="RGB",
        map_rows=8,
        map_cols=8,
        threshold=3.0,
        review_threshold=2.0,
        map_scale=6.0,
        calibration={"method": "by hand", "false_alarm_rate": 0.005},
        metrics={"image_auroc": 0.97},
        data_digest="ab" * 32,
        run_id=None,
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
        parameters=SETTINGS.on_card() | OPTIONS | {"channels": 24, "smoothing": 0.7},
    )


@pytest.fixture(scope="session")
def bundle(fitted: Detector, card: DetectorCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    export.write(fitted, SETTINGS.input_size, folder)
    save_card(card, folder)
    return folder
