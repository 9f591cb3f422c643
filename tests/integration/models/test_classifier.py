"""A classifier in a real MLflow store: registered apart from the detectors, fetched again, and refused when changed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from models import registry
from models.classifier import tracking
from models.classifier.card import load_card
from models.classifier.learning import Tuning
from models.classifier.train import Course, train
from models.commands import app
from sightline.settings import RegistrySettings


def test_a_classifier_is_registered_beside_the_detectors_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for label, bright in (("good", 60), ("stain", 190)):
        (data / label).mkdir(parents=True)
        for number in range(8):
            image = np.clip(rng.normal(bright, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(data / label / f"{number}.jpg"), image)
    settings = RegistrySettings(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    course = Course(input_size=64, tuning=Tuning(epochs=0))
    trained = train(data, "plate", settings, course=course, threads=1)
    assert trained.registered
    assert trained.registered.name == "sightline-classifier.plate"
    # no stream may take it for the product's detector
    assert registry.champions(settings) == {}
    assert list(registry.champions(tracking.settings_of(settings))) == ["plate"]

    bundle = tracking.fetch("plate", tmp_path / "bundle", settings)
    assert load_card(bundle) == trained.card
    assert trained.card.run_id

    monkeypatch.setenv("SIGHTLINE_REGISTRY_TRACKING_URI", settings.tracking_uri)
    pictures = [str(data / label / "0.jpg") for label in ("good", "stain")]
    answer = CliRunner().invoke(app, ["classifier", "classify", "plate", *pictures])
    assert answer.exit_code == 0, answer.output
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [max(row["probabilities"], key=row["probabilities"].get) for row in rows] == ["good", "stain"]
