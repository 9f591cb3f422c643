"""What `sightline retrain` asks of the history, and what it is told: two processes, since Spark's memory must be free
before training starts. `models.retrain` asks, `streaming.retrain_set` answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

SET_FOLDER = "set"
"""The training set, beside the answer."""
ANSWER_FILE = "history.json"


class ReportKind(StrEnum):
    """Why a frame says something about a detector that no other does."""

    FALSE_ALARM = "false-alarm"
    """Called defect, and an operator said that it was none."""
    MISS = "miss"
    """Known to be defective, and not called so."""
    CONFIRMED = "confirmed"
    """Called defect, and an operator confirmed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """`folder` takes the answer; `since` is when the champion was trained, `digest` its bundle's.

    `limit` is the most unanswered good frames of the set; answered ones are all in it. With `only_if_drifted` and
    without drift, or with nothing new and no `force`, there is no set.
    """

    folder: str
    product: str
    since: datetime
    digest: str
    limit: int
    gap_seconds: float
    frames_per_part: int | None
    only_if_drifted: bool
    force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One frame that people or the source told the truth about; `path` is its picture in the set, `split` its split."""

    kind: ReportKind
    path: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryAnswer:
    """What the history holds since the champion was trained; `made` says whether there is a training set.

    `drifted` names cameras, windows and figures in words.
    """

    new_frames: int
    new_answers: int
    drifted: tuple[str, ...]
    made: bool
    reports: tuple[Report, ...] = ()
