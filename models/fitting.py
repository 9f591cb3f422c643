"""From good pictures to a detector that has learnt them, with its thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models import calibrate, integers, trials
from models.calibrate import Calibration, Rates
from models.compiled import compiled
from models.dataset import load_images
from models.detector import Detector
from models.features import Features, FeatureSettings
from models.learning import Material, gather
from models.methods import Method, choose, with_options
from models.preparation import MOST_COPIES, OVERSIZE, Preparation, Variation
from models.progress import Progress
from models.runtime import alignment
from models.runtime.alignment import Alignment
from models.runtime.card import INT8, LATENCY_BUDGET_MS, SYMMETRIC, DetectorCard, is_int8
from models.runtime.scores import Scores
from models.runtime.view import WHOLE, View, masked, on_card
from models.trials import Trial
from sightline.errors import DetectorError

DEFAULT_METHOD = "padim"

PICTURES = 600
"""Good ones that a fit learns, variants included; and as many spoilt ones for a method that learns from those."""

MOST_SPOILT = 12
"""Synthetic defects of one frame, at most, for a method that learns from them."""

_OUTLINES = 48
"""Good frames whose outlines tell whether to align."""

_BATCH = 16

Aligning = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to learn: a method of `models.methods`, and what differs from its defaults.

    `alignment` and `variation` are found by trials on the good frames unless they are given. `view` is the region and
    mask under which the camera's frames are judged; a mask lies where the frame lies, so nothing is aligned with one.
    `rates` are the usual ones for the number of frames unless they are given; `symmetric` is the form of integers that
    TensorRT takes. `latency_budget_ms` is the processor time that one picture may take where the detector judges.
    """

    method: str = DEFAULT_METHOD
    features: FeatureSettings | None = None
    options: Mapping[str, float] = field(default_factory=dict)
    smoothing: float | None = None
    alignment: Aligning = "auto"
    variation: Variation | None = None
    view: View | None = None
    precision: Literal["fp32", "int8"] = "fp32"
    symmetric: bool = False
    rates: Rates | None = None
    latency_budget_ms: float = LATENCY_BUDGET_MS

    @classmethod
    def from_card(cls, card: DetectorCard) -> Recipe:
        """How the detector of `card` learnt, but for the view, of which a card keeps a digest only.

        Raises DetectorError naming what the card does not say.
        """
        said = card.parameters
        try:
            return cls(
                method=card.method,
                features=FeatureSettings.from_card(said),
                options={name: float(said[name]) for name in choose(card.method).options},
                smoothing=float(said["smoothing"]),
                alignment="on" if card.alignment else "off",
                variation=Variation(str(said["variation"])),
                precision="int8" if is_int8(card) else "fp32",
                symmetric=bool(said.get(SYMMETRIC, False)),
                rates=_rates(card),
                latency_budget_ms=card.latency_budget_ms or LATENCY_BUDGET_MS,
            )
        except KeyError as error:
            raise DetectorError(
                f"the card of {card.name} does not say {error} of how it learnt; train it again by `sightline train`"
            ) from None


def _rates(card: DetectorCard) -> Rates | None:
    """The rates that were asked for; None for the usual ones, and where a threshold was chosen by F1 or cost."""
    said = [card.calibration.get(name) for name in ("false_alarm_rate", "review_rate", "held_out_frames")]
    if any(number is None for number in said):
        return None
    false_alarm, review, frames = (float(number) for number in said if number is not None)
    rates = Rates(false_alarm=false_alarm, review=review)
    return None if rates == Rates.usual(int(frames)) else rates


@dataclass(frozen=True, slots=True)
class Fitted:
    """A detector that has learnt, its thresholds, and what a card says of how.

    `ranges` are the pictures, as the features see them, by which its backbone was quantised; None for one in float.
    """

    method: str
    detector: Detector
    preparation: Preparation
    calibration: Calibration
    parameters: Mapping[str, str | float | int | bool]
    metrics: Mapping[str, float]
    ranges: NDArray[np.uint8] | None = None


def fit(frames: Sequence[Path], recipe: Recipe, progress: Progress) -> Fitted:
    """Learn from the good pictures at `frames` and calibrate on those that each fold has not seen."""
    method = choose(recipe.method)
    _check_mask(recipe, method)
    asked = with_options(method, recipe.options)
    settings = recipe.features or method.features
    smoothing = method.smoothing if recipe.smoothing is None else recipe.smoothing
    features = Features(settings).eval()
    with torch.no_grad():
        preparation, tried = _preparation(method, settings, frames, recipe, progress)
        defects = _spoilt(method, len(frames))
        ranges = None
        if recipe.precision == INT8:
            ranges = preparation.seen(preparation.load(spread(frames, integers.PICTURES)))
        quick = compiled(features, ranges, symmetric=recipe.symmetric)
        quick.fit(_batches(preparation, frames))
        material = gather(
            quick,
            frames,
            preparation,
            defects=defects,
            with_pixels=method.pixels,
            seed=settings.seed,
            progress=progress,
        )
        options = method.tune(material, asked) if method.tune else asked
        calibration, metrics = _calibrate(features, material, method, options, smoothing, recipe, progress)
        detector = Detector(features, method.fit(material.of(slice(None)), options), smoothing).eval()
    # what was found is told beside what was asked, so that another training in this manner finds its own
    found = {f"found_{name}": value for name, value in options.items() if value != asked[name]}
    parameters = settings.on_card() | dict(asked) | found
    parameters |= {"channels": features.dimensions, "smoothing": smoothing, "synthetic": defects, WHOLE: method.whole}
    parameters |= {"aligned": preparation.alignment is not None, "variation": str(preparation.variation)}
    parameters |= {"variants": preparation.copies}
    parameters |= on_card(recipe.view) | (
        {"precision": INT8, SYMMETRIC: recipe.symmetric} if ranges is not None else {}
    )
    parameters |= {f"trial_{trial.preparation.variation}": round(trial.likelihood, 4) for trial in tried}
    return Fitted(recipe.method, detector, preparation, calibration, parameters, metrics, ranges)


