"""How right the verdicts were, for frames whose truth is known: out of the tables, by scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from console.tables import History
from sightline.contracts import Verdict
from sightline.errors import SightlineError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

GOOD = "good"
"""The label of frames without a defect; every other label names a defect."""


@dataclass(frozen=True, slots=True)
class Row:
    """One truth against the three verdicts, in frames."""

    ok: int
    review: int
    defect: int

    @property
    def total(self) -> int:
        return self.ok + self.review + self.defect


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts and measures of one group of labelled frames.

    Only the verdict `defect` counts as found: `review` is neither right nor wrong, but lowers recall where the frame
    was defective. `auroc` ranks by score and needs both kinds of frames; over several products it is the mean of each
    product's own, weighted by frames, because scores of different detectors have different units. A measure that is not
    defined for the group is None.
    """

    group: str
    good: Row
    defective: Row
    auroc: float | None
    precision: float | None
    recall: float | None
    f1: float | None

    @property
    def frames(self) -> int:
        return self.good.total + self.defective.total


@dataclass(frozen=True, slots=True)
class KindRecall:
    """How many frames with one kind of defect were found."""

    kind: str
    frames: int
    found: int
    review: int

    @property
    def recall(self) -> float:
        return self.found / self.frames


@dataclass(frozen=True, slots=True)
class Report:
    """`overall`, then the same by product and camera, and by kind of defect; `unlabelled` frames are left out."""

    overall: Scores
    products: tuple[Scores, ...]
    cameras: tuple[Scores, ...]
    kinds: tuple[KindRecall, ...]
    detectors: tuple[str, ...]
    unlabelled: int


def judge(history: History, *, product: str | None = None, since: datetime | None = None) -> Report:
    """Compare verdicts with labels, of all frames or those of one product captured since a moment.

    Raises TableError when there is no table `inspections`, and SightlineError when no frame in it has a label.
    """
    history.require("inspections")
    chosen = {"product": product, "since": since}
    unlabelled = _query(history, "SELECT count(*) AS n", "label IS NULL", chosen)["n"][0].as_py()
    frames = _query(history, f"SELECT {_COLUMNS}", "label IS NOT NULL", chosen)
    if not frames.num_rows:
        raise SightlineError(_nothing_labelled(product, since, unlabelled))
    columns = {name: frames[name].to_numpy() for name in frames.column_names}
    return Report(
        overall=scores_of("all", columns),
        products=tuple(scores_of(*group) for group in _groups(columns, "product")),
        cameras=tuple(scores_of(*group) for group in _groups(columns, "camera")),
        kinds=tuple(_recall(*group) for group in _groups(columns, "label") if group[0] != GOOD),
        detectors=tuple(sorted(set(columns["detector"]))),
        unlabelled=unlabelled,
    )


_COLUMNS = "camera, product, label, verdict, score, detector.name || ' v' || detector.version AS detector"
_CHOSEN = """
($product IS NULL OR product = $product)
AND ($since IS NULL OR (captured_at >= $since AND day >= ($since::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE))
"""

Columns = dict[str, "NDArray[Any]"]


def _query(history: History, select: str, where: str, chosen: dict[str, Any]) -> pa.Table:
    return history.connection.query(
        f"{select} FROM inspections WHERE {where} AND {_CHOSEN}", params=chosen
    ).to_arrow_table()


def _groups(columns: Columns, by: str) -> Iterator[tuple[str, Columns]]:
    for name in sorted(set(columns[by])):
        chosen = columns[by] == name
        yield name, {key: values[chosen] for key, values in columns.items()}


def scores_of(group: str, columns: Columns) -> Scores:
    """Counts and measures of frames; `columns` hold their `label`, `verdict`, `score` and `product`."""
    from sklearn.metrics import precision_recall_fscore_support

    truth, verdict = columns["label"] != GOOD, columns["verdict"]
    good, defective = _row(verdict[~truth]), _row(verdict[truth])
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, verdict == "defect", average="binary", pos_label=True, zero_division=0.0
    )
    return Scores(
        group=group,
        good=good,
        defective=defective,
        auroc=_auroc(columns),
        precision=float(precision) if good.defect + defective.defect else None,
        recall=float(recall) if defective.total else None,
        f1=float(f1) if defective.total else None,
    )


def _row(verdicts: NDArray[Any]) -> Row:
    return Row(**{verdict.value: int((verdicts == verdict.value).sum()) for verdict in Verdict})


def _auroc(columns: Columns) -> float | None:
    """Mean of each product's own, weighted by frames; None where no product has both kinds of frames."""
    from sklearn.metrics import roc_auc_score

    areas, weights = [], []
    for _, group in _groups(columns, "product"):
        truth = group["label"] != GOOD
        if truth.any() and not truth.all():
            areas.append(float(roc_auc_score(truth, group["score"])))
            weights.append(len(truth))
    if not areas:
        return None
    return sum(area * weight for area, weight in zip(areas, weights, strict=True)) / sum(weights)


def _recall(kind: str, columns: Columns) -> KindRecall:
    verdicts = _row(columns["verdict"])
    return KindRecall(kind=kind, frames=verdicts.total, found=verdicts.defect, review=verdicts.review)


def _nothing_labelled(product: str | None, since: datetime | None, unlabelled: int) -> str:
    which = "".join(
        (f" of product {product!r}" if product else "", f" since {since.isoformat()}" if since else ""),
    )
    if not unlabelled:
        return f'there are no inspections{which}; `sightline query "FROM detectors"` lists what was inspected'
    return (
        f"none of the {unlabelled:,} inspections{which} has a label, so there is no truth to compare with; labels come "
        "from the folder names under test/ (`sightline produce FOLDER`) and from the simulator"
    )
