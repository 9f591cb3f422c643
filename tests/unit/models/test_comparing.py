from __future__ import annotations

from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from models import registry
from models.comparing import Compared, compared, draw
from models.registry import RegisteredDetector, RegistryEntry
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings


def entry(version: str, product: str = "cap", **metrics: float) -> RegistryEntry:
    detector = RegisteredDetector(f"sightline.{product}", product, version, "ab" * 32)
    named = {name.replace("evaluated_", "evaluated/"): value for name, value in metrics.items()}
    return RegistryEntry(detector, (), datetime(2026, 1, 1, tzinfo=UTC), named, {"method": "padim"})


def test_the_last_evaluation_counts_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        entry("2", image_auroc=0.9, evaluated_image_auroc=0.8, evaluated_frames_per_second_batch_16=120.0),
        entry("1", image_auroc=0.7, threshold=3.0),
        entry("9", product="gear", image_auroc=0.1),
    ]
    monkeypatch.setattr(registry, "entries", lambda settings: entries)
    assert compared("cap", RegistrySettings()) == [
        Compared("2", (), "padim", {"image_auroc": 0.8, "frames_per_second_batch_16": 120.0}),
        Compared("1", (), "padim", {"image_auroc": 0.7}),
    ]
    with pytest.raises(RegistryError, match="no detector of 'cup' is registered"):
        compared("cup", RegistrySettings())


def test_the_chart_is_a_picture_with_something_on_it() -> None:
    rows = [Compared(str(n), (), "padim", {"image_auroc": 0.9 + n / 100}) for n in range(3)]
    picture = cv2.imdecode(np.frombuffer(draw("cap", rows), np.uint8), cv2.IMREAD_COLOR)
    blue = np.abs(picture.astype(int) - (0xB2, 0x72, 0x00)).max(axis=2) < 12
    assert cv2.connectedComponents(blue.astype(np.uint8))[0] - 1 >= 3
