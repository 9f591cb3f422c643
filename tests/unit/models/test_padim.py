from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from models import backbone, padim
from models.padim import Embedding, Padim, PadimSettings
from models.runtime.card import GRAPH_FILE, REFERENCE_FILE, DetectorCard
from sightline.errors import DetectorError

Textures = Callable[[int, int], NDArray[np.uint8]]


def test_the_backbone_knows_its_weights_and_gives_three_strides() -> None:
    base = backbone.load()
    with torch.inference_mode():
        levels = base.module(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[2:]) for level in levels] == [(16, 24), (8, 12), (4, 6)]
    assert [level.shape[1] for level in levels] == list(base.channels)
    assert not any(parameter.requires_grad for parameter in base.module.parameters())
    # trained weights, not random ones: batch norm has seen data
    assert float(dict(base.module.named_buffers())["bn1.running_var"].std()) > 0.1


def test_an_unknown_backbone_is_named_with_the_one_that_works_offline() -> None:
    with pytest.raises(
        DetectorError, match=r"backbone 'no_such_net' cannot be loaded.*'lite0', which needs no download"
    ):
        backbone.load("no_such_net")


def test_distances_on_the_fitted_frames_are_about_one(fitted: Padim, textures: Textures) -> None:
    with torch.inference_mode():
        maps, scores = fitted(torch.from_numpy(textures(40, 1)))
    assert 0.5 < float(maps.mean()) < 1.2
    assert torch.equal(scores, maps.flatten(1).amax(1))


def test_the_same_seed_gives_the_same_detector(textures: Textures) -> None:
    settings = PadimSettings(input_size=64, dimensions=8, seed=3)
    images = torch.from_numpy(textures(12, 1))
    found = []
    for chosen in (settings, settings, replace(settings, seed=4)):
        module = Padim(Embedding(chosen), chosen).eval()
        with torch.inference_mode():
            padim.fit(module, module.embedding(images), chosen)
            found.append(module(images)[1])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_fewer_frames_than_dimensions_still_give_finite_scores(textures: Textures) -> None:
    settings = PadimSettings(input_size=64, dimensions=60)
    module = Padim(Embedding(settings), settings).eval()
    with torch.inference_mode():
        padim.fit(module, module.embedding(torch.from_numpy(textures(10, 1))), settings)
        _, scores = module(torch.from_numpy(textures(4, 2)))
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_the_grid_follows_the_stride(textures: Textures, stride: int) -> None:
    settings = PadimSettings(input_size=64, dimensions=8, stride=stride)
    with torch.inference_mode():
        embedded = Embedding(settings)(torch.from_numpy(textures(1, 1)))
    assert embedded.shape == (1, 8, 64 // stride, 64 // stride)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_size": 250}, "input size is 250, expected a multiple of 16"),
        ({"input_size": 4096}, "input size is 4096"),
        ({"stride": 5}, "stride is 5"),
        ({"dimensions": 0}, "dimensions is 0"),
        ({"ridge": 0.0}, "ridge 0.0 above 0"),
        ({"shrinkage": 1.5}, "shrinkage 1.5 must be 0 to 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        PadimSettings(**wrong)


def test_more_dimensions_than_channels_are_refused() -> None:
    with pytest.raises(DetectorError, match="dimensions is 500, but backbone lite0 has 176 channels"):
        Embedding(PadimSettings(dimensions=500))


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


def test_a_card_without_its_parameters_cannot_rebuild_the_reference(bundle: Path, card: DetectorCard) -> None:
    with pytest.raises(DetectorError, match="has no parameter 'backbone'"):
        padim.load(bundle / REFERENCE_FILE, replace(card, parameters={}))
    with pytest.raises(DetectorError, match="does not hold the weights that its card describes"):
        padim.load(bundle / REFERENCE_FILE, replace(card, parameters=card.parameters | {"dimensions": 12}))
