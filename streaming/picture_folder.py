"""A folder of pictures that are to be scored, with their labels where it tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import SourceError
from sightline.trainingset import GOOD

SUFFIXES = ("jpg", "jpeg", "jpe", "png", "bmp", "tif", "tiff", "webp", "pgm", "ppm")
"""Of files that are pictures, in small letters."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """`label` is the name of the picture's folder in a labelled set, None elsewhere."""

    path: Path
    label: str | None


def read_folder(root: Path, good_names: Sequence[str] = (GOOD,)) -> list[PictureFile]:
    """All pictures below `root`, in the order of their paths.

    With `test` inside (MVTec AD's layout) those below it alone. They are labelled when one of the folders there is
    named as in `good_names`, which all become GOOD. Files and folders that start with a dot are passed over. Raises
    SourceError when there are none.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder; name one with pictures in it")
    top = root / "test" if (root / "test").is_dir() else root
    labelled = any((top / name).is_dir() for name in good_names)
    found = []
    for path in sorted(top.rglob("*")):
        parts = path.relative_to(top).parts
        if path.suffix.lower().lstrip(".") not in SUFFIXES or any(part.startswith(".") for part in parts):
            continue
        label = parts[0] if labelled and len(parts) > 1 else None
        if path.is_file():
            found.append(PictureFile(path, GOOD if label in good_names else label))
    if not found:
        raise SourceError(f"{top} holds no pictures ({', '.join(SUFFIXES)}); name a folder that does")
    return found
