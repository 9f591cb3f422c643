"""Plots that show what a training set holds, before anything is learnt from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from models.dataset import load_images
from models.runtime.decode import quality
from models.trainingset import TrainingSet, load_training_set
from sightline.trainingset import GOOD, Picture

_SIDE = 256
_BATCH = 16
_MAX_PICTURES = 1500
"""Pictures whose pixels are looked at, drawn evenly from each label; more do not change the plots."""
_SAMPLES = 8
_MAX_LABELS = 12
_MIN_TSNE = 30
"""Fewest pictures for t-SNE; with fewer its neighbourhoods are noise, and two principal components are shown."""
_NEAR = 0.995
"""Cosine of two embeddings from which pictures are shown as near-duplicates."""
_MAX_PAIRS = 6
_DPI = 110
_COLORS = ("#2f6f9f", "#d1495b", "#edae49", "#66a182", "#8d5a97", "#5c4d42", "#3fb8af", "#b7410e", "#999999")


@dataclass(frozen=True, slots=True)
class Measured:
    """What the plots show of each picture: `images` uint8 [N, 256, 256, 3], features float32 [N, C] of length 1,
    `statistics` a row of N per name."""

    pictures: tuple[Picture, ...]
    images: NDArray[np.uint8]
    features: NDArray[np.float32]
    statistics: Mapping[str, NDArray[np.float64]]

    @property
    def labels(self) -> list[str]:
        """Good first, the others by name, at most as many as can be told apart in a plot."""
        found = {picture.label for picture in self.pictures}
        return sorted(found, key=lambda label: (label != GOOD, label))[:_MAX_LABELS]

    def of(self, label: str) -> NDArray[np.intp]:
        """Indices of the pictures with `label`."""
        return np.flatnonzero([picture.label == label for picture in self.pictures])


def explore(root: Path, output: Path, *, mixed_sizes: bool = False, threads: int = 1) -> dict[str, Path]:
    """Write the plots of the set in `root` to the folder `output`: name → PNG.

    Raises SourceError when the set is not sound, as `load_training_set` does.
    """
    measured = measure(load_training_set(root, mixed_sizes=mixed_sizes), threads)
    output.mkdir(parents=True, exist_ok=True)
    figures = {
        "samples": sample_grid(measured),
        "statistics": statistics_plot(measured),
        "embedding": embedding_map(measured),
        "near_duplicates": near_duplicates_plot(measured),
    }
    return {name: _save(figure, output / f"{name}.png") for name, figure in figures.items()}


def measure(found: TrainingSet, threads: int = 1) -> Measured:
    """Pixels, features and statistics of at most 1,500 pictures of the set."""
    pictures = _spread(found.pictures)
    images = load_images([found.root / picture.path for picture in pictures], _SIDE, _SIDE)
    facts = [quality(image) for image in images]
    statistics = {
        "width": np.array([picture.width for picture in pictures], np.float64),
        "height": np.array([picture.height for picture in pictures], np.float64),
        "brightness": np.array([fact.exposure for fact in facts]),
        "contrast": np.array([picture.contrast for picture in pictures]),
        "sharpness": np.array([fact.blur for fact in facts]),
    }
    return Measured(pictures, images, _features(images, threads), statistics)


def near_duplicates(features: NDArray[np.float32], most: int = _MAX_PAIRS) -> list[tuple[int, int, float]]:
    """Pairs of rows of `features` [N, C], of length 1, that look almost alike: (first, second, cosine), closest first.

    The threshold is a cosine of 0.995.
    """
    cosines = np.triu(features @ features.T, 1)
    first, second = np.nonzero(cosines >= _NEAR)
    order = np.argsort(-cosines[first, second], kind="stable")[:most]
    return [(int(first[at]), int(second[at]), float(cosines[first[at], second[at]])) for at in order]


def embedding_positions(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], str]:
    """Places in the plane, [N, 2], and how they were found: t-SNE (van der Maaten 2008) of 50 principal components;
    below 30 pictures the first two components themselves."""
    count = len(features)
    if count < _MIN_TSNE:
        components = PCA(min(2, count), random_state=0).fit_transform(features)
        return np.asarray(np.pad(components, ((0, 0), (0, 2 - components.shape[1]))), np.float64), "PCA"
    reduced = PCA(min(50, count - 1, features.shape[1]), random_state=0).fit_transform(features)
    places = TSNE(perplexity=min(30.0, (count - 1) / 3), init="pca", random_state=0).fit_transform(reduced)
    return np.asarray(places, np.float64), "t-SNE"


def sample_grid(measured: Measured) -> Figure:
    """Eight pictures of each label, evenly spaced."""
    labels = measured.labels
    figure = _figure(1.35 * _SAMPLES + 1, 1.5 * len(labels) + 0.4)
    grid = figure.subplots(len(labels), _SAMPLES, squeeze=False)
    for row, label in zip(grid, labels, strict=True):
        indices = measured.of(label)
        shown = np.unique(np.linspace(0, len(indices) - 1, _SAMPLES).round().astype(int))
        for axes, index in zip_longest(row, indices[shown]):
            _picture(axes, None if index is None else measured.images[index])
        row[0].set_ylabel(f"{label}\n{len(indices)}", rotation=0, ha="right", va="center", fontsize=10)
    figure.suptitle("Samples by label", fontsize=12)
    return figure


def statistics_plot(measured: Measured) -> Figure:
    """Sizes, and the spread of brightness, contrast and sharpness of each label."""
    figure = _figure(11, 6.4)
    (sizes, brightness), (contrast, sharpness) = figure.subplots(2, 2)
    _sizes(sizes, measured)
    for axes, name, unit in (
        (brightness, "brightness", "mean luminance, 0–255"),
        (contrast, "contrast", "deviation of the luminance, 0–255"),
        (sharpness, "sharpness", "variance of the Laplacian at 256 × 256"),
    ):
        _strips(axes, measured, measured.statistics[name])
        axes.set_title(name.capitalize(), fontsize=11)
        axes.set_xlabel(unit, fontsize=9)
    return figure


def embedding_map(measured: Measured) -> Figure:
    """Each picture where the backbone's features put it; pictures that look alike lie together."""
    places, method = embedding_positions(measured.features)
    figure = _figure(8.6, 6.4)
    axes = figure.subplots()
    for label, color in zip(measured.labels, _cycle(len(measured.labels)), strict=True):
        at = measured.of(label)
        marker = "o" if label == GOOD else "X"
        axes.scatter(
            places[at, 0],
            places[at, 1],
            s=34,
            c=color,
            marker=marker,
            alpha=0.8,
            linewidths=0.4,
            edgecolors="white",
            label=label,
        )
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"Embedding map ({method} of lite0 features, {len(places)} pictures)", fontsize=11)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _plain(axes)
    return figure


