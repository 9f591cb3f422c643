"""An image folder as a source of frames."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from producers import jpeg
from producers.opencv import MAX_PIXELS, cv2
from producers.sources import Captured, Image, Unreadable, now
from sightline.codec import MAX_NAME
from sightline.errors import SourceError

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
MAX_FILE_BYTES = 256 * 1024 * 1024
SPLITS = frozenset({"train", "test", "val", "validation"})
MASKS = "ground_truth"
"""The folder of MVTec AD's layout that holds masks, not pictures of parts."""


class ImageFolder:
    """The pictures below a folder, in natural order (`part9` before `part10`). Replayable: nothing is lost by waiting.

    JPEG files are passed on byte for byte; other formats are decoded, and encoded by whoever publishes them. EXIF
    rotation is never applied: pixels go out as they are stored. Of more than 8 bits a channel the upper 8 of `bits`
    are kept (`bits=12` for 12-bit cameras that write 16-bit files), the same for every picture, because stretching
    each one by itself would hide what the detector must see. The list of files is taken when the source is opened.

    The label is the folder's name where that is one of MVTec AD's layout (`train/good`, `test/KIND`), or where a
    folder named `good` stands beside it; otherwise frames have none. `part` is (k, n): every n-th file from the k-th.
    """

    live = False
    fps = None

    def __init__(
        self,
        root: Path,
        *,
        loop: bool = False,
        bits: int = 16,
        part: tuple[int, int] = (0, 1),
        product: str | None = None,
    ) -> None:
        self.root = root
        self.name = f"folder:{root}"
        self.product = product or _dataset_name(root)
        self._loop = loop
        self._bits = bits
        self._part = part
        self._files: list[Path] = []
        self._next = 0
        self._read_this_round = 0

    def open(self) -> None:
        """List the files; raises SourceError when the folder is missing or has no picture."""
        if not self.root.is_dir():
            kind = "a file, not a folder" if self.root.exists() else "not there"
            raise SourceError(f"image folder {str(self.root)!r} is {kind}; name a folder with pictures in it")
        first, step = self._part
        files = list_images(self.root)
        if not files:
            raise SourceError(
                f"image folder {str(self.root)!r} has no picture in it or below it; "
                f"read are files that end in {', '.join(sorted(SUFFIXES))}"
            )
        self._files = files[first::step]
        if not self._files:
            raise SourceError(
                f"image folder {str(self.root)!r} has {len(files)} pictures, too few for {step} cameras; use fewer"
            )
        self._next = self._read_this_round = 0

    def read(self) -> Captured | Unreadable | None:
        """The next picture; raises SourceError when the folder is looped and no file of a whole round was readable."""
        if self._next == len(self._files):
            if not self._loop:
                return None
            if not self._read_this_round:
                raise SourceError(
                    f"none of the {len(self._files)} pictures in {str(self.root)!r} can be read; look at one by hand"
                )
            self._next = self._read_this_round = 0
        path = self._files[self._next]
        self._next += 1
        captured_at = now()
        try:
            picture = read_picture(path, self._bits)
        except (SourceError, OSError) as error:
            return Unreadable(what=str(path), why=str(error), captured_at=captured_at)
        self._read_this_round += 1
        return Captured(picture=picture, captured_at=captured_at, label=label_of(path))

    def close(self) -> None:
        self._files = []
        self._next = 0


def list_images(root: Path) -> list[Path]:
    """Every picture below `root` in natural order; hidden files and folders and `ground_truth` are left out."""
    return sorted(_walk(root), key=lambda path: [_natural(part) for part in path.relative_to(root).parts])


def label_of(path: Path) -> str | None:
    """The truth that the folder of `path` tells, or None."""
    folder = path.absolute().parent
    named = folder.parent.name.lower() in SPLITS or (folder.parent / "good").is_dir()
    # a name that is no valid text, or too long, would make every frame of the folder a dead letter
    sound = folder.name.isprintable() and len(folder.name) <= MAX_NAME and folder.name.lower() not in SPLITS
    return folder.name if named and sound else None


def read_picture(path: Path, bits: int = 16) -> Image | bytes:
    """A JPEG's bytes as they are, or the pixels of another format; raises SourceError or OSError."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise SourceError(f"it has {size} bytes, more than {MAX_FILE_BYTES}")
    data = path.read_bytes()
    if not data:
        raise SourceError("it is empty")
    if data.startswith(jpeg.MAGIC):
        jpeg.size(data)  # without a size in its header it cannot be described, so not be published
        return data
    return _decode(data, bits)


def _decode(data: bytes, bits: int) -> Image:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise SourceError(f"it cannot be decoded: {error.err}") from error
    if image is None:
        raise SourceError(f"it is damaged, no picture, or larger than {MAX_PIXELS // 10**6} megapixels")
    if image.dtype == np.uint8:
        return np.asarray(image)
    if image.dtype == np.uint16:
        return np.asarray(np.minimum(image >> (bits - 8), 255), np.uint8)
    raise SourceError(f"its pixels are {image.dtype}; save it with 8 or 16 bits a channel")


def _walk(root: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name != MASKS]
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield path


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key that takes digits by value, so `part10` follows `part9`; the text breaks ties such as 7 and 007."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts if part]


def _dataset_name(root: Path) -> str | None:
    """The data set that a folder of MVTec AD's layout belongs to: `bottle` for `bottle/test/broken`, else its name."""
    folder = root.absolute()
    for part in (folder, folder.parent):
        if part.name.lower() in SPLITS and part.parent.name:
            return part.parent.name
    return folder.name or None
