from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import backbone
from models.compiled import CompiledBackbone, compiled
from models.features import Features, FeatureSettings, principal
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


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_the_grid_follows_the_stride(textures: Textures, stride: int) -> None:
    features = Features(FeatureSettings(input_size=64, dimensions=8, stride=stride))
    with torch.inference_mode():
        found = features(features.pixels(torch.from_numpy(textures(1, 1))))
    assert found.shape == (1, 8, 64 // stride, 64 // stride)


@pytest.mark.parametrize("neighbourhood", [1, 3])
def test_mixing_level_by_level_gives_what_mixing_all_channels_would(textures: Textures, neighbourhood: int) -> None:
    features = Features(FeatureSettings(input_size=64, dimensions=20, neighbourhood=neighbourhood))
    with torch.inference_mode():
        pixels = features.pixels(torch.from_numpy(textures(2, 1)))
        whole = torch.einsum("dc,nchw->ndhw", features.weight, features.raw(pixels))
        torch.testing.assert_close(features(pixels), whole, rtol=1e-4, atol=1e-4)


def test_each_tile_is_seen_by_itself_and_comes_back_to_its_place(textures: Textures) -> None:
    tiled = Features(FeatureSettings(input_size=64, dimensions=20, tiles=2))
    single = Features(FeatureSettings(input_size=64, dimensions=20))
    corners = torch.from_numpy(textures(4, 3))
    large = torch.cat([torch.cat([corners[0], corners[1]], dim=1), torch.cat([corners[2], corners[3]], dim=1)])
    assert tiled.settings.side == 128
    with torch.inference_mode():
        whole = tiled(tiled.pixels(large[None]))
        parts = single(single.pixels(corners))
    assert whole.shape == (1, 20, 16, 16)
    torch.testing.assert_close(whole[0, :, :8, :8], parts[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole[0, :, :8, 8:], parts[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole[0, :, 8:, 8:], parts[3], rtol=1e-4, atol=1e-4)
    with pytest.raises(DetectorError, match="tiles is 9, expected 1 to 4 a side"):
        FeatureSettings(tiles=9)


def test_fewer_levels_need_less_of_the_network() -> None:
    deep, shallow = Features(FeatureSettings()), Features(FeatureSettings(levels=(4, 8), dimensions=32))
    assert sum(tensor.numel() for tensor in shallow.parameters()) < sum(tensor.numel() for tensor in deep.parameters())


def test_a_pca_keeps_the_asked_share_of_the_variance(textures: Textures) -> None:
    images = torch.from_numpy(textures(8, 1))
    kept = []
    for variance in (0.5, 0.95):
        features = Features(FeatureSettings(input_size=64, reduction="pca", variance=variance))
        with torch.inference_mode():
            features.fit([images[:4], images[4:]])
            assert features(features.pixels(images)).shape[1] == features.dimensions
        kept.append(features.dimensions)
    assert 1 <= kept[0] < kept[1] <= 100


def test_principal_directions_are_those_that_vary() -> None:
    generator = torch.Generator().manual_seed(0)
    along = torch.randn(2000, 1, generator=generator)
    # two channels that say the same, one that is constant, one of noise alone
    noise = torch.randn(2000, 1, generator=generator)
    cells = torch.cat([3 * along, -3 * along + 5, torch.full((2000, 1), 7.0), noise], dim=1)
    weight, bias = principal(cells, most=4, variance=0.99)
    assert weight.shape == (2, 4)
    assert torch.all(weight[:, 2] == 0)
    reduced = cells @ weight.T + bias
    torch.testing.assert_close(reduced.mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    # of two units of variance the twin channels share one direction
    torch.testing.assert_close(reduced.var(0), torch.tensor([2.0, 1.0]), atol=0.05, rtol=0)


def test_pictures_without_any_variation_are_refused() -> None:
    with pytest.raises(DetectorError, match="show no variation at all"):
        principal(torch.ones(100, 5), most=4, variance=0.9)


def test_settings_survive_the_card() -> None:
    settings = FeatureSettings(levels=(4, 16), reduction="pca", neighbourhood=3)
    assert FeatureSettings.from_card(settings.on_card()) == settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_size": 250}, "input size is 250, expected a multiple of 16"),
        ({"input_size": 4096}, "input size is 4096"),
        ({"stride": 5}, "stride is 5"),
        ({"dimensions": 0}, "dimensions is 0"),
        ({"levels": ()}, r"levels are \(\)"),
        ({"levels": (4, 7)}, r"levels are \(4, 7\)"),
        ({"reduction": "umap"}, "reduction is 'umap'"),
        ({"variance": 0.0}, "variance is 0.0"),
        ({"neighbourhood": 2}, "neighbourhood is 2, expected an odd number"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        FeatureSettings(**wrong)


def test_more_dimensions_than_channels_are_refused() -> None:
    with pytest.raises(DetectorError, match="dimensions is 500, but backbone lite0 has 176 channels"):
        Features(FeatureSettings(dimensions=500))


@pytest.mark.parametrize("reduction", ["projection", "pca"])
def test_a_compiled_backbone_gives_the_same_features_and_shares_the_reduction(
    textures: Textures, reduction: Literal["projection", "pca"]
) -> None:
    features = Features(FeatureSettings(input_size=64, dimensions=12, reduction=reduction)).eval()
    with torch.no_grad():
        quick = compiled(features)
        quick.fit([torch.from_numpy(textures(8, 1))])
        pixels = features.pixels(torch.from_numpy(textures(3, 2)))
        torch.testing.assert_close(quick(pixels), features(pixels), rtol=1e-3, atol=1e-3)
    assert not isinstance(features.backbone, CompiledBackbone)
