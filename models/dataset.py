"""Folders of pictures to learn from: MVTec AD's layout, or one flat folder of good frames."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.runtime.decode import decode
from models.runtime.transcode import as_jpeg
from models.runtime.view import View, white
from sightline.errors import FrameError, SourceError
from sightline.trainingset import GOOD as GOOD
from sightline.trainingset import MIN_GOOD as MIN_GOOD

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled test picture: `kind` is `good` or a defect type; `mask`, where known, is non-zero on the defect."""

    path: Path
    kind: str
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Good frames to learn from, in the order of their names, and labelled ones to test on, if any."""

    root: Path
    good: tuple[Path, ...]
    test: tuple[Sample, ...] = ()


def read_dataset(root: Path) -> Dataset:
    """The data set in `root`; raises SourceError when it is missing or has fewer than MIN_GOOD good pictures.

    With `train/good` inside, `test/KIND` and `ground_truth/KIND` are read too (masks are named after their picture,
    with or without `_mask`); otherwise the pictures directly in `root` are taken as good.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder; name one with pictures of good parts")
    layout = (root / "train" / GOOD).is_dir()
    folder = root / "train" / GOOD if layout else root
    good = _pictures(folder)
    if len(good) < MIN_GOOD:
        raise SourceError(
            f"{folder} holds {len(good)} pictures ({', '.join(sorted(SUFFIXES))}), at least {MIN_GOOD} good ones are "
            "needed; add more, or name a folder with train/good in it"
        )
    return Dataset(root, good, _tests(root) if layout else ())


def read_labelled(root: Path) -> tuple[Sample, ...]:
    """The labelled pictures in `test/KIND` of `root`, with their masks; nothing to learn from needs to be there.

    Raises SourceError when there are none.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder; name one with labelled pictures in test/KIND")
    found = _tests(root)
    if not found:
        raise SourceError(
            f"{root} holds no labelled pictures: put good ones in {root / 'test' / GOOD}, defective ones in "
            f"{root / 'test'}/KIND, and masks, if there are any, in {root / 'ground_truth'}/KIND"
        )
    return found


def data_digest(dataset: Dataset) -> str:
    """SHA-256 in hex over names and contents of the good pictures."""
    digest = hashlib.sha256()
    for path in sorted(dataset.good):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(dataset.root).as_posix()}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def load_images(paths: Sequence[Path], height: int, width: int, view: View | None = None) -> NDArray[np.uint8]:
    """Pictures of any size and depth as the stream would deliver them: uint8 [N, height, width, 3] RGB.

    With a `view` they are cut to its region; its mask is for maps (`models.runtime.view.masked`). Raises SourceError
    naming the file that cannot be read, or that the view is not for.
    """
    images = np.empty((len(paths), height, width, 3), np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            image[:] = decode(as_jpeg(path.read_bytes()), height, width, view).image
        except FrameError as error:
            raise SourceError(f"{path} cannot be used: {error}; repair or remove it") from error
    return images


def load_mask(path: Path, height: int, width: int, view: View | None = None) -> NDArray[np.bool_]:
    """A ground-truth mask, [height, width], of what `view` lets be seen; raises SourceError when it cannot be read."""
    mask = _decoded(path, cv2.IMREAD_GRAYSCALE)
    if view:
        try:
            x, y, wide, high = view.covered(mask.shape[1], mask.shape[0])
        except FrameError as error:
            raise SourceError(f"{path} cannot be used: {error}") from error
        mask = mask[y : y + high, x : x + wide]
        if view.mask is not None:
            mask = np.where(white(view), mask, 0).astype(np.uint8)
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small > 0)


def _pictures(folder: Path) -> tuple[Path, ...]:
    return tuple(
        sorted(
            path
            for path in folder.iterdir()
            if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    )


def _tests(root: Path) -> tuple[Sample, ...]:
    folder = root / "test"
    if not folder.is_dir():
        return ()
    return tuple(
        Sample(path, kind.name, _mask(root, kind.name, path))
        for kind in sorted(folder.iterdir())
        if kind.is_dir() and not kind.name.startswith(".")
        for path in _pictures(kind)
    )


def _mask(root: Path, kind: str, picture: Path) -> Path | None:
    folder = root / "ground_truth" / kind
    candidates = (folder / f"{picture.stem}{ending}.png" for ending in ("_mask", ""))
    return next((path for path in candidates if path.is_file()), None)


def _decoded(path: Path, flags: int) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    except (cv2.error, OSError) as error:
        raise SourceError(f"{path} cannot be read ({error}); repair or remove it") from error
    if image is None:
        raise SourceError(f"{path} is damaged or no picture; repair or remove it")
    return np.asarray(image)
