"""A labelled folder of simulated pictures in the layout of MVTec AD, for training and evaluation.

FOLDER/train/good/000.png                      good parts to learn from
FOLDER/test/good/000.png                       good parts that were not learned from
FOLDER/test/scratch/000.png                    one folder for each kind of defect
FOLDER/ground_truth/scratch/000_mask.png       white where the picture shows the defect
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.simulator.defects import DEFECTS
from producers.simulator.line import GOOD, LineSimulator, SimulatedFrame
from sightline.errors import SettingsError

SPACING = 7
"""Frames between two pictures, so that a small set still sees several batches."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What was written: `folder`, and the number of pictures by path below it, such as `test/scratch`."""

    folder: Path
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class _Job:
    split: str
    label: str
    number: int
    index: int


def write_dataset(
    folder: Path,
    product: str,
    seed: int = 0,
    train: int = 160,
    test_good: int = 40,
    test_defective: int = 80,
    *,
    width: int = 640,
    height: int = 480,
    kinds: Sequence[str] | None = None,
) -> DatasetSummary:
    """Write `train` + `test_good` good and `test_defective` bad pictures as PNG into a new or empty `folder`.

    The bad ones are shared out evenly over `kinds` (all by default), severities evenly from faint to plain. No picture
    shows the same part twice, and the same arguments give the same bytes. Raises SettingsError for a folder that
    already holds something, a negative number, or an unknown product or kind.
    """
    line = LineSimulator(product, seed, width, height, defect_rate=0.0, kinds=kinds)
    _check(folder, train=train, test_good=test_good, test_defective=test_defective)
    if test_defective and not line.kinds:
        raise SettingsError(f"test_defective is {test_defective} but kinds is empty; name one of: {', '.join(DEFECTS)}")
    counts: dict[str, int] = {}
    for job in _jobs(train, test_good, test_defective, line.kinds):
        frame = line.render_as(job.index, job.label)
        _save(folder, job, frame)
        place = f"{job.split}/{job.label}"
        counts[place] = counts.get(place, 0) + 1
    return DatasetSummary(folder, counts)


def _jobs(train: int, test_good: int, test_defective: int, kinds: tuple[str, ...]) -> Iterator[_Job]:
    picture = 0
    for split, count in (("train", train), ("test", test_good)):
        for number in range(count):
            yield _Job(split, GOOD, number, picture * SPACING)
            picture += 1
    for turn in range(test_defective):
        yield _Job("test", kinds[turn % len(kinds)], turn // len(kinds), picture * SPACING)
        picture += 1


def _save(folder: Path, job: _Job, frame: SimulatedFrame) -> None:
    name = f"{job.number:03d}"
    _write(folder / job.split / job.label / f"{name}.png", frame.image)
    if job.label != GOOD:
        _write(folder / "ground_truth" / job.label / f"{name}_mask.png", frame.mask.astype(np.uint8) * np.uint8(255))


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    path.write_bytes(data.tobytes())


def _check(folder: Path, **counts: int) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} already holds something; name a new or an empty folder")
    for name, count in counts.items():
        if count < 0:
            raise SettingsError(f"{name} is {count}; it is a number of pictures, 0 or more")
    if not sum(counts.values()):
        raise SettingsError("there is nothing to write: train, test_good and test_defective are all 0")
