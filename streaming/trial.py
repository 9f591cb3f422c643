"""`python -m streaming.trial FOLDER BACKEND PRECISION`: does this bundle load and score here? Exit 0 says yes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import cast

import numpy as np

from models.runtime.scorer import Backend, Precision, Scorer, load_scorer
from sightline.errors import DetectorError, PrerequisiteError

PICTURE_SECONDS = 2.0
"""Processor time for one picture that is too much for any line."""


def main(folder: str, backend: str, precision: str) -> int:
    try:
        prove(load_scorer(Path(folder), cast(Backend, backend), precision=cast(Precision, precision)))
    except (DetectorError, PrerequisiteError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def prove(scorer: Scorer) -> None:
    """Have pictures judged that differ from the blank one of the loading: white, and noise.

    Raises DetectorError when a score is not finite or a picture takes longer than `PICTURE_SECONDS`.
    """
    size = (1, scorer.card.input_height, scorer.card.input_width, 3)
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    for picture in (np.full(size, 255, np.uint8), noise):
        # not by the clock: the trial runs beside the line, which may have all the processors
        began = time.process_time()
        scorer.score(picture)
        if (seconds := time.process_time() - began) > PICTURE_SECONDS:
            raise DetectorError(
                f"detector {scorer.card.name} takes {seconds:.1f} s of a processor for one picture, at most "
                f"{PICTURE_SECONDS:g} s are allowed: the line would stand still; train a smaller one"
            )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
