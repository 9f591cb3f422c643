"""A judgement as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from models import dataset
from models.judging.judgement import Judgement

_TEMPLATE = "report.html.j2"

_METRICS = {
    "image_auroc": ("Image AUROC", "chance that a defective frame scores above a good one", ".3f"),
    "image_pr_auc": ("Image PR-AUC", "average precision over all thresholds", ".3f"),
    "f1": ("F1", "at the threshold", ".3f"),
    "f1_max": ("Best possible F1", "at the best threshold for these frames", ".3f"),
    "accuracy": ("Accuracy", "share of frames called right, at the threshold", ".1%"),
    "false_alarm_rate": ("False alarms", "share of good frames called defective", ".1%"),
    "pixel_auroc": ("Pixel AUROC", "the same chance for single pixels", ".3f"),
    "aupro_30": ("AUPRO 0.3", "overlap with each defect, up to 30 % of good pixels called", ".3f"),
    "aupro_05": ("AUPRO 0.05", "the same, up to 5 %: sharp outlines only", ".3f"),
}
_HEADLINE = ("image_auroc", "f1", "false_alarm_rate", "aupro_30")
_PLOTS = {
    "histogram": ("Scores", "Frames by score. At or above the solid line is a defect, in the shaded band a review."),
    "roc": ("ROC", "Defects called against good frames called, for every threshold."),
    "precision_recall": ("Precision and recall", "The dotted line is what guessing would give."),
    "confusion": ("Called and labelled", "Counts, and shares of each row."),
}
_WIDE_PLOT = "histogram"
_PICTURES = {
    "overlays": (
        "Defects from the clearest to the faintest",
        "Left as the camera saw it, right the heat map; the outline is the labelled mask. Above: score of threshold.",
    ),
    "false_alarms": (
        "Worst false alarms",
        "Good frames with the highest scores, called defective or put up for review. Is the label right?",
    ),
    "misses": ("Worst misses", "Defective frames below the threshold, the lowest score first."),
}


def render(judgement: Judgement, pictures: Mapping[str, bytes]) -> str:
    """The report with `pictures` (PNG by name, of `models.judging.plots.draw`) inside.

    Names of files, kinds and detectors are escaped: whoever fills a folder of pictures does not write the page.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["embedded"] = _embedded
    environment.filters["rate"] = _rate
    template = environment.from_string(files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        judgement=judgement,
        card=judgement.card,
        cut=judgement.thresholds,
        headline=[_metric(judgement, name) for name in _HEADLINE if name in judgement.metrics],
        metrics=[_metric(judgement, name) for name in _METRICS if name in judgement.metrics],
        calibration=judgement.thresholds.details,
        kinds={kind: count for kind, count in judgement.kinds.items() if kind != dataset.GOOD},
        good=judgement.kinds.get(dataset.GOOD),
        wide=(*_PLOTS[_WIDE_PLOT], pictures[_WIDE_PLOT]),
        plots=[(*text, pictures[name]) for name, text in _PLOTS.items() if name in pictures and name != _WIDE_PLOT],
        grids=[(*text, pictures[name]) for name, text in _PICTURES.items() if name in pictures],
    )


def _metric(judgement: Judgement, name: str) -> dict[str, str]:
    title, meaning, form = _METRICS[name]
    return {"name": name, "title": title, "meaning": meaning, "value": format(judgement.metrics[name], form)}


def _embedded(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _rate(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2%}"
