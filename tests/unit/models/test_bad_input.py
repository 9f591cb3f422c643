"""Everything that nobody should learn from, judge on or load is refused, with the value and the remedy, by the public
functions that `sightline train`, `evaluate` and the stream call."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from models.doubles import write_brightness_bundle
from models.judging.judge import judge
from models.runtime.card import CARD_FILE, GRAPH_FILE, REFERENCE_FILE
from models.runtime.scorer import load_scorer
from models.trainingset import load_training_set
from sightline.errors import DetectorError, SourceError

Change = Callable[[Path], object]


def picture(path: Path, seed: int, size: tuple[int, int] = (48, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8))


def mask(path: Path, size: tuple[int, int] = (48, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    marked = np.zeros(size, np.uint8)
    marked[4:12, 4:12] = 255
    cv2.imwrite(str(path), marked)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Twelve good pictures to learn from, two good and two dented ones to judge on, with masks."""
    root = tmp_path / "parts"
    for number in range(12):
        picture(root / "train" / "good" / f"{number:02}.png", number)
    for number in range(2):
        picture(root / "test" / "good" / f"{number}.png", 100 + number)
        picture(root / "test" / "dent" / f"{number}.png", 200 + number)
        mask(root / "ground_truth" / "dent" / f"{number}_mask.png")
    return root


def blacken(folder: Path) -> None:
    for path in folder.iterdir():
        cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))


def keep(folder: Path, count: int) -> None:
    for path in sorted(folder.iterdir())[count:]:
        path.unlink()


LEARNING: dict[str, tuple[Change, str]] = {
    "no folder": (shutil.rmtree, "parts is not a folder; name one"),
    "an empty folder": (lambda root: keep(root / "train" / "good", 0), "holds 0 pictures.*at least 10"),
    "one single picture": (lambda root: keep(root / "train" / "good", 1), "holds 1 pictures.*at least 10.*add more"),
    "too few pictures": (lambda root: keep(root / "train" / "good", 9), "holds 9 pictures.*at least 10.*add more"),
    "mixed sizes": (
        lambda root: picture(root / "train" / "good" / "large.png", 1000, (96, 128)),
        "16 of 64×48, 1 of 128×96.*--mixed-sizes",
    ),
    "an all-black folder": (lambda root: blacken(root / "train" / "good"), "12 pictures are black or plain.*camera"),
    "a mask of another size": (
        lambda root: mask(root / "ground_truth" / "dent" / "0_mask.png", (20, 30)),
        "0_mask.png is 30×20, its picture 64×48",
    ),
    "a mask of no picture": (
        lambda root: mask(root / "ground_truth" / "dent" / "9_mask.png"),
        "9_mask.png fits no picture in test",
    ),
    "a file that is no picture": (
        lambda root: (root / "train" / "good" / "00.png").write_text("text"),
        "00.png cannot be used.*repair or remove",
    ),
}


@pytest.mark.parametrize("case", LEARNING)
def test_what_cannot_be_learnt_from_is_refused(parts: Path, case: str) -> None:
    change, message = LEARNING[case]
    change(parts)
    with pytest.raises(SourceError, match=f"(?s){message}"):
        load_training_set(parts)


JUDGING: dict[str, tuple[Change, str]] = {
    "no folder": (shutil.rmtree, "parts is not a folder; name one"),
    "no labelled picture": (lambda root: shutil.rmtree(root / "test"), "holds no labelled pictures: put good ones in"),
    "a mask of another size": LEARNING["a mask of another size"],
    "a mask of no picture": LEARNING["a mask of no picture"],
    "black pictures": (
        lambda root: [blacken(folder) for folder in (root / "test").iterdir()],
        "all 4 labelled pictures are black or plain.*camera",
    ),
    "a file that is no picture": (
        lambda root: (root / "test" / "dent" / "0.png").write_bytes(b""),
        "test/dent/0.png cannot be used.*no bytes",
    ),
}


