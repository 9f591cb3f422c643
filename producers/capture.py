"""One camera: read, number, encode, queue."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from producers import jpeg
from producers.backlog import Backlog, Policy
from producers.ledger import Ledger
from producers.pacing import Pacer
from producers.settings import ProducerSettings
from producers.sources import Captured, FrameSource, Unreadable
from sightline.contracts import DropReason, Frame
from sightline.errors import SourceError

log = logging.getLogger(__name__)

DEFAULT_FPS = 10.0


@dataclass(slots=True, kw_only=True)
class Camera:
    """A source under a camera's name, its ledger, and what to do when frames come too fast.

    `product` is what its frames show where the source does not say it frame by frame.
    """

    name: str
    product: str
    source: FrameSource
    ledger: Ledger
    policy: Policy
    settings: ProducerSettings

    def run(self, backlog: Backlog, stopping: threading.Event, most: int | None = None) -> None:
        """Capture until the source ends, `most` frames have come or `stopping` is set; raises SourceError."""
        pacer = Pacer(self._fps(), stopping.wait)
        taken = 0
        while (most is None or taken < most) and pacer.wait():
            shot = self.source.read()
            if shot is None:
                return
            taken += 1
            self._take(shot, backlog)

    def _take(self, shot: Captured | Unreadable, backlog: Backlog) -> None:
        sequence = self.ledger.reserve()
        if isinstance(shot, Unreadable):
            self._drop_unreadable(sequence, shot.what, shot.why)
            return
        try:
            frame = self._frame(sequence, shot)
        except SourceError as error:
            self._drop_unreadable(sequence, self.source.name, str(error))
            return
        for dropped in backlog.put(frame, self.policy):
            self.ledger.dropped(dropped.sequence, DropReason.QUEUE_FULL)

    def _frame(self, sequence: int, shot: Captured) -> Frame:
        if isinstance(shot.picture, bytes):
            picture = shot.picture
            width, height = jpeg.size(picture)
        else:
            picture = jpeg.encode(shot.picture, self.settings.jpeg_quality)
            height, width = shot.picture.shape[:2]
        return Frame(
            line=self.ledger.line,
            camera=self.name,
            sequence=sequence,
            captured_at=shot.captured_at,
            product=shot.product or self.product,
            width=width,
            height=height,
            jpeg=picture,
            label=shot.label,
        )

    def _drop_unreadable(self, sequence: int, what: str, why: str) -> None:
        log.warning("unreadable", extra={"camera": self.name, "sequence": sequence, "what": what, "why": why})
        self.ledger.dropped(sequence, DropReason.UNREADABLE)

    def _fps(self) -> float | None:
        if self.source.live:  # the device keeps the pace; waiting would only make its frames older
            return None
        if self.settings.fps is not None:
            return self.settings.fps
        return self.source.fps or DEFAULT_FPS
