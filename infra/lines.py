"""What the demo can watch: a simulated line, a labelled image folder, a video, a camera.

A `Line` only names commands of `producers`; how frames are had stays in that room.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import SettingsError, SourceError
from sightline.settings import run_folder

SIMULATED_GOOD = 160
RECORDED_GOOD = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line to watch: where its good frames are, how to get them, and what the cameras publish."""

    title: str
    product: str
    good_frames: Path
    """Folder to train on, in the layout `train/good` (and `test/…` where labels are known)."""
    prepare: tuple[Sequence[str], ...] = ()
    """Commands of `producers` that fill `good_frames` when it is absent."""
    produce: Sequence[str]
    """Arguments of `producers produce`."""
    train: Sequence[str] = ()
    """More arguments of `models train`."""
    labelled: bool = False


def simulated(product: str, cameras: int, fps: float, seed: int = 7) -> Line:
    """Cameras over a simulated line; the detector learns from other parts of the same line."""
    folder = run_folder() / "data" / product
    making = ["simulate", str(folder), "--product", product, "--seed", str(seed), "--train", str(SIMULATED_GOOD)]
    return Line(
        title=f"{cameras} simulated cameras on {product} at {fps:g} frames/s each",
        product=product,
        good_frames=folder,
        prepare=() if (folder / "train" / "good").is_dir() else (making,),
        produce=[
            f"sim:{product}?seed={seed}",
            "--cameras",
            str(cameras),
            "--fps",
            f"{fps:g}",
            *_named(product, cameras),
        ],
        # simulated parts lie alike and differ enough: trials would take half a minute to find that out
        train=["--variants", "none"],
        labelled=True,
    )


def image_folder(folder: Path, cameras: int, fps: float) -> Line:
    """A folder in the layout of MVTec AD: learns from `train/good`, streams `test/*` once.

    Raises SourceError when the folder or one of the two is missing.
    """
    for needed in (folder, folder / "train" / "good", folder / "test"):
        if not needed.is_dir():
            raise SourceError(
                f"{needed} is not a folder; --images needs DIR/train/good with pictures of good parts to learn from, "
                "and DIR/test/* with the pictures to stream"
            )
    product = product_name(folder)
    return Line(
        title=f"{folder / 'test'} through {cameras} cameras at {fps:g} frames/s each",
        product=product,
        good_frames=folder,
        produce=[
            f"folder:{folder / 'test'}", "--once", "--product", product,
            "--cameras", str(cameras), "--fps", f"{fps:g}", *_named(product, cameras),
        ],
        train=["--mixed-sizes"],
        labelled=True,
    )  # fmt: skip


def recorded(source: str, name: str, fps: float, once: bool) -> Line:
    """A video or a live camera: learns from its first frames, which must show good parts, then watches."""
    folder = run_folder() / "data" / name
    recording = ["record", source, str(folder / "train" / "good"), "--frames", str(RECORDED_GOOD)]
    return Line(
        title=f"{source} at {fps:g} frames/s, learnt from its first {RECORDED_GOOD} frames",
        product=name,
        good_frames=folder,
        prepare=() if (folder / "train" / "good").is_dir() else (recording,),
        produce=[
            source, "--product", name, "--fps", f"{fps:g}", *_named(name, 1), *(["--once"] if once else []),
        ],
    )  # fmt: skip


def video_file(file: Path, fps: float) -> Line:
    """A video file; raises SourceError when it is not there."""
    if not file.is_file():
        raise SourceError(f"{file} is not a file; --video needs a video that OpenCV can read (mp4, avi, mkv)")
    return recorded(f"video:{file}", product_name(file), fps, once=True)


def usb_camera(index: int, fps: float) -> Line:
    """A USB camera."""
    return recorded(f"usb:{index}", f"camera_{index}", fps, once=False)


def choose(
    *, images: Path | None, video: Path | None, camera: int | None, product: str, cameras: int, fps: float
) -> Line:
    """The line that was asked for; raises SettingsError when two were."""
    asked = [f"--{name}" for name, one in (("images", images), ("video", video), ("camera", camera)) if one is not None]
    if len(asked) > 1:
        raise SettingsError(f"{' and '.join(asked)} exclude each other: the demo watches one line; keep one of them")
    if images is not None:
        return image_folder(images, cameras, fps)
    if video is not None:
        return video_file(video, fps)
    if camera is not None:
        return usb_camera(camera, fps)
    return simulated(product, cameras, fps)


def product_name(path: Path) -> str:
    """A product named after a file or folder: letters, digits and underscores."""
    return re.sub(r"\W+", "_", path.resolve().stem).strip("_").lower() or "product"


def _named(product: str, cameras: int) -> list[str]:
    return [part for n in range(1, cameras + 1) for part in ("--camera", f"{product}-cam-{n}")]