@pytest.mark.parametrize("case", JUDGING)
def test_what_cannot_be_judged_on_is_refused(parts: Path, tmp_path: Path, case: str) -> None:
    write_brightness_bundle(tmp_path / "bundle")
    change, message = JUDGING[case]
    change(parts)
    with pytest.raises(SourceError, match=f"(?s){message}"):
        judge(tmp_path / "bundle", parts)


def test_judging_needs_nothing_to_learn_from_and_takes_any_size(parts: Path, tmp_path: Path) -> None:
    write_brightness_bundle(tmp_path / "bundle")
    shutil.rmtree(parts / "train")
    picture(parts / "test" / "good" / "large.png", 5, (96, 128))
    assert len(judge(tmp_path / "bundle", parts).samples) == 5


def on_card(**values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / CARD_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def with_node(op_type: str, domain: str = "") -> Change:
    def change(folder: Path) -> None:
        model = onnx.load(folder / GRAPH_FILE)
        model.graph.node[0].op_type, model.graph.node[0].domain = op_type, domain
        if domain:
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
        onnx.save(model, folder / GRAPH_FILE)

    return change


def weights_outside(folder: Path) -> None:
    model = onnx.load(folder / GRAPH_FILE)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2000, np.float32), "weights"))
    model.graph.node.append(onnx.helper.make_node("Identity", ["weights"], ["unused"]))
    onnx.save(model, folder / GRAPH_FILE, save_as_external_data=True, location="weights.bin", size_threshold=10)


def content(data: bytes) -> Change:
    return lambda folder: (folder / GRAPH_FILE).write_bytes(data)


LOADING: dict[str, tuple[Change, str]] = {
    "no graph": (lambda folder: (folder / GRAPH_FILE).unlink(), "detector.onnx is missing.*fetch it again"),
    "no card": (lambda folder: (folder / CARD_FILE).unlink(), "detector.json cannot be read.*sightline train"),
    "a corrupt card": (lambda folder: (folder / CARD_FILE).write_bytes(b"{"), "detector.json is not JSON.*fetch"),
    "half a graph": (
        lambda folder: (folder / GRAPH_FILE).write_bytes((folder / GRAPH_FILE).read_bytes()[:200]),
        "only a part of one .200 bytes.; fetch",
    ),
    "an empty graph": (content(b""), "is not an ONNX graph.*export"),
    "a text": (content(b"this is not a graph"), "is not an ONNX graph"),
    "a pickle": (content(pickle.dumps({"weights": [1.0]})), "is a pickle, not an ONNX graph: it is not opened"),
    "a PyTorch archive": (content(b"PK\x03\x04 and more"), "is a zip archive, as PyTorch saves pickles"),
    "a card with another map": (on_card(map_rows=16), r"anomaly_map float32 \[N, 8, 8\].*asks for.*\[N, 16, 8\]"),
    "a card with another input": (on_card(input_height=128), r"\[N, 64, 64, 3\], the card asks for.*\[N, 128, 64, 3\]"),
    "a threshold that is none": (on_card(threshold="high"), "Expected `float`, got `str`.*threshold"),
    "an unknown operator": (with_node("Blur"), "detector.onnx is not a graph that .*Blur.*export it again"),
    "a foreign operator": (with_node("Blur", "com.acme"), "detector.onnx is not a graph that .*Blur.*export it again"),
    "weights in another file": (weights_outside, "another file .external data.*save the model with all weights inside"),
}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("case", LOADING)
def test_a_bundle_that_cannot_be_trusted_is_refused(tmp_path: Path, case: str, backend: Any) -> None:
    write_brightness_bundle(tmp_path)
    change, message = LOADING[case]
    change(tmp_path)
    with pytest.raises(DetectorError, match=f"(?s){message}"):
        load_scorer(tmp_path, backend)


def test_a_reference_that_is_a_pickle_is_not_opened(bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    (folder / REFERENCE_FILE).write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(DetectorError, match=r"reference\.safetensors does not hold the weights.*fetch it again"):
        load_scorer(folder, "torch")
