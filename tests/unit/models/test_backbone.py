"""Backbones by name: through timm and transformers, with weights from safetensors files only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from numpy.typing import NDArray

from models import backbone, export, reference
from models.detector import Detector
from models.features import Features, FeatureSettings
from models.heads.positional import PositionalGaussian
from models.runtime.card import REFERENCE_FILE, DetectorCard, save_card
from models.runtime.scorer import load_scorer
from sightline.errors import DetectorError, PrerequisiteError

Textures = Callable[[int, int], NDArray[np.uint8]]

VIT = "vit_tiny_patch16_224"


@pytest.fixture
def dinov2(tmp_path: Path) -> Path:
    """A tiny DINOv2 with random weights, as `save_pretrained` writes it; patches of 14 pixels."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install '.[hub]'")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    folder = tmp_path / "dinov2"
    transformers.Dinov2Model(config).save_pretrained(folder, safe_serialization=True)
    return folder


def weights_file(name: str, path: Path) -> Path:
    """A file with random weights of timm's `name`, another draw than the model has at first."""
    torch.manual_seed(7)
    safetensors.torch.save_file(timm.create_model(name, pretrained=False).state_dict(), str(path))
    return path


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "convnext_atto"])
def test_convolutional_networks_give_a_map_for_each_stride(name: str) -> None:
    base = backbone.load(name, weights=False, levels=(4, 16))
    with torch.inference_mode():
        levels = base.module(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [
        (1, base.channels[0], 16, 24),
        (1, base.channels[1], 4, 6),
    ]
    assert base.strides == (4, 16)


def test_a_transformers_levels_are_blocks_spread_over_its_depth() -> None:
    base = backbone.load(VIT, weights=False, levels=(4, 8, 16))
    with torch.inference_mode():
        levels = base.module(torch.zeros(2, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [(2, 192, 4, 6)] * 3
    assert base.strides == (16, 16, 16)
    assert backbone.spread(12, 3) == [3, 7, 11]
    assert backbone.spread(2, 2) == [0, 1]
    with pytest.raises(DetectorError, match="3 levels are asked of a network of 2 blocks"):
        backbone.spread(2, 3)


def test_sizes_that_the_patches_do_not_divide_are_refused_with_sizes_that_fit() -> None:
    base = backbone.load(VIT, weights=False, levels=(16,))
    with pytest.raises(DetectorError, match=r"250×250 do not fit backbone 'vit_tiny.*patches of 16.*240, 256, 272"):
        base.module(torch.zeros(1, 3, 250, 250))
    with pytest.raises(DetectorError, match="100×100 do not fit"):
        base.require_size(100)
    base.require_size(256)


def test_weights_come_from_a_safetensors_file(tmp_path: Path) -> None:
    file = weights_file("resnet18", tmp_path / "resnet.safetensors")
    stem = safetensors.torch.load_file(str(file))["conv1.weight"]
    for base in (backbone.load(f"resnet18@{file}"), backbone.load("resnet18", weights=file)):
        torch.testing.assert_close(base.module.state_dict()["conv1.weight"], stem)
        assert not any(parameter.requires_grad for parameter in base.module.parameters())
    # the shape alone needs no file: detectors are rebuilt from their own tensors, where the file may be gone
    file.unlink()
    assert backbone.load(f"resnet18@{file}", weights=False).channels == base.channels


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl"])
def test_pickles_are_refused(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    torch.save({}, file)
    with pytest.raises(DetectorError, match=r"weights .* are not read: only \.safetensors files are"):
        backbone.load(f"resnet18@{file}")
    with pytest.raises(DetectorError, match="are not read"):
        backbone.load("resnet18", weights=file)


def test_weights_that_are_damaged_missing_or_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="cannot be read"):
        backbone.load(f"resnet18@{tmp_path / 'none.safetensors'}")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not tensors at all")
    with pytest.raises(DetectorError, match="cannot be read"):
        backbone.load(f"resnet18@{damaged}")
    other = weights_file("resnet18", tmp_path / "other.safetensors")
    with pytest.raises(DetectorError, match="not of that model"):
        backbone.load(f"convnext_atto@{other}")


def test_weights_that_cannot_be_fetched_are_named_with_where_they_were_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(
        DetectorError,
        match=r"weights of backbone 'resnet18' cannot be had: looked for model\.safetensors of timm/resnet18\S* in .*"
        r"no route to host.*resnet18@FILE\.safetensors",
    ):
        backbone.load("resnet18")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(PrerequisiteError, match=r"'facebook/dinov2-small'.*pip install 'sightline\[hub\]'"):
        backbone.load("facebook/dinov2-small")


def prove(name: str, side: int, textures: Textures, card: DetectorCard, folder: Path) -> None:
    """PaDiM on the features of `name`: exported, opened by all runtimes and rebuilt, it is the same detector."""
    settings = FeatureSettings(backbone=name, input_size=side, dimensions=8, levels=(8, 16))
    features = Features(settings).eval()
    images = torch.nn.functional.interpolate(
        torch.from_numpy(textures(10, 1)).permute(0, 3, 1, 2).float(), size=(side, side)
    )
    images = images.permute(0, 2, 3, 1).to(torch.uint8).contiguous()
    options = {"shrinkage": 0.2, "ridge": 0.01}
    with torch.inference_mode():
        found = features(features.pixels(images))
        detector = Detector(features, PositionalGaussian.fit(found, **options), smoothing=0.7).eval()
        maps, scores = detector(images)
    own = replace(
        card,
        input_height=side,
        input_width=side,
        map_rows=settings.grid,
        map_cols=settings.grid,
        parameters=settings.on_card() | options | {"channels": 8, "smoothing": 0.7},
    )
    export.write(detector, side, folder)
    save_card(own, folder)
    with torch.inference_mode():
        torch.testing.assert_close(reference.load(folder / REFERENCE_FILE, own)(images)[0], maps)
    for backend in ("openvino", "onnxruntime"):
        scored = load_scorer(folder, backend).score(images.numpy())
        np.testing.assert_allclose(scored.scores, scores.numpy(), rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(scored.maps, maps.numpy(), rtol=2e-3, atol=4e-3)


def test_a_vision_transformer_of_timm_carries_a_detector(
    textures: Textures, card: DetectorCard, tmp_path: Path
) -> None:
    file = weights_file(VIT, tmp_path / "vit.safetensors")
    prove(f"{VIT}@{file}", 96, textures, card, tmp_path)


def test_dinov2_of_transformers_carries_a_detector(
    dinov2: Path, textures: Textures, card: DetectorCard, tmp_path: Path
) -> None:
    prove(str(dinov2), 112, textures, card, tmp_path)


def test_patch_tokens_lie_where_their_patches_do(dinov2: Path) -> None:
    base = backbone.load(str(dinov2), levels=(16,))
    assert (base.strides, base.multiple) == ((14,), 14)
    picture = torch.zeros(1, 3, 56, 84)
    with torch.inference_mode():
        plain = base.module(picture)[0]
        picture[..., 14:28, 56:70] = 3.0
        changed = (base.module(picture)[0] - plain).square().sum(1)[0]
    assert tuple(changed.shape) == (4, 6)
    assert divmod(int(changed.argmax()), 6) == (1, 4)


def test_a_folder_of_pickles_or_without_a_model_is_refused(dinov2: Path) -> None:
    (dinov2 / "model.safetensors").rename(dinov2 / "pytorch_model.bin")
    with pytest.raises(DetectorError, match=r"no weights as safetensors, only config\.json, pytorch_model\.bin"):
        backbone.load(str(dinov2))
    (dinov2 / "config.json").unlink()
    with pytest.raises(DetectorError, match=r"holds no config\.json"):
        backbone.load(str(dinov2))


def test_a_model_that_is_no_backbone_is_refused(dinov2: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16)
    config.save_pretrained(dinov2)
    with pytest.raises(DetectorError, match="is a Bert, which transformers does not offer as a backbone"):
        backbone.load(str(dinov2))
