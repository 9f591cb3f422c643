"""INT8 detectors: a trained graph whose backbone computes in integers, made after training and refused when it errs.

Post-training static quantisation with Q/DQ nodes by `onnxruntime.quantization`: symmetric integers, a scale for each
output channel of the weights (Krishnamoorthi 2018, arXiv:1806.08342), ranges of activations from good pictures. That is
the one form that OpenVINO, ONNX Runtime and TensorRT all take, and the package is there already; NNCF corrects biases
as well, but its graphs suit OpenVINO first. Only the backbone's convolutions are quantised: a head multiplies features
by inverse deviations, which magnifies their rounding.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from sklearn.metrics import roc_auc_score

from models.dataset import Dataset, load_images
from models.judging.metrics import image_metrics, is_defect
from models.runtime.card import GRAPH_FILE, INT8, DetectorCard, is_int8, load_card, save_card
from models.runtime.graph import INPUT
from models.runtime.onnx_rewriting import BACKBONE, folded
from models.runtime.scorer import Scorer, Scores, load_scorer
from models.scoring import Progress, quiet, score_pictures
from models.synthetic import synthesise
from sightline.errors import DetectorError

CALIBRATION_PICTURES = 64
"""Good pictures that ranges are taken from; more changed no range noticeably."""
CHECKED_PICTURES = 200
"""Good pictures, at most, on which the quantised graph is compared with the one that it was made from."""
FEWEST_CHECKED = 4

MAX_LOSS = 0.005
"""Largest fall of an image AUROC: half a point."""
MAX_CHANGED = 0.02
"""Largest share of verdicts that may differ, of all pictures compared."""

PARITY_TOLERANCE = 0.05
"""Largest difference between runtimes in a score of a quantised graph, as a share of the threshold.

A value on the edge between two integers falls to either side by the last bit of a float sum, and each such step moves
what follows; between float graphs the tolerance is fifty times narrower.
"""

_SEED = 0
_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A graph before (`float`) and after (`int8`) quantisation, on the same pictures.

    AUROCs are of good pictures against the same ones with synthetic defects, and of labelled pictures where there are
    both labels. `shift` is the median ratio of good scores, which the thresholds were multiplied by; `changed` is the
    share of verdicts that differ under them.
    """

    good: int
    synthetic_float: float
    synthetic_int8: float
    labelled: int
    labelled_float: float | None
    labelled_int8: float | None
    shift: float
    changed: float

    def objections(self, max_loss: float = MAX_LOSS, max_changed: float = MAX_CHANGED) -> list[str]:
        """Why the quantised graph may not be used, with the numbers; empty when it may."""
        pairs = (
            ("synthetic defects", self.synthetic_float, self.synthetic_int8),
            (f"{self.labelled} labelled pictures", self.labelled_float, self.labelled_int8),
        )
        found = [
            f"image AUROC on {what} falls from {before:.4f} to {after:.4f}, allowed is {max_loss:g} less"
            for what, before, after in pairs
            if before is not None and after is not None and before - after > max_loss
        ]
        if self.changed > max_changed:
            found.append(f"{self.changed:.1%} of the verdicts change, allowed are {max_changed:.1%}")
        return found


def quantise(
    bundle: Path,
    dataset: Dataset,
    output: Path,
    *,
    pictures: int = CALIBRATION_PICTURES,
    max_loss: float = MAX_LOSS,
    threads: int = 1,
    progress: Progress = quiet,
) -> Comparison:
    """Write the INT8 form of the detector in `bundle` to `output`, with thresholds and a card of its own.

    Ranges come from `pictures` good pictures of `dataset`. The gate compares both forms on other good pictures, those
    of `test` where there are enough, and on the labelled ones. Raises DetectorError, with all numbers, when the
    quantised form is worse than allowed, and for a detector that cannot be quantised.
    """
    card = load_card(bundle)
    if is_int8(card):
        raise DetectorError(
            f"{card.name} in {bundle} is quantised already: quantise the detector that it was made from"
        )
    calibration, checked = _divided(dataset, pictures)
    output.mkdir(parents=True, exist_ok=True)
    progress("quantising", 0, 1)
    write_graph(bundle / GRAPH_FILE, output / GRAPH_FILE, card, calibration)
    progress("quantising", 1, 1)
    # the card goes with the graph, so that the graph can be opened; thresholds follow once its scores are known
    made = replace(card, created_at=datetime.now(UTC), run_id=None, parameters=card.parameters | {"precision": INT8})
    save_card(made, output)
    before, after = (load_scorer(folder, threads=threads) for folder in (bundle, output))
    compared, metrics = compare(before, after, dataset, checked, progress)
    if objections := compared.objections(max_loss):
        raise DetectorError(
            f"{card.name} loses too much in INT8: {'; '.join(objections)}. Give more good pictures to calibrate on, or "
            "keep the detector as it is"
        )
    numbers = {name: value for name, value in asdict(compared).items() if value is not None}
    save_card(
        replace(
            made,
            threshold=card.threshold * compared.shift,
            review_threshold=card.review_threshold * compared.shift,
            map_scale=card.map_scale * compared.shift,
            calibration=card.calibration | {"int8_pictures": len(calibration), "int8_shift": compared.shift},
            metrics=card.metrics | metrics | {f"int8_{name}": float(value) for name, value in numbers.items()},
        ),
        output,
    )
    return compared


