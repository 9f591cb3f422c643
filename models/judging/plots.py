"""Figures of a judgement, as PNG: scores, curves, confusion, and the frames behind them.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), told apart by people of any colour vision.
Figures are built without pyplot, so nothing global is touched and threads may draw at once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from models import dataset
from models.dataset import Sample, load_images, load_mask
from models.judging.judgement import Judgement
from models.judging.thresholds import recalibrated
from models.runtime.interpret import overlay_thumbnail
from models.runtime.view import View

GOOD, DEFECT, REVIEW, OUTLINE = "#0072B2", "#D55E00", "#E69F00", "#56B4E9"

_INK, _SOFT, _GRID = "#1d2733", "#5b6673", "#e3e7eb"
_FONT = "DejaVu Sans"
_DPI = 144
_WIDE, _SQUARE = (9.6, 3.4), (4.4, 4.0)
_SIDE = 256
_COLUMNS = 3
_SHOWN = 6
_NAME = 30
_HEADROOM = 1.3
"""Heat maps are drawn up to this many thresholds: stronger than operators see them, to show faint defects."""


def draw(judgement: Judgement) -> dict[str, bytes]:
    """Name to PNG, for every plot that the labels allow; raises SourceError for a picture that cannot be read."""
    figures: dict[str, Callable[[Judgement], Figure]] = {"histogram": histogram, "confusion": confusion}
    if 0 < judgement.defect.sum() < len(judgement.defect):
        figures |= {"roc": roc, "precision_recall": precision_recall}
    pictures = {name: _png(figure(judgement)) for name, figure in figures.items()}
    tiles: dict[str, Callable[[Judgement], Figure | None]] = {
        "overlays": overlays,
        "false_alarms": false_alarms,
        "misses": misses,
    }
    for name, grid in tiles.items():
        if (figure := grid(judgement)) is not None:
            pictures[name] = _png(figure)
    return pictures


def histogram(judgement: Judgement) -> Figure:
    """How good and defective frames score, and where the thresholds cut."""
    scores, defect, cut = judgement.scores.scores, judgement.defect, judgement.thresholds
    figure, axes = _figure(_WIDE)
    low, high = float(min(scores.min(), cut.review_threshold)), float(max(scores.max(), cut.threshold))
    margin = max((high - low) * 0.03, 1e-6 * max(1.0, abs(high)))
    bins = np.linspace(low - margin, high + margin, 41).tolist()
    for label, values, color in (("good", scores[~defect], GOOD), ("defective", scores[defect], DEFECT)):
        if len(values):
            axes.hist(values, bins, color=color, alpha=0.35)
            axes.hist(values, bins, color=color, histtype="step", linewidth=1.4, label=f"{label} ({len(values)})")
    axes.axvspan(cut.review_threshold, cut.threshold, color=REVIEW, alpha=0.16, linewidth=0, label="review band")
    axes.axvline(cut.threshold, color=_INK, linewidth=1.4, label=f"threshold {cut.threshold:.3g}")
    axes.axvline(cut.review_threshold, color=_SOFT, linewidth=1.2, linestyle="--")
    axes.set(xlabel="score", ylabel="frames")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01), ncols=4, fontsize=9, labelcolor=_INK, frameon=False, borderpad=0
    )
    return figure


def roc(judgement: Judgement) -> Figure:
    """Share of defects called over share of good frames called; needs both labels."""
    alarms, found, _ = roc_curve(judgement.defect, judgement.scores.scores, drop_intermediate=False)
    figure, axes = _curve("false-alarm rate", "share of defects called")
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=":")
    axes.plot(alarms, found, color=GOOD, linewidth=2, label=f"area {judgement.metrics['image_auroc']:.3f}")
    confusion = _confusion(judgement)
    good, defective = confusion.sum(1)
    axes.plot(confusion[0, 2] / good, confusion[1, 2] / defective, "o", color=DEFECT, label="at the threshold", ms=7)
    _legend(axes, loc="lower right")
    return figure


def precision_recall(judgement: Judgement) -> Figure:
    """Share of calls that are right over share of defects called; needs both labels."""
    precision, found, _ = precision_recall_curve(judgement.defect, judgement.scores.scores)
    figure, axes = _curve("share of defects called (recall)", "share of calls that are right (precision)")
    axes.axhline(judgement.defect.mean(), color=_SOFT, linewidth=1, linestyle=":")
    area = judgement.metrics["image_pr_auc"]
    axes.step(found, precision, where="post", color=GOOD, linewidth=2, label=f"average precision {area:.3f}")
    confusion = _confusion(judgement)
    called = confusion[:, 2].sum()
    if called:
        reached = confusion[1, 2] / confusion[1].sum()
        axes.plot(reached, confusion[1, 2] / called, "o", color=DEFECT, label="at the threshold", ms=7)
    _legend(axes, loc="lower left")
    return figure


def confusion(judgement: Judgement) -> Figure:
    """What good and defective frames were called."""
    counts = _confusion(judgement)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = _figure(_SQUARE)
    axes.set(xlim=(-0.5, 2.5), ylim=(1.5, -0.5))
    axes.set_aspect("equal")
    for row, right in ((0, 0), (1, 2)):
        for column in range(3):
            color = GOOD if column == right else REVIEW if column == 1 else DEFECT
            share = float(shares[row, column])
            axes.add_patch(_cell(column, row, color, 0.08 + 0.72 * share))
            ink = "white" if share > 0.55 and color != REVIEW else _INK
            axes.text(column, row - 0.06, str(counts[row, column]), ha="center", va="center", size=17, color=ink)
            axes.text(column, row + 0.24, f"{share:.0%}", ha="center", va="center", size=9, color=ink)
    axes.set_xticks(range(3), ["ok", "review", "defect"])
    axes.set_yticks(range(2), ["good", "defective"], rotation=90, va="center")
    axes.set(xlabel="called", ylabel="labelled")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def overlays(judgement: Judgement) -> Figure | None:
    """Defective frames from the highest score to the lowest, evenly chosen, masked ones first; None without any."""
    scores = judgement.scores.scores
    defective = [index for index in np.argsort(-scores) if judgement.samples[index].kind != dataset.GOOD]
    pool = [index for index in defective if judgement.samples[index].mask] or defective
    places = np.linspace(0, len(pool) - 1, min(_SHOWN, len(pool))).round().astype(int)
    return _tiles(judgement, [int(pool[place]) for place in places])


def false_alarms(judgement: Judgement) -> Figure | None:
    """Good frames at or above the review threshold, the highest first; None without any."""
    scores, cut = judgement.scores.scores, judgement.thresholds.review_threshold
    order = [int(index) for index in np.argsort(-scores) if not judgement.defect[index] and scores[index] >= cut]
    return _tiles(judgement, order[:_SHOWN])


def misses(judgement: Judgement) -> Figure | None:
    """Defective frames below the threshold, the lowest first; None without any."""
    scores, cut = judgement.scores.scores, judgement.thresholds.threshold
    order = [int(index) for index in np.argsort(scores) if judgement.defect[index] and scores[index] < cut]
    return _tiles(judgement, order[:_SHOWN])


def drawable(text: str, most: int = _NAME) -> str:
    """`text` with what the plots' font lacks replaced, and its middle left out where it is longer than `most`."""
    font = get_font(findfont(FontProperties(family=_FONT)))
    shown = "".join(
        letter if letter.isprintable() and font.get_char_index(ord(letter)) else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )
    half = (most - 1) // 2
    return shown if len(shown) <= most else f"{shown[:half]}…{shown[-half:]}"


