"""A classifier of discs, scratches and spots: learnt, exported, judged by every runtime, refused where it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.classifier.card import CARD_FILE, GRAPH_FILE, bundle_digest, load_card, save_card
from models.classifier.learning import Tuning, class_weights
from models.classifier.scorer import classify, load_classifier
from models.classifier.train import Course, Trained, evaluate, train
from models.dataset import load_images
from sightline.errors import DetectorError, SourceError
from sightline.settings import RegistrySettings

Textures = Callable[[int, int], NDArray[np.uint8]]
COUNTS = {"good": 20, "scratch": 10, "spot": 10}


def draw_defect(image: NDArray[np.uint8], label: str, rng: np.random.Generator) -> None:
    row, column = (int(value) for value in rng.integers(20, 44, 2))
    if label == "scratch":
        cv2.line(image, (column - 14, row - 6), (column + 14, row + 6), (10, 10, 10), 3)
    if label == "dent":
        cv2.circle(image, (column, row), 8, (60, 60, 60), 2)
    if label == "spot":
        cv2.circle(image, (column, row), 6, (250, 250, 250), -1)


def write_pictures(root: Path, textures: Textures, counts: dict[str, int], seed: int) -> Path:
    rng = np.random.default_rng(seed)
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number, image in enumerate(textures(count, seed + len(label))):
            draw_defect(image, label, rng)
            cv2.imwrite(str(root / label / f"{number:02}.png"), image[..., ::-1])
    return root


@pytest.fixture(scope="module")
def data(textures: Textures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("labelled"), textures, COUNTS, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifier")


@pytest.fixture(scope="module")
def trained(data: Path, folder: Path) -> Trained:
    course = Course(input_size=64, tuning=Tuning(epochs=1))
    return train(data, "disc", RegistrySettings(), course=course, threads=1, register=False, output=folder)


@pytest.fixture(scope="module")
def images(data: Path) -> NDArray[np.uint8]:
    return load_images([data / label / "00.png" for label in COUNTS], 64, 64)


def test_known_defects_are_told_apart_on_parts_not_seen(trained: Trained) -> None:
    card = trained.card
    assert card.classes == ("good", "scratch", "spot")
    assert card.counts["test"] == {"good": 4, "scratch": 2, "spot": 2}
    assert card.metrics["accuracy"] >= 0.75
    assert card.metrics["pr_auc"] > 0.8
    assert trained.quality.confusion.sum() == 8
    assert len(card.learnt) == 32


def test_fine_tuning_is_kept_only_where_validation_says_so(trained: Trained) -> None:
    history = trained.history
    assert len(history.learnt) == len(history.chosen_by) == 2
    assert history.kept == int(np.argmin(history.chosen_by))
    assert trained.card.parameters["kept_epoch"] == history.kept


def test_all_runtimes_give_the_same_probabilities(trained: Trained, folder: Path, images: NDArray[np.uint8]) -> None:
    reference = load_classifier(folder, "torch").probabilities(images)
    np.testing.assert_allclose(reference.sum(1), 1, atol=1e-5)
    for backend in ("openvino", "onnxruntime"):
        np.testing.assert_allclose(load_classifier(folder, backend).probabilities(images), reference, atol=1e-3)


def test_below_the_cards_confidence_the_answer_is_unknown(
    trained: Trained, folder: Path, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    save_card(replace(trained.card, min_confidence=0.0), folder)
    labels, probabilities = classify(folder, images)
    assert labels == [trained.card.classes[index] for index in probabilities.argmax(1)]
    save_card(replace(trained.card, min_confidence=1.0), folder)
    assert classify(folder, images)[0] == ["unknown"] * 3
    save_card(trained.card, folder)


def test_pictures_that_were_learnt_from_are_left_out_of_an_evaluation(
    trained: Trained, data: Path, folder: Path, textures: Textures, tmp_path: Path
) -> None:
    quality, measured, left_out = evaluate(folder, data, plots_folder=tmp_path / "plots")
    assert (measured, left_out) == (8, 32)
    assert quality.numbers == pytest.approx(trained.card.metrics)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["confusion.png", "precision_recall.png"]
    others = write_pictures(tmp_path / "others", textures, {"good": 3, "dent": 3}, 50)
    with pytest.raises(SourceError, match="no class for 'dent'"):
        evaluate(folder, others)
    assert evaluate(folder, others, without=["dent"])[1:] == (3, 0)


def test_plots_lie_beside_the_bundle(trained: Trained, folder: Path) -> None:
    for name in ("confusion", "loss", "precision_recall"):
        assert cv2.imread(str(folder / "plots" / f"{name}.png")) is not None


def test_the_same_pictures_and_seed_give_the_same_classifier(trained: Trained, data: Path) -> None:
    course = Course(input_size=64, tuning=Tuning(epochs=1))
    again = train(data, "disc", RegistrySettings(), course=course, threads=1, register=False)
    assert again.history == trained.history
    assert again.card.metrics == trained.card.metrics
    assert again.card.temperature == trained.card.temperature


def test_what_does_not_fit_the_card_is_refused(trained: Trained, folder: Path, images: NDArray[np.uint8]) -> None:
    scorer = load_classifier(folder)
    with pytest.raises(DetectorError, match=r"takes uint8 images of shape \(N, 64, 64, 3\), not float32"):
        scorer.probabilities(images.astype(np.float32))
    with pytest.raises(DetectorError, match="backend is 'abacus'"):
        load_classifier(folder, "abacus")  # type: ignore[arg-type]
    digest = bundle_digest(folder)
    save_card(replace(trained.card, classes=("good", "scratch")), folder)
    with pytest.raises(DetectorError, match="graph and card do not belong together"):
        load_classifier(folder)
    save_card(replace(trained.card, classes=("good", "good")), folder)
    with pytest.raises(DetectorError, match="expected two or more, each once"):
        load_card(folder)
    assert bundle_digest(folder) != digest
    save_card(trained.card, folder)
    assert bundle_digest(folder) == digest


def test_an_incomplete_bundle_names_the_file_and_the_remedy(tmp_path: Path, trained: Trained) -> None:
    with pytest.raises(DetectorError, match=rf"{CARD_FILE} cannot be read.*sightline classifier train"):
        load_card(tmp_path)
    (tmp_path / CARD_FILE).write_text('{"schema_version": 1}')
    with pytest.raises(DetectorError, match="is no card of a classifier"):
        load_card(tmp_path)
    save_card(trained.card, tmp_path)
    with pytest.raises(DetectorError, match=rf"{GRAPH_FILE} is missing"):
        load_classifier(tmp_path)


def test_rare_classes_count_more_within_bounds() -> None:
    weights = class_weights(torch.tensor([0] * 98 + [1] * 2), 2)
    torch.testing.assert_close(weights, torch.tensor([100 / 196, 10.0]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_size": 20}, "input size is 20"),
        ({"error_rate": 0.0}, "error rate 0.0"),
        ({"min_confidence": 1.5}, "confidence 1.5"),
    ],
)
def test_courses_that_cannot_work_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        Course(**wrong)  # type: ignore[arg-type]


def test_tunings_that_cannot_work_are_refused() -> None:
    with pytest.raises(DetectorError, match="epochs -1"):
        Tuning(epochs=-1)
    with pytest.raises(DetectorError, match="learning rate 0"):
        Tuning(learning_rate=0)
