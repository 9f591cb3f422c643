"""The classifier as one module: a backbone, what its levels show on average and at most, and a linear layer."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from models import backbone
from models.classifier.card import ClassifierCard
from sightline.errors import DetectorError

LEVELS = (8, 16, 32)
"""Strides of the levels in use: a small scratch shows in the first, the part in the last."""


class Classifier(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """uint8 [N, H, W, 3] RGB to probabilities float32 [N, C]; `temperature` divides the logits (Guo et al. 2017)."""

    scale: Tensor
    shift: Tensor
    mean: Tensor
    deviation: Tensor
    temperature: Tensor

    def __init__(self, name: str, classes: int, *, weights: bool = True) -> None:
        super().__init__()
        base = backbone.load(name, weights=weights, levels=LEVELS)
        self.backbone = base.module
        self.linear = nn.Linear(2 * sum(base.channels), classes)
        self.require_size = base.require_size
        self.register_buffer("scale", torch.tensor(base.std).mul(255).reciprocal().view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor(base.mean).div(torch.tensor(base.std)).view(1, 3, 1, 1))
        self.register_buffer("mean", torch.zeros(self.linear.in_features))
        self.register_buffer("deviation", torch.ones(self.linear.in_features))
        self.register_buffer("temperature", torch.ones(1))

    def pooled(self, images: Tensor) -> Tensor:
        """float32 [N, D]: mean and maximum over the picture of each channel of each level.

        A defect that covers one cell in a thousand is lost in the mean.
        """
        levels = self.backbone(images.permute(0, 3, 1, 2).float() * self.scale - self.shift)
        return torch.cat([part for level in levels for part in (level.mean((2, 3)), level.amax((2, 3)))], dim=1)

    def logits(self, pooled: Tensor) -> Tensor:
        """float32 [N, C] of what `pooled` gives, before temperature."""
        found: Tensor = self.linear((pooled - self.mean) / self.deviation)
        return found

    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(self.logits(self.pooled(images)) / self.temperature, dim=1)


def save(classifier: Classifier, path: Path) -> None:
    """All weights and buffers, as safetensors."""
    tensors = {name: tensor.contiguous().clone() for name, tensor in classifier.state_dict().items()}
    safetensors.torch.save_file(tensors, str(path))


def load(path: Path, card: ClassifierCard) -> Classifier:
    """The classifier that `save` wrote; raises DetectorError when file and card do not belong together."""
    classifier = Classifier(card.backbone, len(card.classes), weights=False)
    try:
        classifier.load_state_dict(safetensors.torch.load_file(str(path)))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DetectorError(
            f"{path} does not hold the weights that its card describes: {error}; fetch it again"
        ) from error
    classifier.eval()
    return classifier
