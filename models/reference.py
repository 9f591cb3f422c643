"""A detector's tensors as a file, and back: the PyTorch reference that other runtimes are measured against."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from models.detector import Detector
from models.features import Features, FeatureSettings
from models.methods import choose
from models.runtime.card import DetectorCard
from sightline.errors import DetectorError


def save(detector: Detector, path: Path) -> None:
    """All weights and buffers, as safetensors."""
    tensors = {name: tensor.contiguous().clone() for name, tensor in detector.state_dict().items()}
    safetensors.torch.save_file(tensors, str(path))


def load(path: Path, card: DetectorCard) -> Detector:
    """The detector that `save` wrote; raises DetectorError when file and card do not belong together."""
    method = choose(card.method)
    try:
        settings = FeatureSettings.from_card(card.parameters)
        options = {name: float(card.parameters[name]) for name in method.options}
        channels, smoothing = int(card.parameters["channels"]), float(card.parameters["smoothing"])
    except KeyError as error:
        raise DetectorError(f"the card of {card.name} has no parameter {error}: train the detector again") from None
    try:
        tensors = safetensors.torch.load_file(str(path))
        features = Features(settings, weights=False, channels=channels)
        features.load_state_dict(_under("features.", tensors))
        head = method.rebuild(_under("head.", tensors), options)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
        raise DetectorError(
            f"{path} does not hold the weights that its card describes: {error}; fetch it again"
        ) from error
    detector = Detector(features, head, smoothing)
    detector.eval()
    return detector


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