def _confusion(judgement: Judgement) -> NDArray[np.intp]:
    """Frames by label (good, defective) and by what they were called (ok, review, defect); [2, 3]."""
    cut = judgement.thresholds
    called = np.searchsorted([cut.review_threshold, cut.threshold], judgement.scores.scores, "right")
    return np.bincount(3 * judgement.defect + called, minlength=6).reshape(2, 3)


def _tiles(judgement: Judgement, chosen: Sequence[int]) -> Figure | None:
    """Each chosen frame twice: as the camera saw it, and with its heat map and the outline of its mask."""
    if not chosen:
        return None
    card = judgement.card
    columns = min(_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.05, wspace=0.0, hspace=0.03)
    figure = Figure(figsize=(0.2 + 3.1 * columns, 2.15 * rows), layout=layout, facecolor="white")
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    paths = [judgement.samples[index].path for index in chosen]
    images = load_images(paths, card.input_height, card.input_width, judgement.view)
    shown = replace(recalibrated(card, judgement.thresholds), map_scale=_HEADROOM * judgement.thresholds.threshold)
    for axes, index, image in zip(cells, chosen, images, strict=False):
        sample, score = judgement.samples[index], float(judgement.scores.scores[index])
        picture = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        jpeg = overlay_thumbnail(image, judgement.scores.maps[index], shown, _SIDE, _SIDE)
        heat = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        gap = np.full((_SIDE, 8, 3), 255, np.uint8)
        axes.imshow(np.hstack([picture, gap, heat]))
        _outline(axes, sample, judgement.view, left=_SIDE + gap.shape[1])
        title = f"{drawable(sample.kind, 12)}/{drawable(sample.path.name)}\n{score:.2f} of {shown.threshold:.2f}"
        axes.set_title(title, size=9, color=_INK, loc="left", parse_math=False, linespacing=1.25)
    for axes in cells:
        axes.set_axis_off()
    return figure


def _outline(axes: Axes, sample: Sample, view: View | None, left: int) -> None:
    if sample.mask is None:
        return
    mask = load_mask(sample.mask, _SIDE, _SIDE, view).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        closed = np.vstack([outline[:, 0], outline[:1, 0]])
        for color, width in (("white", 2.4), (OUTLINE, 1.3)):
            axes.plot(closed[:, 0] + left, closed[:, 1], color=color, linewidth=width)


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_SOFT)
    axes.tick_params(colors=_SOFT, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=_INK, size=10)
    return figure, axes


def _curve(across: str, up: str) -> tuple[Figure, Axes]:
    figure, axes = _figure(_SQUARE)
    axes.set(xlabel=across, ylabel=up, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_aspect("equal")
    return figure, axes


def _cell(column: int, row: int, color: str, opacity: float) -> Rectangle:
    return Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=color, alpha=opacity, linewidth=0)


def _legend(axes: Axes, loc: Literal["lower left", "lower right"]) -> None:
    axes.legend(loc=loc, fontsize=9, labelcolor=_INK, frameon=True, framealpha=0.9, edgecolor=_GRID)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
