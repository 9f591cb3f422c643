"""Sources by name: `sim:bottle_cap?seed=3`, `folder:PATH`, `video:FILE`, `usb:0`, `rtsp://…`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl

from producers.cameras import NetworkCamera, UsbCamera, masked
from producers.folder import ImageFolder
from producers.sources import FrameSource
from producers.video import VideoFile
from sightline.errors import SettingsError

N = TypeVar("N", int, float)

KINDS = ("sim", "folder", "video", "usb")
OPTIONS: Mapping[str, frozenset[str]] = {
    "sim": frozenset({"seed", "width", "height", "defects", "run"}),
    "folder": frozenset({"bits", "product"}),
    "video": frozenset({"product"}),
    "usb": frozenset({"product"}),
    "url": frozenset(),
}
URLS = ("rtsp://", "rtsps://", "http://", "https://")
EXAMPLES = "sim:bottle_cap?seed=3, folder:PATH, video:FILE, usb:0, rtsp://camera/stream"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as a person names it. `kind` is one of `KINDS` or `url`; `part` is (k, n), this camera among n."""

    kind: str
    target: str
    options: Mapping[str, str] = field(default_factory=dict)
    part: tuple[int, int] = (0, 1)

    def __str__(self) -> str:
        return masked(self.target) if self.kind == "url" else f"{self.kind}:{self.target}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a source is to be read, whatever it is."""

    loop: bool = False
    max_fps: float | None = None
    read_timeout: float = 5.0
    product: str | None = None


def parse(text: str) -> SourceSpec:
    """The source that `text` names; raises SettingsError.

    A path alone is a folder or a video, a number alone a USB camera. Options follow a question mark, unless the whole
    is the path of something.
    """
    if text.lower().startswith(URLS):
        return SourceSpec("url", text)
    kind, colon, target = text.partition(":")
    if not colon or kind not in KINDS:
        kind, target = _guess(text), text
    options: dict[str, str] = {}
    if "?" in target and not Path(target).exists():
        target, _, query = target.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - OPTIONS[kind]):
        raise SettingsError(
            f"source {text!r}: {kind} has no option {', '.join(unknown)}; it has {', '.join(sorted(OPTIONS[kind]))}"
        )
    if not target:
        raise SettingsError(f"source {text!r} names nothing; examples: {EXAMPLES}")
    return SourceSpec(kind, target, options)


def split(spec: SourceSpec, cameras: int) -> list[SourceSpec]:
    """One source for several cameras: other parts of a simulated line, shares of a folder, the same video.

    Raises SettingsError for a real camera, which there is only one of.
    """
    if cameras > 1 and spec.kind in ("usb", "url"):
        raise SettingsError(f"{spec} is one camera, not {cameras}; name a source for each instead of --cameras")
    return [replace(spec, part=(number, cameras)) for number in range(cameras)]


def build(spec: SourceSpec, manner: Manner) -> FrameSource:
    """The source, not yet open; raises SettingsError for a value that cannot be."""
    return _BUILDERS[spec.kind](spec, manner)


def _simulated(spec: SourceSpec, _manner: Manner) -> FrameSource:
    from producers.line import SimulatedLine

    return SimulatedLine(
        spec.target,
        seed=_number(spec, "seed", 0, int, 0, 2**31),
        camera=spec.part[0],
        width=_number(spec, "width", 640, int, 64, 4096),
        height=_number(spec, "height", 480, int, 64, 4096),
        defect_rate=_number(spec, "defects", 0.08, float, 0, 1),
        mean_run=_number(spec, "run", 5.0, float, 1, 10_000),
    )


def _folder(spec: SourceSpec, manner: Manner) -> FrameSource:
    return ImageFolder(
        Path(spec.target),
        loop=manner.loop,
        bits=_number(spec, "bits", 16, int, 8, 16),
        part=spec.part,
        product=spec.options.get("product") or manner.product,
    )


def _video(spec: SourceSpec, manner: Manner) -> FrameSource:
    return VideoFile(Path(spec.target), loop=manner.loop, product=spec.options.get("product") or manner.product)


def _usb(spec: SourceSpec, manner: Manner) -> FrameSource:
    if not (spec.target.isascii() and spec.target.isdecimal()):
        raise SettingsError(f"source {spec}: a USB camera is named by its number, such as usb:0")
    product = spec.options.get("product") or manner.product
    return UsbCamera(int(spec.target), max_fps=manner.max_fps, product=product)


def _url(spec: SourceSpec, manner: Manner) -> FrameSource:
    return NetworkCamera(spec.target, timeout=manner.read_timeout, max_fps=manner.max_fps, product=manner.product)


_BUILDERS: Mapping[str, Callable[[SourceSpec, Manner], FrameSource]] = {
    "sim": _simulated,
    "folder": _folder,
    "video": _video,
    "usb": _usb,
    "url": _url,
}


def _guess(text: str) -> str:
    if text.isascii() and text.isdecimal():
        return "usb"
    for path in (Path(text), Path(text.partition("?")[0])):
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "video"
    raise SettingsError(f"source {text!r} is neither a file, a folder nor a kind of source; examples: {EXAMPLES}")


def _number(spec: SourceSpec, name: str, default: N, kind: type[N], low: float, high: float) -> N:
    text = spec.options.get(name)
    if text is None:
        return default
    try:
        number = kind(text)
    except ValueError:
        number = kind(-1)
    if not low <= number <= high:
        raise SettingsError(f"source {spec}: {name} must be a number {low:g} to {high:g}, not {text!r}")
    return number
