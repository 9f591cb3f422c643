"""What every source of frames offers, and the three ways in which a frame can fail to come.

A source is opened once by the thread that owns it and read until it ends. `read` gives a `Captured` frame; an
`Unreadable` one, which existed but cannot be used and is counted as dropped; or None when the source has ended. A live
source that lost its camera raises `SourceLostError`: it may come back, see `producers.reconnecting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.errors import SourceError

Image = NDArray[np.uint8]
"""Pixels uint8 [H, W, 3] in BGR, the order of OpenCV."""


class SourceLostError(SourceError):
    """A live source has no frames now but may have some later; trying again makes sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One frame: `picture` is pixels, or the bytes of a JPEG that is published as it is.

    `label` is the known truth (`good` or a kind of defect), `product` what the source knows it to show.
    """

    picture: Image | bytes
    captured_at: datetime
    label: str | None = None
    product: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A frame that was there and could not be read: which one, and what is wrong with it."""

    what: str
    why: str
    captured_at: datetime


class FrameSource(Protocol):
    """Where frames come from. Each implementation states in its docstring whether it is live or replayable."""

    @property
    def name(self) -> str:
        """For logs and messages; never holds a password."""

    @property
    def live(self) -> bool:
        """True when frames that are not read are lost: nothing may make such a source wait for long."""

    @property
    def fps(self) -> float | None:
        """The source's own pace in frames a second; None when it has none, or keeps it by itself."""

    @property
    def product(self) -> str | None:
        """The product that all frames show, where the source can tell."""

    def open(self) -> None:
        """Get ready; raises SourceError, or SourceLostError where waiting may help."""

    def read(self) -> Captured | Unreadable | None:
        """The next frame, None at the end; raises SourceLostError or SourceError."""

    def close(self) -> None:
        """Let go of the device or file; harmless when it is not open."""


def now() -> datetime:
    """The time that a frame captured at this moment carries."""
    return datetime.now(UTC)
