from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.runtime.card import CARD_FILE, GRAPH_FILE, INT8, REFERENCE_FILE, DetectorCard, save_card
from models.runtime.scorer import CPU_BACKENDS, Backend, BundleScorer, load_scorer
from sightline.errors import DetectorError, PrerequisiteError

Textures = Callable[[int, int], NDArray[np.uint8]]
BACKENDS = CPU_BACKENDS
PARITY = 1e-4
"""Largest relative difference of a score or a map between runtimes."""


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_runtimes_agree_with_pytorch_on_parts_and_on_noise(bundle: Path, textures: Textures, backend: Backend) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    images = np.concatenate([textures(5, 9), noise])
    expected = load_scorer(bundle, "torch").score(images)
    found = load_scorer(bundle, backend).score(images)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=PARITY, atol=PARITY)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=PARITY)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frame_scores_the_same_alone_and_in_any_batch(bundle: Path, textures: Textures, backend: Backend) -> None:
    images = textures(37, 3)
    scorer = load_scorer(bundle, backend)
    together = scorer.score(images)
    assert together.maps.shape == (37, 8, 8)
    assert together.scores.dtype == together.maps.dtype == np.float32
    alone = np.concatenate([scorer.score(images[index : index + 1]).scores for index in (0, 17, 36)])
    np.testing.assert_allclose(together.scores[[0, 17, 36]], alone, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_obvious_defect_scores_far_above_good_parts(bundle: Path, textures: Textures, backend: Backend) -> None:
    images = textures(8, 5)
    images[0, 20:30, 30:44] = 10
    scores = load_scorer(bundle, backend).score(images)
    assert scores.scores[0] > 2 * scores.scores[1:].max()
    peak = np.unravel_index(scores.maps[0].argmax(), scores.maps[0].shape)
    assert 2 <= peak[0] <= 4
    assert 3 <= peak[1] <= 6


def test_results_stay_valid_after_the_next_call(bundle: Path, textures: Textures) -> None:
    scorer = load_scorer(bundle)
    first = scorer.score(textures(2, 1))
    kept = first.maps.copy()
    scorer.score(textures(2, 2))
    assert np.array_equal(first.maps, kept)


def test_no_image_gives_no_score(bundle: Path) -> None:
    scores = load_scorer(bundle).score(np.zeros((0, 64, 64, 3), np.uint8))
    assert scores.maps.shape == (0, 8, 8)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 3, 64, 64), np.uint8),
        np.zeros((1, 64, 32, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
    ],
)
def test_a_wrong_shape_or_dtype_is_named(bundle: Path, images: NDArray[np.uint8]) -> None:
    with pytest.raises(DetectorError, match=r"takes uint8 images of shape \(N, 64, 64, 3\), not "):
        load_scorer(bundle).score(images)


@pytest.mark.parametrize(
    ("missing", "backend"), [(GRAPH_FILE, "openvino"), (GRAPH_FILE, "onnxruntime"), (REFERENCE_FILE, "torch")]
)
def test_a_missing_file_is_named(copy: Path, missing: str, backend: Backend) -> None:
    (copy / missing).unlink()
    with pytest.raises(DetectorError, match=f"{missing} is missing"):
        load_scorer(copy, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_damaged_weights_are_refused(copy: Path, backend: Backend) -> None:
    path = copy / (REFERENCE_FILE if backend == "torch" else GRAPH_FILE)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DetectorError, match=path.name):
        load_scorer(copy, backend)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_card_of_another_graph_is_refused(copy: Path, card: DetectorCard, backend: Backend) -> None:
    save_card(replace(card, input_width=128), copy)
    with pytest.raises(DetectorError, match=r"inputs are images uint8 \[N, 64, 64, 3\], the card asks for"):
        load_scorer(copy, backend)


def test_a_newer_card_is_refused(copy: Path) -> None:
    path = copy / CARD_FILE
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 7'))
    with pytest.raises(DetectorError, match="schema_version 7"):
        load_scorer(copy)


def test_scores_that_are_not_finite_are_an_error(card: DetectorCard) -> None:
    def broken(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        maps = np.full((len(images), 8, 8), np.nan, np.float32)
        return maps, maps[:, 0, 0]

    with pytest.raises(DetectorError, match="not finite"):
        BundleScorer(card, broken).score(np.zeros((1, 64, 64, 3), np.uint8))


def test_a_failing_runtime_is_a_detector_error(card: DetectorCard) -> None:
    def failing(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        raise RuntimeError("out of memory")

    with pytest.raises(DetectorError, match=r"sightline\.disc failed on 1 images.*out of memory"):
        BundleScorer(card, failing).score(np.zeros((1, 64, 64, 3), np.uint8))


def test_the_online_path_imports_neither_torch_nor_mlflow(bundle: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from models.runtime import decode, interpret, scorer; "
        "before = [name for name in ('torch', 'mlflow', 'openvino', 'onnxruntime') if name in sys.modules]; "
        "scorer.load_scorer(Path(sys.argv[1]), 'openvino'); "
        "assert not before, before; "
        "assert not {'torch', 'mlflow', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(bundle)], check=True, timeout=120)


def test_without_pytorch_the_remedy_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "models.runtime.torch_graph", None)
    monkeypatch.delattr("models.runtime.torch_graph", raising=False)
    with pytest.raises(PrerequisiteError, match=r"install `sightline\[train\]`"):
        load_scorer(bundle, "torch")


@pytest.mark.parametrize(("backend", "remedy"), [("torch", "openvino or onnxruntime"), ("tensorrt", "--symmetric")])
def test_integers_that_a_runtime_does_not_take_are_refused(
    copy: Path, card: DetectorCard, backend: Backend, remedy: str
) -> None:
    save_card(replace(card, parameters={**card.parameters, "precision": INT8}), copy)
    with pytest.raises(DetectorError, match=f"{card.name} is quantised .*{remedy}"):
        load_scorer(copy, backend)


def test_several_callers_at_once_get_what_each_gets_alone(bundle: Path, textures: Textures) -> None:
    scorer, images = load_scorer(bundle, threads=2, callers=2), textures(12, 4)
    expected = load_scorer(bundle).score(images).scores
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: scorer.score(image[None]).scores[0], images))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(DetectorError, match="backend onnxruntime scores for one caller at a time, not 2"):
        load_scorer(bundle, "onnxruntime", callers=2)
