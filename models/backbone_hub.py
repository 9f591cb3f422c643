"""Backbones through Hugging Face transformers: DINOv2 (Oquab et al. 2023, arXiv:2304.07193) and what else it offers.

`transformers` is an extra of its own. A model is named as on the hub, or by a folder that holds `config.json` and
`model.safetensors`; only safetensors are read, and no code that comes with a model is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from models.backbone import Backbone, require_size, spread
from models.backbone_weights import reached, read_weights
from sightline.errors import DetectorError, PrerequisiteError

_PROBE = 224
"""A side that patches of 8, 14, 16 and 32 pixels divide."""


class Maps(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """float32 [N, 3, H, W] to the feature maps of a backbone of transformers, patch tokens laid out as a grid."""

    def __init__(self, name: str, net: nn.Module, multiple: int) -> None:
        super().__init__()
        self.name = name
        self.net = net
        self.multiple = multiple

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        require_size(self.name, (int(pixels.shape[-2]), int(pixels.shape[-1])), self.multiple)
        maps: Sequence[Tensor] = self.net(pixels).feature_maps
        return maps


def load(name: str, source: bool | Path, levels: tuple[int, ...]) -> Backbone:
    """The backbone `name`; `source` is a safetensors file, or whether weights are wanted at all.

    Raises PrerequisiteError without `transformers`, DetectorError when the model cannot be had or is no backbone.
    """
    try:
        import transformers
    except ImportError as error:
        raise PrerequisiteError(
            f"backbone {name!r} is loaded through Hugging Face transformers, which is not installed; install it with "
            "`pip install 'sightline[hub]'`, or use 'lite0' or a model of timm"
        ) from error
    _refuse_pickles(name)
    config = reached(name, name, lambda: transformers.AutoConfig.from_pretrained(name))
    kind, strides, channels = _shape(transformers, name, config)
    patches = len(set(strides)) == 1
    try:
        chosen = spread(len(strides), len(levels)) if patches else [strides.index(level) for level in levels]
    except ValueError as error:
        raise DetectorError(f"backbone {name!r} has levels of strides {strides}, not {levels}; choose some") from error
    # the first of its stages is the picture cut into patches, or the stem
    config.out_indices = [index + 1 for index in chosen]
    # the exporter knows each step of this one
    config._attn_implementation = "eager"
    net = _network(kind, name, config, source)
    mean, std = _normalisation(transformers, name)
    multiple = strides[0] if patches else 1
    return Backbone(
        name,
        Maps(name, net, multiple),
        tuple(channels[index] for index in chosen),
        tuple(strides[index] for index in chosen),
        mean,
        std,
        multiple,
    )


def _refuse_pickles(name: str) -> None:
    folder = Path(name)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise DetectorError(f"folder {name} holds no config.json: name a folder that `save_pretrained` wrote")
    if not list(folder.glob("*.safetensors")):
        there = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise DetectorError(
            f"folder {name} holds no weights as safetensors, only {there}; other formats can run code when they are "
            "loaded: save the model again with `save_pretrained(folder, safe_serialization=True)` where you trust it"
        )


def _shape(transformers: Any, name: str, config: Any) -> tuple[Any, list[int], list[int]]:
    """The backbone's class; strides and channels of all stages after the first, from a pass that computes nothing."""
    stages: Any = getattr(config, "stage_names", None)
    try:
        config.out_indices = list(range(1, len(stages)))
        with torch.device("meta"), torch.no_grad():
            net = transformers.AutoBackbone.from_config(config).eval()
            maps = net(torch.zeros(1, 3, _PROBE, _PROBE)).feature_maps
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DetectorError(
            f"backbone {name!r} is a {type(config).__name__.removesuffix('Config')}, which transformers does not offer "
            f"as a backbone ({error}); use DINOv2, ConvNeXt, ResNet or Swin, or the same network through timm"
        ) from error
    return type(net), [_PROBE // int(level.shape[-1]) for level in maps], [int(level.shape[1]) for level in maps]


def _network(kind: Any, name: str, config: Any, source: bool | Path) -> nn.Module:
    if source is True:
        return reached(name, name, lambda: kind.from_pretrained(name, config=config, use_safetensors=True))
    net: nn.Module = kind(config)
    if isinstance(source, Path):
        tensors = {_own(key, net): tensor for key, tensor in read_weights(source).items()}
        missing, _ = net.load_state_dict(tensors, strict=False)
        if missing:
            raise DetectorError(
                f"weights {source} are not of backbone {name!r}: they lack {missing[0]} and {len(missing) - 1} more; "
                "name the file that belongs to it"
            )
    return net


def _own(key: str, net: nn.Module) -> str:
    """A tensor's name without the prefix that models with a head put before it."""
    return key.removeprefix(f"{net.base_model_prefix}.")


def _normalisation(transformers: Any, name: str) -> tuple[Any, Any]:
    """Mean and deviation that the model's pictures are brought to; ImageNet's where the model does not say."""
    try:
        said, _ = transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):
        said = {}
    return (
        tuple(said.get("image_mean", IMAGENET_DEFAULT_MEAN)),
        tuple(said.get("image_std", IMAGENET_DEFAULT_STD)),
    )
