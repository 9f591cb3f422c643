"""A detector bundle as MLflow serves it.

`MLmodel` beside the bundle names this module as the loader of the `python_function` flavour
(https://mlflow.org/docs/latest/ml/model#python-function-flavor), so `mlflow.pyfunc.load_model` and
`mlflow models serve --env-manager local` work wherever Sightline is installed. Nothing is pickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.runtime.decode import DecodedFrame, decode
from models.runtime.interpret import heat_map, regions, verdict
from models.runtime.scorer import Scorer, load_scorer
from sightline.contracts import Verdict
from sightline.errors import FrameError

IMAGE = "image"
"""The one column of the input: JPEG bytes, in base64 where the request is JSON."""


class ServedDetector:
    """Judges JPEGs as `POST /v1/inspect` does: the same decoder, runtime, threshold, boxes and heat map."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: ARG002
        """One answer for each row of `model_input`, a data frame with the column `image`.

        An answer has product, detector, width, height, score, threshold, verdict, regions and heat_map (bytes in
        base64). A picture that cannot be judged gives `error` instead, and costs its neighbours nothing.
        """
        frames = [self._decoded(jpeg) for jpeg in model_input[IMAGE]]
        sound = [frame for frame in frames if isinstance(frame, DecodedFrame)]
        answers = iter(self._judged(sound))
        return [next(answers) if isinstance(frame, DecodedFrame) else {"error": frame} for frame in frames]

    def _decoded(self, jpeg: Any) -> DecodedFrame | str:
        card = self._scorer.card
        try:
            return decode(bytes(jpeg), card.input_height, card.input_width)
        except (FrameError, TypeError, ValueError) as error:
            return str(error)

    def _judged(self, frames: list[DecodedFrame]) -> list[dict[str, Any]]:
        if not frames:
            return []
        card, found = self._scorer.card, self._scorer.score(np.stack([frame.image for frame in frames]))
        answers = []
        for frame, seen, score in zip(frames, found.maps, found.scores.tolist(), strict=True):
            ruling = verdict(score, card)
            boxes = [] if ruling is Verdict.OK else regions(seen, card, frame.covered)
            answers.append(
                {
                    "product": card.product,
                    "detector": card.name,
                    "width": frame.width,
                    "height": frame.height,
                    "score": score,
                    "threshold": card.threshold,
                    "verdict": ruling.value,
                    "regions": msgspec.to_builtins(boxes),
                    "heat_map": msgspec.to_builtins(heat_map(seen, card)),
                }
            )
        return answers


def _load_pyfunc(path: str) -> ServedDetector:
    """What MLflow calls, with the folder of the bundle."""
    return ServedDetector(load_scorer(Path(path)))
