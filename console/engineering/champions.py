"""Champion against challenger, on the frames that both judged."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

from pydantic import BaseModel

from console.agreement import compare
from console.api.problems import Problem
from console.api.shapes import Shape
from console.shadow import as_json
from console.tables import History
from sightline.errors import SightlineError, TableError


class Pair(Shape):
    """Two versions that judged the same frames."""

    champion: str
    challenger: str
    frames: int


class Difference(Shape):
    """A frame that one calls a defect and the other does not; `truth` is a label or an operator's word."""

    camera: str
    sequence: int
    captured_at: datetime
    champion_score: float
    challenger_score: float
    truth: str | None


class Differences(Shape):
    frames: int
    examples: list[Difference]


class Failures(Shape):
    frames: int
    errors: list[str]


class Found(Shape):
    """How right one version was on frames with a truth; a figure that is not defined is null."""

    auroc: float | None
    precision: float | None
    recall: float | None
    f1: float | None


class Truth(Shape):
    """Frames with a truth, from labels and from operators, and how right each version was on them."""

    by_label: int
    by_operator: int
    champion: Found
    challenger: Found


class Comparison(BaseModel):
    """Champion and challenger on the same frames; `verdicts` by the champion's, then the challenger's."""

    product: str
    champion: str
    challenger: str
    frames: int
    agreed: int
    agreement: float | None
    verdicts: dict[str, dict[str, int]]
    champion_only: Differences
    challenger_only: Differences
    failures: Failures
    rank_correlation: float | None
    correlation: float | None
    milliseconds: float | None
    truth: Truth | None
    others: list[Pair]


def compared(
    history: History,
    product: str,
    since: datetime | None = None,
    champion: str | None = None,
    challenger: str | None = None,
) -> Comparison:
    """The pair that judged last unless versions are named; raises Problem 404 where no frame was judged by both."""
    try:
        found = compare(history, product, since=since, champion=champion, challenger=challenger)
    except TableError:
        raise
    except SightlineError as error:
        raise Problem(HTTPStatus.NOT_FOUND, "no-comparison", str(error)) from error
    return Comparison.model_validate(as_json(found))