def _preparation(
    method: Method, settings: FeatureSettings, frames: Sequence[Path], recipe: Recipe, progress: Progress
) -> tuple[Preparation, list[Trial]]:
    """Alignment by the outlines of good frames, variation by trials; and the trials, if any were needed."""
    side = settings.side
    aligning = _alignment(recipe, spread(frames, _OUTLINES), side)
    copies = _spoilt(method, len(frames)) - 1 if method.defects else trials.copies_for(len(frames), PICTURES)
    variations = [Variation.NONE]
    if recipe.variation:
        variations, copies = [recipe.variation], copies or MOST_COPIES
    elif copies:
        # a method that learns from synthetic defects needs as many good pictures as spoilt ones
        variations = [variation for variation in Variation if variation is not Variation.NONE or not method.defects]
    counts = {variation: 0 if variation is Variation.NONE else copies for variation in variations}
    if len(counts) == 1:
        ((variation, copies),) = counts.items()
        return Preparation(side, aligning, variation, copies, recipe.view), []
    plain = replace(settings, reduction="projection", neighbourhood=1)
    prepared = Preparation(side, aligning, view=recipe.view)
    found = trials.run(compiled(Features(plain).eval()), frames, prepared, counts, progress)
    return found[0].preparation, found


def _alignment(recipe: Recipe, frames: Sequence[Path], side: int) -> Alignment | None:
    """What suits `frames`; raises DetectorError when alignment is asked for and impossible."""
    if recipe.alignment == "off" or (recipe.view and recipe.view.mask):
        return None
    learnt = alignment.learn(load_images(frames, OVERSIZE * side, OVERSIZE * side, recipe.view), side)
    if learnt is None and recipe.alignment == "on":
        raise DetectorError(
            f"alignment is 'on', but in these {len(frames)} frames the part cannot be told from the background, lies "
            "always alike, or has no fixed outline; use 'auto' or 'off'"
        )
    return learnt


def _check_mask(recipe: Recipe, method: Method) -> None:
    if not (recipe.view and recipe.view.mask):
        return
    if method.whole:
        raise DetectorError(
            f"method {recipe.method!r} judges the picture as a whole, so a mask cannot be applied; choose one that "
            "says where (`sightline methods`), or use a region without a mask"
        )
    if recipe.alignment == "on":
        raise DetectorError("alignment is 'on' and a mask is given: a mask cannot follow the part; leave one out")


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of `paths`, evenly spaced."""
    if len(paths) <= most:
        return list(paths)
    return [paths[index] for index in np.linspace(0, len(paths) - 1, most).round().astype(int)]


def _spoilt(method: Method, count: int) -> int:
    """Synthetic defects of each of `count` frames: one at least, to validate with, where the head can judge them."""
    if method.defects:
        return max(1, min(MOST_SPOILT, PICTURES // count))
    return 0 if method.pixels else 1


def _batches(preparation: Preparation, frames: Sequence[Path]) -> Iterator[Tensor]:
    for start in range(0, len(frames), _BATCH):
        yield torch.from_numpy(preparation.seen(preparation.load(frames[start : start + _BATCH])))


def _calibrate(
    features: Features,
    material: Material,
    method: Method,
    options: Mapping[str, float],
    smoothing: float,
    recipe: Recipe,
    progress: Progress,
) -> tuple[Calibration, dict[str, float]]:
    """Thresholds from frames that a fold has not seen, and how well their synthetic defects are told from them."""
    done, count = 0, len(material)
    spoilt = np.empty((count, material.spoilt.shape[1]), np.float32)

    def score(learnt: NDArray[np.intp], held_out: NDArray[np.intp]) -> NDArray[np.float32]:
        nonlocal done
        detector = Detector(features, method.fit(material.of(learnt), options), smoothing)
        found = _judged(detector, *material.frames(held_out), recipe.view)
        if spoilt.size:
            defects = material.synthetic(held_out)
            spoilt[held_out] = _judged(detector, defects, defects, recipe.view).reshape(len(held_out), -1)
        done += len(held_out)
        progress("calibrating", done, count)
        return found

    scores, folds = calibrate.held_out_scores(count, score, method.folds)
    calibration = calibrate.calibrate(scores, folds, recipe.rates)
    if not spoilt.size:
        return calibration, {}
    truth = np.concatenate([np.zeros(count), np.ones(spoilt.size)])
    auroc = float(roc_auc_score(truth, np.concatenate([scores, spoilt.ravel()])))
    return calibration, {"synthetic_auroc": auroc}


def _judged(detector: Detector, features: Tensor, pixels: Tensor, view: View | None) -> NDArray[np.float32]:
    """Scores of features in batches, as the stream would give them under `view`."""
    parts = []
    for start in range(0, len(features), _BATCH):
        part = slice(start, start + _BATCH)
        maps, scores = (found.numpy() for found in detector.judge(features[part], pixels[part]))
        parts.append(masked(view, Scores(maps, scores)).scores)
    return np.concatenate(parts)
