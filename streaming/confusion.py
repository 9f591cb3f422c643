"""What pictures are, against what a detector called them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sightline.contracts import Verdict
from sightline.trainingset import GOOD

ERROR = "error"
CALLED = (Verdict.OK.value, Verdict.REVIEW.value, Verdict.DEFECT.value, ERROR)
"""Columns of the matrix; a picture that could not be judged has one of its own."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """`counts` of (label, called); GOOD is one label, all others are kinds of defects."""

    counts: Counter[tuple[str, str]]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str | None, str | None]]) -> Confusion:
        """From labels and classes; None is no label, and not counted, or no class, which is an error."""
        return cls(Counter((label, called or ERROR) for label, called in pairs if label is not None))

    def rows(self) -> dict[str, dict[str, int]]:
        """Counts by label, good first, and by what was called."""
        labels = sorted({label for label, _ in self.counts}, key=lambda label: (label != GOOD, label))
        return {label: {called: self.counts[label, called] for called in CALLED} for label in labels}

    def summary(self) -> dict[str, int]:
        """The four cells of two classes; a review counts as not called, and what could not be judged not at all."""
        cells = Counter[str]()
        for (label, called), count in self.counts.items():
            if called != ERROR:
                right = (label == GOOD) != (called == Verdict.DEFECT.value)
                sign = "positives" if called == Verdict.DEFECT.value else "negatives"
                cells[f"{'true' if right else 'false'}_{sign}"] += count
        names = ("true_positives", "false_negatives", "false_positives", "true_negatives")
        return {name: cells[name] for name in names}
