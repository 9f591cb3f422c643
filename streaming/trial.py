"""`python -m streaming.trial FOLDER BACKEND PRECISION`: does this bundle load here, and judge as when it was made?

Exit 0 says yes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from models.runtime.card import is_int8
from models.runtime.processor_time import processor_ms
from models.runtime.scorer import Backend, Precision, Scorer, load_scorer
from models.runtime.self_test import EXACT, ROUNDED, Example, load_self_test, picture, prove_same
from sightline.errors import DetectorError, PrerequisiteError

PICTURE_MS = 2000.0
"""Processor time for one picture that is too much for any line, where the card states no budget."""


def main(folder: str, backend: str, precision: str) -> int:
    try:
        scorer = load_scorer(Path(folder), cast(Backend, backend), precision=cast(Precision, precision))
        exact = precision == "fp32" and not is_int8(scorer.card)
        prove(scorer, load_self_test(Path(folder), scorer.card), EXACT if exact else ROUNDED)
    except (DetectorError, PrerequisiteError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def prove(scorer: Scorer, examples: Sequence[Example] = (), share: float = EXACT) -> None:
    """Have pictures judged that differ from the blank one of the loading: white, noise, and those of the self-test.

    Raises DetectorError when a score is not finite, a picture takes more processor time than the card's budget, or one
    of `examples` gets another verdict, or a score that is off by more than `share` (`models.runtime.self_test`).
    """
    card = scorer.card
    size = (1, card.input_height, card.input_width, 3)
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    budget = card.latency_budget_ms or PICTURE_MS
    pictures = {"a white picture": np.full(size, 255, np.uint8), "a picture of noise": noise}
    pictures |= {f"self-test picture {example.name}": picture(example, card) for example in examples}
    for name, one in pictures.items():
        if (found := processor_ms(scorer, one, budget)) > budget:
            raise DetectorError(
                f"detector {card.name} takes {found:.0f} ms of a processor for {name}, at most {budget:g} ms are "
                "allowed: the line would fall behind; train a smaller one, or with a larger `--latency-budget`"
            )
    prove_same(scorer, examples, share)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
