"""Which pictures a trained detector keeps as its self-test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset import GOOD, Dataset, load_images
from models.fitting import spread
from models.runtime.scorer import Scorer
from models.runtime.self_test import Example, clearness, encoded, judged
from models.runtime.view import View
from models.synthetic import synthesise
from sightline.contracts import Verdict

KEPT = 2
"""Good and defective ones each: a detector that is off is off on any picture, and the bundle stays small."""

_TRIED = 8
_SEED = 0


def choose(scorer: Scorer, dataset: Dataset, view: View | None) -> list[Example]:
    """Up to KEPT good and KEPT defective pictures of `dataset`, as `scorer` judges them.

    Labelled ones, which were not learnt from; where there are none, good ones of the training and synthetic defects on
    them. Those are kept that get the right verdict and lie furthest from the thresholds; none that rounding alone could
    carry over one. Pictures are cut to the region of `view`; its mask has no part in the scores.
    """
    good = spread([sample.path for sample in dataset.test if sample.kind == GOOD] or dataset.good, _TRIED)
    images = _images(scorer, good, view)
    found = _kept(scorer, [_name(path, dataset) for path in good], images, Verdict.OK)
    bad = spread([sample.path for sample in dataset.test if sample.kind != GOOD], _TRIED)
    if bad:
        names, spoilt = [_name(path, dataset) for path in bad], _images(scorer, bad, view)
    else:
        names = [f"{_name(path, dataset)} with a synthetic defect" for path in good]
        spoilt = synthesise(images, _SEED).images
    return found + _kept(scorer, names, spoilt, Verdict.DEFECT)


def _images(scorer: Scorer, paths: Sequence[Path], view: View | None) -> NDArray[np.uint8]:
    return load_images(paths, scorer.card.input_height, scorer.card.input_width, view)


def _kept(scorer: Scorer, names: Sequence[str], images: NDArray[np.uint8], right: Verdict) -> list[Example]:
    tried = [judged(scorer, name, encoded(image)) for name, image in zip(names, images, strict=True)]
    clear = [example for example in tried if clearness(example, scorer.card) > 1]
    return sorted(clear, key=lambda one: (one.verdict is right, clearness(one, scorer.card)), reverse=True)[:KEPT]


def _name(path: Path, dataset: Dataset) -> str:
    # a file's name need not be text
    return path.relative_to(dataset.root).as_posix().encode(errors="backslashreplace").decode()