def near_duplicates_plot(measured: Measured) -> Figure:
    """The pairs of pictures that are almost the same, closest first."""
    pairs = near_duplicates(measured.features)
    rows = max(1, -(-len(pairs) // 3))
    figure = _figure(11, 2.3 * rows + 0.5)
    grid = figure.subplots(rows, 6, squeeze=False)
    for axes, pair in zip_longest(grid.reshape(-1, 2), pairs):
        for place, index in zip_longest(axes, pair[:2] if pair else ()):
            _picture(place, None if index is None else measured.images[index])
            if index is not None:
                place.set_title(measured.pictures[index].path[-30:], fontsize=7)
        if pair:
            axes[0].set_xlabel(f"cosine {pair[2]:.4f}", fontsize=8)
    title = "Near-duplicates, closest first" if pairs else "No near-duplicates"
    figure.suptitle(f"{title} (cosine of features from {_NEAR})", fontsize=12)
    return figure


def _features(images: NDArray[np.uint8], threads: int) -> NDArray[np.float32]:
    """Mean features of the deepest level, of length 1."""
    import torch

    from models import backbone

    torch.set_num_threads(threads)
    loaded = backbone.load()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (loaded.mean, loaded.std))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2).float()
            deepest = loaded.module((batch / 255 - mean) / std)[-1]
            parts.append(torch.nn.functional.normalize(deepest.mean(dim=(2, 3))).numpy())
    return np.asarray(np.concatenate(parts), np.float32)


def _spread(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """At most 1,500 of the pictures, the same share of each label, at least eight."""
    if len(pictures) <= _MAX_PICTURES:
        return tuple(pictures)
    chosen: list[Picture] = []
    for label in sorted({picture.label for picture in pictures}):
        same = [picture for picture in pictures if picture.label == label]
        wanted = min(len(same), max(_SAMPLES, len(same) * _MAX_PICTURES // len(pictures)))
        chosen += [same[at] for at in np.linspace(0, len(same) - 1, wanted).round().astype(int)]
    return tuple(chosen)


def _sizes(axes: Axes, measured: Measured) -> None:
    widths, heights = measured.statistics["width"], measured.statistics["height"]
    sizes, counts = np.unique(np.stack([widths, heights], axis=1).astype(int), axis=0, return_counts=True)
    order = np.argsort(-counts)[:8]
    names = [f"{width} × {height}" for width, height in sizes[order]]
    bars = axes.barh(names[::-1], counts[order][::-1], color=_COLORS[0], height=min(0.8, 0.25 * len(names)))
    axes.bar_label(bars, padding=3, fontsize=9)
    axes.margins(x=0.15, y=0.4 if len(names) == 1 else 0.05)
    more = f" (8 of {len(sizes)} sizes)" if len(sizes) > 8 else ""
    axes.set_title(f"Size in pixels{more}", fontsize=11)
    axes.set_xlabel("pictures", fontsize=9)
    _plain(axes)


def _strips(axes: Axes, measured: Measured, values: NDArray[np.float64]) -> None:
    """One row per label: every picture a dot, a box for the quartiles."""
    rng = np.random.default_rng(0)
    labels = measured.labels
    for row, (label, color) in enumerate(zip(labels, _cycle(len(labels)), strict=True)):
        own = values[measured.of(label)]
        axes.scatter(own, row + rng.uniform(-0.22, 0.22, len(own)), s=9, c=color, alpha=0.45, linewidths=0)
        if len(own) > 4:
            low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
            axes.hlines(row, low, high, color="#222222", linewidth=5, alpha=0.55)
            axes.plot([middle], [row], "|", color="white", markersize=9, markeredgewidth=2)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    _plain(axes)


def _picture(axes: Axes, image: NDArray[np.uint8] | None) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if image is None:
        axes.set_visible(False)
    else:
        axes.imshow(image)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _cycle(count: int) -> list[str]:
    return [_COLORS[at % len(_COLORS)] for at in range(count)]


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(path)
    return path
