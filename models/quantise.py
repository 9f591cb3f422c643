"""INT8 detectors: the backbone computes in integers, and the head has learnt what it then says.

Quantised features differ from float ones by a tenth of their variance, and a head that multiplies by inverse
deviations magnifies that: with the head of the float detector, AUROC on the simulated gear fell from 1.00 to 0.89.
Learnt anew from quantised features it was 1.00 again, since their noise is part of what good frames show. So quantising
is training again in the same manner, from the same pictures, with thresholds of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sklearn.metrics import roc_auc_score

from models.dataset import data_digest
from models.fitting import Recipe
from models.judging.metrics import is_defect
from models.progress import Progress, quiet
from models.runtime.card import is_int8, load_card
from models.runtime.scorer import load_scorer
from models.runtime.view import View
from models.scoring import score_pictures
from models.train import train
from models.trainingset import load_training_set
from sightline.errors import DetectorError
from sightline.settings import RegistrySettings

MAX_LOSS = 0.005
"""Largest fall of an image AUROC: half a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Image AUROCs of a detector and of its INT8 form; None where there is nothing to measure by.

    `synthetic` is of synthetic defects on frames that a fold had not learnt, `labelled` of the labelled pictures.
    """

    synthetic_float: float | None
    synthetic_int8: float | None
    labelled: int
    labelled_float: float | None
    labelled_int8: float | None

    def objections(self, max_loss: float = MAX_LOSS) -> list[str]:
        """Why the quantised form may not be used, with the numbers; empty when it may.

        Labelled pictures decide, else synthetic defects: the AUROC of these on 30 frames is known to 0.04 only.
        """
        what, before, after = f"{self.labelled} labelled pictures", self.labelled_float, self.labelled_int8
        if before is None or after is None:
            what, before, after = "synthetic defects", self.synthetic_float, self.synthetic_int8
        if before is None or after is None:
            return [
                "there is neither a labelled picture nor a synthetic defect to compare by: add `test` to the folder"
            ]
        if before - after <= max_loss:
            return []
        return [f"image AUROC on {what} falls from {before:.4f} to {after:.4f}, allowed is {max_loss:g} less"]


def quantise(
    bundle: Path,
    data: Path,
    output: Path,
    settings: RegistrySettings,
    *,
    symmetric: bool = False,
    view: View | None = None,
    max_loss: float = MAX_LOSS,
    threads: int = 2,
    progress: Progress = quiet,
) -> Comparison:
    """Write the INT8 form of the detector in `bundle` to `output`; nothing is registered.

    `data` is what it learnt from, under `view`; `symmetric` is the form that TensorRT takes. Raises DetectorError, with
    the numbers, when the quantised form is worse than allowed, and for a detector or pictures that it cannot be made
    from.
    """
    card = load_card(bundle)
    if is_int8(card):
        raise DetectorError(f"{card.name} in {bundle} is quantised already: take the detector that it was made from")
    dataset = load_training_set(data, mixed_sizes=True).dataset
    if data_digest(dataset) != card.data_digest:
        raise DetectorError(
            f"the good pictures in {data} are not those that {card.name} learnt from: name that folder, or train on "
            "this one first"
        )
    recipe = replace(Recipe.from_card(card), precision="int8", symmetric=symmetric, view=view)
    made = train(
        data,
        card.product,
        settings,
        recipe=recipe,
        threads=threads,
        register=False,
        output=output,
        mixed_sizes=True,
        progress=progress,
    ).card
    paths, defect = [sample.path for sample in dataset.test], is_defect(dataset.test)
    before = after = None
    if 0 < defect.sum() < len(defect):
        scorers = (load_scorer(folder, threads=threads) for folder in (bundle, output))
        scores = (score_pictures(scorer, paths, "comparing", progress, view).scores for scorer in scorers)
        before, after = (float(roc_auc_score(defect, found)) for found in scores)
    compared = Comparison(
        synthetic_float=card.metrics.get("synthetic_auroc"),
        synthetic_int8=made.metrics.get("synthetic_auroc"),
        labelled=len(paths),
        labelled_float=before,
        labelled_int8=after,
    )
    if objections := compared.objections(max_loss):
        raise DetectorError(f"{card.name} loses too much in INT8: {'; '.join(objections)}. Keep it in float")
    return compared
