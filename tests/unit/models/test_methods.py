"""Every method: learns from good frames, sees a defect, and is the same detector after export and rebuilding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from models import calibrate, export, reference
from models.dataset import load_images
from models.detector import Detector
from models.features import Features
from models.fitting import Recipe, fit
from models.learning import Material, gather, shares
from models.methods import METHODS, choose, with_options
from models.preparation import Preparation, Variation
from models.runtime.card import GRAPH_FILE, REFERENCE_FILE, DetectorCard, save_card
from models.runtime.scorer import load_scorer
from sightline.errors import DetectorError

Textures = Callable[[int, int], NDArray[np.uint8]]

QUICK = {"steps": 300.0, "bank": 200.0, "trees": 20.0, "width": 8.0, "hidden": 16.0, "code": 8.0}


@pytest.fixture(scope="module")
def pictures(textures: Textures, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("good")
    paths = [folder / f"{number:03d}.png" for number in range(24)]
    for path, image in zip(paths, textures(24, 1), strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    return paths


def learn(name: str, pictures: list[Path]) -> tuple[Detector, Material, dict[str, float]]:
    method = choose(name)
    settings = replace(method.features, input_size=64, dimensions=min(method.features.dimensions, 16))
    options = {**with_options(method, {key: value for key, value in QUICK.items() if key in method.options})}
    features = Features(settings).eval()
    with torch.no_grad():
        features.fit([torch.from_numpy(load_images(pictures, 64, 64))])
        preparation = Preparation(64, variation=Variation.MILD, copies=1)
        material = gather(
            features, pictures, preparation, defects=2, with_pixels=method.pixels, seed=0, progress=lambda *_: None
        )
        head = method.fit(material.of(slice(None)), options)
    return Detector(features, head, method.smoothing).eval(), material, options


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_sees_a_defect_and_survives_export_and_rebuilding(
    name: str, pictures: list[Path], textures: Textures, card: DetectorCard, tmp_path: Path
) -> None:
    detector, _, options = learn(name, pictures)
    good = textures(12, 7)
    bad = textures(12, 8)
    bad[:, 24:40, 24:40] = np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8)
    with torch.no_grad():
        maps, fine = detector(torch.from_numpy(good))
        spoilt, found = detector(torch.from_numpy(bad))
    assert float(torch.minimum(maps.amin(), spoilt.amin())) >= 0
    assert float(found.median()) > float(fine.median())
    if not METHODS[name].whole:
        peak = (spoilt.mean(0) - maps.mean(0)).flatten().argmax()
        assert 2 <= int(peak) // 8 <= 5
        assert 2 <= int(peak) % 8 <= 5

    features = detector.features
    parameters = features.settings.on_card() | options
    parameters |= {"channels": features.dimensions, "smoothing": METHODS[name].smoothing}
    own = replace(card, method=name, parameters=parameters)
    export.write(detector, 64, tmp_path)
    save_card(own, tmp_path)
    with torch.no_grad():
        again = reference.load(tmp_path / REFERENCE_FILE, own)(torch.from_numpy(bad))
    torch.testing.assert_close(again[0], spoilt)
    for backend in ("openvino", "onnxruntime"):
        scores = load_scorer(tmp_path, backend).score(bad)
        np.testing.assert_allclose(scores.scores, found.numpy(), rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(scores.maps, spoilt.numpy(), rtol=2e-3, atol=4e-3)


def test_a_fit_is_the_same_for_the_same_frames(pictures: list[Path]) -> None:
    first, _, _ = learn("discriminative", pictures)
    second, _, _ = learn("discriminative", pictures)
    for name, tensor in first.head.state_dict().items():
        assert torch.equal(tensor, second.head.state_dict()[name]), name


def test_folds_learn_from_their_own_frames_only(pictures: list[Path]) -> None:
    _, material, _ = learn("padim", pictures)
    part = material.of(np.array([0, 5]))
    assert len(part.features) == len(part.spoilt) == 4
    torch.testing.assert_close(part.features[2], material.features[5, 0])
    torch.testing.assert_close(part.masks[3], material.masks[5, 1])
    assert material.frames(np.array([5]))[0].shape[0] == 1


def test_the_share_of_a_cell_that_a_mask_covers() -> None:
    mask = np.zeros((1, 8, 8), np.bool_)
    mask[0, :4, :2] = True
    np.testing.assert_allclose(shares(mask, 2), [[[0.5, 0], [0, 0]]])


def test_fewer_folds_for_what_is_slow_to_fit() -> None:
    asked = []

    def score(learnt: NDArray[np.intp], held_out: NDArray[np.intp]) -> NDArray[np.float32]:
        asked.append((len(learnt), len(held_out)))
        return np.ones(len(held_out), np.float32)

    scores, folds = calibrate.held_out_scores(9, score, folds=3)
    assert folds == len(asked) == 3
    assert set(asked) == {(6, 3)}
    assert len(scores) == 9


def test_unknown_methods_and_options_name_the_known_ones() -> None:
    with pytest.raises(DetectorError, match="method is 'svdd', expected one of autoencoder, dfr, discriminative"):
        choose("svdd")
    with pytest.raises(DetectorError, match=r"option 'banks' is not one of this method's: bank=3000"):
        with_options(choose("patchcore"), {"banks": 5})
    with pytest.raises(DetectorError, match="option bank is -1"):
        with_options(choose("patchcore"), {"bank": -1})


def test_the_exported_graph_takes_bytes_and_any_batch(bundle: Path) -> None:
    graph = onnx.load(bundle / GRAPH_FILE).graph
    ports = {
        port.name: (
            port.type.tensor_type.elem_type,
            [size.dim_value or size.dim_param for size in port.type.tensor_type.shape.dim],
        )
        for port in (*graph.input, *graph.output)
    }
    assert ports["images"] == (onnx.TensorProto.UINT8, ["batch", 64, 64, 3])
    assert ports["anomaly_map"] == (onnx.TensorProto.FLOAT, ["batch", 8, 8])
    assert ports["score"] == (onnx.TensorProto.FLOAT, ["batch"])


def test_a_card_that_does_not_fit_its_weights_cannot_rebuild_the_reference(bundle: Path, card: DetectorCard) -> None:
    with pytest.raises(DetectorError, match="has no parameter 'backbone'"):
        reference.load(bundle / REFERENCE_FILE, replace(card, parameters={}))
    with pytest.raises(DetectorError, match="does not hold the weights that its card describes"):
        reference.load(bundle / REFERENCE_FILE, replace(card, parameters=card.parameters | {"channels": 12}))


@pytest.mark.parametrize("name", ["padim", "student"])
def test_tiles_survive_export(
    name: str, pictures: list[Path], card: DetectorCard, tmp_path: Path, textures: Textures
) -> None:
    settings = replace(choose(name).features, input_size=64, dimensions=8, tiles=2)
    given = {key: value for key, value in (QUICK | {"steps": 20.0}).items() if key in choose(name).options}
    recipe = Recipe(method=name, features=settings, options=given, variation=Variation.NONE)
    found = fit(pictures, recipe, lambda *_: None)
    own = replace(card, method=name, input_height=128, input_width=128, map_rows=16, map_cols=16)
    save_card(replace(own, parameters=dict(found.parameters)), tmp_path)
    export.write(found.detector, 128, tmp_path)
    large = np.concatenate([np.concatenate([textures(2, 1)] * 2, axis=1)] * 2, axis=2)
    torch_scores, onnx_scores = (load_scorer(tmp_path, backend).score(large) for backend in ("torch", "onnxruntime"))
    np.testing.assert_allclose(onnx_scores.maps, torch_scores.maps, rtol=2e-3, atol=4e-3)
