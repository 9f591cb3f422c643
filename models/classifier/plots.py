"""Figures of a classifier, as PNG: what was called what, precision and recall of each class, loss of each epoch.

Built without pyplot, so nothing global is touched.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from models.classifier.card import UNKNOWN
from models.classifier.learning import History
from models.classifier.metrics import Floats, Targets
from models.judging.plots import DEFECT, GOOD, drawable

_DPI = 120
_NAME = 18
_CELL = 0.75


def confusion(table: NDArray[np.intp], classes: tuple[str, ...]) -> bytes:
    """`table` [C, C + 1]: labels down, answers across; shades are shares of a row."""
    count = len(classes)
    figure, axes = _figure((2.4 + _CELL * (count + 1), 1.8 + _CELL * count))
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(table):
        color = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(value), ha="center", va="center", color=color)
    names = [drawable(name, _NAME) for name in classes]
    axes.set_xticks(range(count + 1), [*names, UNKNOWN], rotation=35, ha="right")
    axes.set_yticks(range(count), names)
    axes.set(xlabel="called", ylabel="labelled")
    return _png(figure)


def precision_recall(
    probabilities: Floats, targets: Targets, classes: tuple[str, ...], areas: dict[str, float]
) -> bytes:
    """One curve for each class that has pictures, against all others; `areas` as `metrics.measure` names them."""
    figure, axes = _figure((5.6, 4.4))
    for index in np.unique(targets):
        precision, recall, _ = precision_recall_curve(targets == index, probabilities[:, index])
        area = areas[f"pr_auc/{classes[index]}"]
        axes.step(recall, precision, where="post", label=f"{drawable(classes[index], _NAME)} {area:.3f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower left", fontsize=8)
    return _png(figure)


def losses(history: History) -> bytes:
    """Loss of each epoch; epoch 0 is the linear layer on frozen features."""
    figure, axes = _figure((5.6, 3.2))
    epochs = range(len(history.learnt))
    axes.plot(epochs, history.learnt, "o-", color=GOOD, label="learnt from")
    axes.plot(epochs, history.chosen_by, "o-", color=DEFECT, label="chosen by")
    axes.axvline(history.kept, color="grey", linestyle=":", label="kept")
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    return _png(figure)


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    return figure, figure.add_subplot()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
