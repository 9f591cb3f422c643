"""How far the pictures of a window are from those of a reference, as the detector's own features see them.

`python -m models.drift FOLDER` prints one JSON object. FOLDER holds `bundle` (a detector), `reference` (pictures) and
`windows/NAME` (pictures of each window). `streaming.drift_embeddings` fills it and starts this as a process of its own:
that room may not import this one, and the stream keeps no embeddings.

A picture is the mean of its feature vectors. The figure is the Mahalanobis distance between the means of window and
reference, in the reference's covariance, shrunk as Ledoit and Wolf (2004) do since there are fewer pictures than
features. Its square is estimated without bias, as a linear maximum mean discrepancy (Gretton et al. 2012, equation 3):
the plain distance between two means grows by itself when there are few pictures. What chance shows is found by dealing
the same pictures out again, 500 times.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from models import reference
from models.detector import Detector
from models.learning import described
from models.preparation import Preparation
from models.runtime.card import REFERENCE_FILE, DetectorCard, load_card
from sightline.errors import DetectorError, SightlineError

MIN_PICTURES = 10
"""Of window and reference each; with fewer a covariance would be a guess."""

_BATCH = 16
_DEALS = 500
_CHANCE = 0.99


@dataclass(frozen=True, slots=True)
class Shift:
    """A distance in standard deviations of the reference, and what one in a hundred windows shows without any."""

    frames: int
    reference_frames: int
    value: float
    chance: float


def embeddings(detector: Detector, card: DetectorCard, paths: Sequence[Path]) -> NDArray[np.float64]:
    """The mean feature vector of each picture as the detector sees it, float64 [N, d].

    Raises SourceError naming a picture that cannot be read.
    """
    preparation = Preparation(detector.features.settings.side, card.alignment)
    found = []
    with torch.inference_mode():
        for start in range(0, len(paths), _BATCH):
            images = preparation.seen(preparation.load(paths[start : start + _BATCH]))
            found.append(described(detector.features, images).mean(dim=(2, 3)))
    vectors: NDArray[np.float64] = torch.cat(found).double().numpy()
    return vectors


def shift(known: NDArray[np.float64], window: NDArray[np.float64]) -> Shift:
    """The distance between the means of `known`, float64 [M, d], and `window` [N, d], and its level by chance.

    Raises DetectorError when one has fewer than MIN_PICTURES, or when the reference's pictures are all the same.
    """
    if min(len(known), len(window)) < MIN_PICTURES:
        raise DetectorError(
            f"{len(window)} pictures are to be compared with {len(known)}: at least {MIN_PICTURES} of each are needed"
        )
    covariance = LedoitWolf().fit(known).covariance_
    if not np.trace(covariance) > 0:
        raise DetectorError("the reference's pictures are all the same: nothing can be measured by their spread")
    values, axes = np.linalg.eigh(covariance)
    # a direction without any spread, which only identical channels have, would be infinitely far
    whitening = axes / np.sqrt(np.maximum(values, 1e-6 * values.max()))
    every = (np.concatenate([known, window]) - known.mean(axis=0)) @ whitening
    products = every @ every.T
    inside = np.arange(len(every)) >= len(known)
    generator = np.random.default_rng(0)
    dealt = [_distance(products, generator.permutation(inside)) for _ in range(_DEALS)]
    return Shift(len(window), len(known), _distance(products, inside), float(np.quantile(dealt, _CHANCE)))


def compare(folder: Path, threads: int = 1) -> dict[str, Shift]:
    """The shift of each window in `folder`, by its name; raises as `embeddings` and `shift` do, or for the bundle."""
    torch.set_num_threads(threads)
    bundle = folder / "bundle"
    card = load_card(bundle)
    detector = reference.load(bundle / REFERENCE_FILE, card)
    known = embeddings(detector, card, _pictures(folder / "reference"))
    windows = sorted(path for path in (folder / "windows").iterdir() if path.is_dir())
    return {window.name: shift(known, embeddings(detector, card, _pictures(window))) for window in windows}


def _distance(products: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """Distance of two means from inner products, none of a vector with itself; 0 where chance made it less."""
    ours, theirs = products[np.ix_(inside, inside)], products[np.ix_(~inside, ~inside)]
    squared = _between(ours) + _between(theirs) - 2 * float(products[np.ix_(inside, ~inside)].mean())
    return math.sqrt(max(0.0, squared))


def _between(products: NDArray[np.float64]) -> float:
    count = len(products)
    return float((products.sum() - np.trace(products)) / (count * (count - 1)))


def _pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))


def main(folder: str) -> int:
    """Exit 0 with the shifts on stdout, or 1 with the reason on stderr."""
    try:
        found = compare(Path(folder))
    except SightlineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
