"""The versions of one product's detector side by side, from what their MLflow runs hold."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from models import registry
from models.judging.tracking import METRIC_PREFIX
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings

SHOWN = ("image_auroc", "image_pr_auc", "f1_max", "f1", "pixel_auroc", "aupro_30", "synthetic_auroc")
SPEED = "frames_per_second_batch_16"


@dataclass(frozen=True, slots=True)
class Compared:
    """One version; `numbers` holds the metrics in SHOWN and its frames/s, where they are known."""

    version: str
    aliases: tuple[str, ...]
    method: str
    numbers: Mapping[str, float]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def compared(product: str, settings: RegistrySettings) -> list[Compared]:
    """All versions of `product`, the newest first; raises RegistryError when there is none."""
    found = [entry for entry in registry.entries(settings) if entry.detector.product == product]
    if not found:
        raise RegistryError(f"no detector of {product!r} is registered; train one with `sightline train`")
    return [
        Compared(entry.detector.version, entry.aliases, entry.params.get("method", "–"), _numbers(entry.metrics))
        for entry in found
    ]


def draw(product: str, rows: Sequence[Compared]) -> bytes:
    """Every metric of every version as dots, PNG: what moves from version to version is seen at once."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in SHOWN if any(name in row.numbers for row in rows)]
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
    figure = Figure(figsize=(8, 1.2 + 0.45 * max(2, len(rows))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(rows))
    for name, colour in zip(names, colours, strict=False):
        known = [(row.numbers[name], place) for place, row in zip(places, rows, strict=True) if name in row.numbers]
        axes.plot([x for x, _ in known], [y for _, y in known], "o", color=colour, label=name.replace("_", " "))
    labels = [" ".join(filter(None, (f"v{row.version}", row.method, *row.aliases))) for row in rows]
    axes.set_yticks(list(places), labels)
    axes.invert_yaxis()
    axes.margins(y=0.3 / max(1, len(rows)))
    axes.grid(axis="x", color="#dddddd")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(f"Detectors of {product}", loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those of the last evaluation where there was one, else those of training."""
    found = {}
    for name in (*SHOWN, SPEED):
        for source in (METRIC_PREFIX + name, name):
            if source in metrics:
                found[name] = metrics[source]
                break
    return found