def write_graph(source: Path, target: Path, card: DetectorCard, calibration: Sequence[Path]) -> None:
    """Quantise the graph at `source` by the ranges of the pictures at `calibration`; raises DetectorError."""
    model = folded(onnx.load(source))
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv" and node.name.startswith(BACKBONE)]
    if not convolutions:
        raise DetectorError(
            f"{source} has no convolutions below {BACKBONE}: only what `sightline train` made can be quantised"
        )
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as temporary:
        plain = Path(temporary) / GRAPH_FILE
        onnx.save(model, plain)
        # it recommends a pre-processing that `folded` stands for
        logging.getLogger().addFilter(_no_advice)
        try:
            quantize_static(
                str(plain),
                str(target),
                _Pictures(calibration, card),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=convolutions,
                calibrate_method=CalibrationMethod.MinMax,
                # TensorRT takes symmetric scales only, and biases as floats
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
            )
        finally:
            logging.getLogger().removeFilter(_no_advice)
    onnx.checker.check_model(target, full_check=True)


def compare(
    before: Scorer, after: Scorer, dataset: Dataset, checked: Sequence[Path], progress: Progress = quiet
) -> tuple[Comparison, dict[str, float]]:
    """Both forms on good pictures at `checked`, the same with synthetic defects, and labelled ones.

    Also gives the image metrics of `after` on the labelled pictures, at its shifted threshold.
    """
    card = before.card
    good, spoilt = ([np.empty(0, np.float32)] * 2 for _ in range(2))
    for start in range(0, len(checked), _BATCH):
        progress("comparing", start, len(checked))
        images = load_images(checked[start : start + _BATCH], card.input_height, card.input_width)
        damaged = synthesise(images, _SEED + start).images
        for index, scorer in enumerate((before, after)):
            good[index] = np.append(good[index], scorer.score(images).scores)
            spoilt[index] = np.append(spoilt[index], scorer.score(damaged).scores)
    progress("comparing", len(checked), len(checked))
    paths = [sample.path for sample in dataset.test]
    labelled = [
        score_pictures(scorer, paths, f"labelled, {name}", progress).scores if paths else np.empty(0, np.float32)
        for name, scorer in (("float", before), ("int8", after))
    ]
    shift = float(np.median(good[1] / np.maximum(good[0], np.finfo(np.float32).tiny)))
    called = [
        np.concatenate([good[index], spoilt[index], labelled[index]]) >= card.threshold * factor
        for index, factor in enumerate((1.0, shift))
    ]
    defect = is_defect(dataset.test)
    both = 0 < defect.sum() < len(defect)
    aurocs = [float(roc_auc_score(defect, scores)) if both else None for scores in labelled]
    compared = Comparison(
        good=len(checked),
        synthetic_float=_auroc(good[0], spoilt[0]),
        synthetic_int8=_auroc(good[1], spoilt[1]),
        labelled=len(paths),
        labelled_float=aurocs[0],
        labelled_int8=aurocs[1],
        shift=shift,
        changed=float((called[0] != called[1]).mean()),
    )
    return compared, image_metrics(defect, labelled[1], card.threshold * shift) if paths else {}


def prove_parity(bundle: Path, images: NDArray[np.uint8], threads: int = 1) -> float:
    """Largest difference of a quantised bundle's scores between OpenVINO and ONNX Runtime, as a share of the threshold.

    There is no PyTorch reference of a quantised graph. Raises DetectorError beyond PARITY_TOLERANCE.
    """
    found: list[Scores] = [
        load_scorer(bundle, backend, threads).score(images) for backend in ("openvino", "onnxruntime")
    ]
    difference = float(np.abs(found[0].scores - found[1].scores).max()) / load_card(bundle).threshold
    if not difference <= PARITY_TOLERANCE:
        raise DetectorError(
            f"OpenVINO and ONNX Runtime differ by {difference:.1%} of the threshold on the quantised graph, allowed is "
            f"{PARITY_TOLERANCE:.0%}: keep the detector that it was made from"
        )
    return difference


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not followed by mypy
    """Pictures one by one, as the graph takes them."""

    def __init__(self, paths: Sequence[Path], card: DetectorCard) -> None:
        self._images = self._read(paths, card)

    def get_next(self) -> Mapping[str, NDArray[np.uint8]] | None:
        return next(self._images, None)

    @staticmethod
    def _read(paths: Sequence[Path], card: DetectorCard) -> Iterator[Mapping[str, NDArray[np.uint8]]]:
        for path in paths:
            pictures = load_images([path], card.input_height, card.input_width)
            aligned = card.alignment
            yield {INPUT: aligned.cut(pictures, aligned.places(pictures)) if aligned else pictures}


def _divided(dataset: Dataset, pictures: int) -> tuple[list[Path], list[Path]]:
    """Good pictures to take ranges from, and others to compare on: those of `test`, or what is left of `train`."""
    if pictures < 1:
        raise DetectorError(
            f"{pictures} pictures to calibrate on, expected 1 or more; {CALIBRATION_PICTURES} are usual"
        )
    tested = [sample.path for sample, bad in zip(dataset.test, is_defect(dataset.test), strict=True) if not bad]
    count = len(dataset.good)
    enough = len(tested) >= FEWEST_CHECKED
    most = count if enough else count - min(CHECKED_PICTURES, max(FEWEST_CHECKED, count // 2))
    chosen = set(np.linspace(0, count - 1, min(pictures, max(1, most))).round().astype(int).tolist())
    calibration = [path for index, path in enumerate(dataset.good) if index in chosen]
    others = tested if enough else [path for index, path in enumerate(dataset.good) if index not in chosen]
    kept = np.linspace(0, len(others) - 1, min(CHECKED_PICTURES, len(others))).round().astype(int)
    return calibration, [others[index] for index in kept]


def _auroc(good: NDArray[np.float32], spoilt: NDArray[np.float32]) -> float:
    truth = np.concatenate([np.zeros(len(good)), np.ones(len(spoilt))])
    return float(roc_auc_score(truth, np.concatenate([good, spoilt])))


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()
