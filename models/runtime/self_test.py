"""Pictures that a detector judged when it was made, in its bundle: whoever runs it sees whether it still judges so.

`self_test.json` holds a few pictures as JPEG in base64, each with the score and the verdict that it got, and the card
names the file's SHA-256. A picture is what the detector sees of a frame, at the size that it takes, so that the file
stays small; it was scored through the decoder and the runtime that frames go through, one picture at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from models.runtime.card import SELF_TEST_FILE, DetectorCard, save_card
from models.runtime.decode import decode
from models.runtime.interpret import verdict
from models.runtime.scorer import Scorer
from sightline.contracts import Verdict
from sightline.errors import DetectorError, FrameError

EXACT = 0.02
"""What a score may be off in float32, as a share of the score or of the threshold, whichever is more.

Rounding grows with the score, and near 0 with what is subtracted on the way, which the threshold measures. Training
proves that runtimes agree within 0.001 of the threshold; the rest is room for another CPU, and for a GPU's TF32.
"""

ROUNDED = 0.1
"""The same for INT8, bfloat16 and float16.

Training lets runtimes differ by as much of the threshold for INT8 (`models.train.INT8_TOLERANCE`); bfloat16 moved
scores of castings and cookies by 0.022 at most. Examples are kept only when they lie further than this from both
thresholds, so that no allowed rounding can change a verdict: one that differs comes from another detector.
"""

_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A picture with the score and the verdict that the detector gave it; `name` is for people."""

    name: str
    jpeg: bytes
    score: float
    verdict: Verdict


def encoded(image: NDArray[np.uint8]) -> bytes:
    """`image`, uint8 [H, W, 3] RGB as a detector takes it, as JPEG."""
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(jpeg)


def picture(example: Example, card: DetectorCard) -> NDArray[np.uint8]:
    """The example as the detector takes it, uint8 [1, H, W, 3] RGB; raises DetectorError for one that is no JPEG."""
    try:
        return decode(example.jpeg, card.input_height, card.input_width).image[None]
    except FrameError as error:
        raise DetectorError(f"self-test picture {example.name} of {card.name} cannot be decoded: {error}") from error


def judged(scorer: Scorer, name: str, jpeg: bytes) -> Example:
    """`jpeg` with what the detector says of it."""
    asked = Example(name=name, jpeg=jpeg, score=0.0, verdict=Verdict.OK)
    score = float(scorer.score(picture(asked, scorer.card)).scores[0])
    return replace(asked, score=score, verdict=verdict(score, scorer.card))


def allowed(score: float, card: DetectorCard, share: float) -> float:
    """How much a score may be off."""
    return share * max(abs(score), card.threshold)


def clearness(example: Example, card: DetectorCard) -> float:
    """Distance to the nearer threshold in what rounding may do at most; above 1 no rounding changes the verdict."""
    distance = min(abs(example.score - card.threshold), abs(example.score - card.review_threshold))
    return distance / allowed(example.score, card, ROUNDED)


def under(examples: Iterable[Example], card: DetectorCard) -> list[Example]:
    """What the thresholds of `card` make of the same scores; examples that are too near to one are left out."""
    cut = (replace(example, verdict=verdict(example.score, card)) for example in examples)
    return [example for example in cut if clearness(example, card) > 1]


def save_self_test(examples: Sequence[Example], card: DetectorCard, folder: Path) -> DetectorCard:
    """Write `examples`, and the card that names them, to `folder`; without examples the bundle has no self-test."""
    path, digest = folder / SELF_TEST_FILE, None
    if examples:
        data = msgspec.json.format(msgspec.json.encode(examples), indent=1) + b"\n"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
    else:
        path.unlink(missing_ok=True)
    card = replace(card, self_test=digest)
    save_card(card, folder)
    return card


def load_self_test(folder: Path, card: DetectorCard) -> tuple[Example, ...]:
    """The examples that the card names, none where it names no file; raises DetectorError for another or a damaged one.

    The card is that in `folder`.
    """
    if card.self_test is None:
        return ()
    path = folder / SELF_TEST_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DetectorError(
            f"{path} cannot be read ({error.strerror or error}), and the card names it: fetch the bundle again"
        ) from error
    if (found := hashlib.sha256(data).hexdigest()) != card.self_test:
        raise DetectorError(
            f"{path} hashes to {found[:12]}…, the card names {card.self_test[:12]}…: it belongs to another detector; "
            "fetch the bundle again"
        )
    try:
        return msgspec.json.decode(data, type=tuple[Example, ...])
    except msgspec.DecodeError as error:
        raise DetectorError(f"{path} holds no self-test: {error}; train the detector again") from error


def prove_same(scorer: Scorer, examples: Iterable[Example], share: float) -> None:
    """Have every example judged again; raises DetectorError for the first that gets another score or verdict.

    `share` is EXACT or ROUNDED.
    """
    card = scorer.card
    for example in examples:
        now, room = judged(scorer, example.name, example.jpeg), allowed(example.score, card, share)
        if now.verdict is not example.verdict or not abs(now.score - example.score) <= room:
            raise DetectorError(
                f"detector {card.name} does not judge as it did when it was made: self-test picture {example.name}, "
                f"expected {example.verdict.value} with a score of {example.score:.4g} ± {room:.2g}, "
                f"got {now.verdict.value} with {now.score:.4g}; export or train it again"
            )
