"""TensorRT on a real GPU; run by `pytest tests/gpu`, outside the default run. Skips, and says why, without one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.quantise import quantise
from models.runtime import cuda_memory, tensorrt_graph
from models.runtime.scorer import Precision, load_scorer
from models.train import train
from producers.simulator import PRODUCTS, LineSimulator
from sightline.errors import DetectorError, PrerequisiteError
from sightline.settings import RegistrySettings, run_folder


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    try:
        tensorrt_graph.load_tensorrt()
        cuda_memory.first_gpu(cuda_memory.load_runtime())
    except PrerequisiteError as error:
        pytest.skip(f"NO GPU TEST WAS RUN: {error}")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    product = next(iter(PRODUCTS))
    line = LineSimulator(product, 1, 320, 240)
    (root / "train" / "good").mkdir(parents=True)
    for index in range(40):
        picture = cv2.cvtColor(line.render_as(index * 7, "good").image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(root / "train" / "good" / f"{index:03}.png"), picture)
    return root


@pytest.fixture(scope="module")
def made(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector") / "bundle"
    train(parts, "part", RegistrySettings.load(), register=False, output=folder)
    return folder


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (37, 16, 16, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (256, 256), interpolation=cv2.INTER_CUBIC) for one in small])


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("fp16", 0.02)])
def test_scores_agree_with_onnx_runtime(
    made: Path, images: NDArray[np.uint8], precision: Precision, tolerance: float
) -> None:
    expected = load_scorer(made, "onnxruntime").score(images)
    found = load_scorer(made, "tensorrt", precision=precision).score(images)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=tolerance)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=tolerance, atol=tolerance * expected.maps.max())


def test_a_frame_scores_the_same_alone_and_in_any_batch(made: Path, images: NDArray[np.uint8]) -> None:
    scorer = load_scorer(made, "tensorrt")
    together = scorer.score(images).scores
    for size in (1, 3, 16):
        np.testing.assert_allclose(scorer.score(images[:size]).scores, together[:size], rtol=1e-3)


def test_an_engine_is_built_once_and_a_damaged_one_again(made: Path, images: NDArray[np.uint8]) -> None:
    expected = load_scorer(made, "tensorrt").score(images[:2]).scores
    engines = {path: path.read_bytes() for path in (run_folder() / "engines").glob("*.engine")}
    load_scorer(made, "tensorrt")
    assert {path: path.read_bytes() for path in (run_folder() / "engines").glob("*.engine")} == engines
    for path, data in engines.items():
        path.write_bytes(data[: len(data) // 2])
    np.testing.assert_allclose(load_scorer(made, "tensorrt").score(images[:2]).scores, expected, rtol=1e-3)


def test_a_quantised_detector_runs_as_its_graph_says(
    made: Path, parts: Path, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    quantise(made, parts, tmp_path / "int8", RegistrySettings.load(), symmetric=True, max_loss=1.0)
    expected = load_scorer(tmp_path / "int8", "onnxruntime").score(images).scores
    found = load_scorer(tmp_path / "int8", "tensorrt").score(images).scores
    np.testing.assert_allclose(found, expected, rtol=0.05)
    with pytest.raises(DetectorError, match="quantised to INT8 and runs as it is"):
        load_scorer(tmp_path / "int8", "tensorrt", precision="fp16")
