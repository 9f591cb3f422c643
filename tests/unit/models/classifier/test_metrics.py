"""Numbers of a classifier, against hand calculation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from models.classifier.metrics import calibration_error, fit_temperature, least_confidence, measure

PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
TARGETS = np.array([0, 0, 1, 1])


def test_numbers_of_four_pictures() -> None:
    found = measure(PROBABILITIES, TARGETS, ("good", "dent"), 0.65)
    assert found.numbers["accuracy"] == 0.75
    assert found.numbers["balanced_accuracy"] == 0.75
    assert found.numbers["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.3]).mean())
    # the second picture is not answered, of the other three two are right
    assert found.numbers["answered"] == 0.75
    assert found.numbers["answered_accuracy"] == pytest.approx(2 / 3)
    # dents by falling probability: dent, good, dent, good: precision 1 at recall ½, 2/3 at recall 1
    assert found.numbers["pr_auc/dent"] == pytest.approx((1 + 2 / 3) / 2)
    # good ones: good, dent, good, dent
    assert found.numbers["pr_auc/good"] == pytest.approx((1 + 2 / 3) / 2)
    assert found.numbers["pr_auc"] == pytest.approx((1 + 2 / 3) / 2)
    assert found.confusion.tolist() == [[1, 0, 1], [1, 1, 0]]


def test_a_class_without_pictures_is_left_out_of_means() -> None:
    three = np.column_stack([PROBABILITIES, np.zeros(4)])
    found = measure(three, TARGETS, ("good", "dent", "stain"), 0.5)
    assert found.numbers["balanced_accuracy"] == 0.75
    assert "pr_auc/stain" not in found.numbers


def test_confidence_and_accuracy_are_compared_bin_by_bin() -> None:
    # of ten answers at 80 % eight are right; of ten at 60 % all are
    confidence = np.repeat([0.8, 0.6], 10)
    probabilities = np.column_stack([confidence, 1 - confidence])
    targets = np.array([0] * 8 + [1] * 2 + [0] * 10)
    assert calibration_error(probabilities, targets) == pytest.approx(0.5 * 0 + 0.5 * 0.4)


@pytest.mark.parametrize("true", [0.5, 2.0, 4.0])
def test_the_temperature_is_found_again(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 3))
    drawn = np.array([rng.choice(3, p=row) for row in softmax(logits / true, axis=1)])
    assert fit_temperature(logits, drawn) == pytest.approx(true, rel=0.1)


def test_few_pictures_that_are_all_right_do_not_make_certain() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0]] * 3)
    targets = np.array([0, 1] * 3)
    confidence = softmax(logits / fit_temperature(logits, targets), axis=1).max()
    assert confidence == pytest.approx(1 - 1 / 8, abs=0.01)


def test_the_confidence_from_which_few_answers_are_wrong() -> None:
    confidence = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.55])
    probabilities = np.column_stack([confidence, 1 - confidence])
    targets = np.array([0, 0, 0, 1, 0, 1])
    # none of the three surest is wrong, then one of four, one of five, two of six
    assert least_confidence(probabilities, targets, 0.05) == pytest.approx(0.75)
    assert least_confidence(probabilities, targets, 0.2) == pytest.approx(0.575)
    assert least_confidence(probabilities, targets, 0.4) == 0.5
    assert least_confidence(probabilities[:1], np.array([1]), 0.05) == 0.99
