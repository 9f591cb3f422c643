"""A small detector, fitted on plain textures and exported once for all tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import export
from models.padim import METHOD, Embedding, Padim, PadimSettings, fit
from models.runtime.card import DetectorCard, save_card

SETTINGS = PadimSettings(input_size=64, dimensions=24)

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
def fitted(textures: Textures) -> Padim:
    module = Padim(Embedding(SETTINGS), SETTINGS).eval()
    with torch.inference_mode():
        fit(module, module.embedding(torch.from_numpy(textures(40, 1))), SETTINGS)
    return module


@pytest.fixture(scope="session")
def card() -> DetectorCard:
    return DetectorCard(
        name="sightline.disc",
        product="disc",
        method=METHOD,
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
        parameters=asdict(SETTINGS),
    )


@pytest.fixture(scope="session")
def bundle(fitted: Padim, card: DetectorCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    export.write(fitted, SETTINGS.input_size, folder)
    save_card(card, folder)
    return folder
