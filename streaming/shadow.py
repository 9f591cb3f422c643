"""Challengers beside the champions: they score the same pictures, and nothing follows from what they say.

Delivery: at least once, with the same ids after a replay, for the frames that the fraction chooses and that a
challenger was loaded for. What a challenger does, failing included, never touches a champion's verdict: it is asked
afterwards.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.decode import decode
from sightline import codec
from sightline.contracts import DetectorRef, ShadowInspection
from streaming.detectors import CHALLENGERS, Bundle, Load, Loaded, Pointer
from streaming.finding import Finding, find
from streaming.records import Opened, Outgoing

log = logging.getLogger(__name__)

_LONGEST_ERROR = 500


class Challengers:
    """The challenger of each product, loaded in a thread of its own: no frame waits for one."""

    def __init__(self, folder: Path, load: Load) -> None:
        self._pointer = Pointer(folder / CHALLENGERS)
        self._load = load
        self._wanted: dict[str, Bundle] = {}
        self._loaded: dict[str, Loaded] = {}
        self._loading: threading.Thread | None = None
        self._turn = threading.Lock()

    def refresh(self) -> None:
        """Let go of challengers that are none any more, and begin to load what is new."""
        bundles = self._pointer.changed()
        if bundles is not None:
            self._wanted = bundles
            for product, loaded in list(self._loaded.items()):
                if product not in bundles or bundles[product].ref != loaded.ref:
                    self._loaded.pop(product, None)
            self._loading = threading.Thread(target=self._load_all, args=(bundles,), name="challengers", daemon=True)
            self._loading.start()

    def for_product(self, product: str) -> Loaded | None:
        """The challenger of `product`, once it is loaded."""
        loaded, wanted = self._loaded.get(product), self._wanted.get(product)
        return loaded if loaded and wanted and loaded.ref == wanted.ref else None

    def wait(self) -> None:
        """Return when everything that was begun is loaded, or refused."""
        if self._loading:
            self._loading.join()

    def _load_all(self, bundles: dict[str, Bundle]) -> None:
        with self._turn:
            for product, bundle in bundles.items():
                current = self._loaded.get(product)
                if (current and current.ref == bundle.ref) or self._wanted.get(product) != bundle:
                    continue
                facts = {"product": product, "detector": bundle.version}
                try:
                    scorer = self._load(Path(bundle.folder))
                except Exception as error:  # noqa: BLE001 - logged; there is then no challenger, and the line goes on
                    log.error("challenger refused", extra=facts | {"error": str(error)})
                    continue
                self._loaded[product] = Loaded(scorer, bundle.ref)
                log.info("challenger scores beside the champion", extra=facts)


class Shadow:
    """Takes frames that a champion has judged, and tells on demand what the challengers say of them."""

    def __init__(self, challengers: Challengers, topic: str, fraction: float) -> None:
        self._challengers = challengers
        self._topic = topic
        self._fraction = fraction
        self._waiting: dict[str, list[Opened]] = {}
        self._told: set[str] = set()

    def refresh(self) -> None:
        """Pick up changed challengers; once per micro-batch is enough."""
        self._challengers.refresh()

    def take(self, opened: Opened, champion: DetectorRef) -> None:
        """Keep the frame for `judge`, if it is one of the fraction and its product has a challenger."""
        frame = opened.frame
        challenger = self._challengers.for_product(frame.product)
        if challenger and challenger.ref != champion and chosen(frame.camera, frame.sequence, self._fraction):
            self._waiting.setdefault(frame.product, []).append(opened)

    def judge(self) -> list[Outgoing]:
        """A shadow inspection for each frame that was taken since the last call; raises nothing."""
        waiting, self._waiting = self._waiting, {}
        found: list[Outgoing] = []
        for product, group in waiting.items():
            if challenger := self._challengers.for_product(product):
                found += [self._outgoing(one) for one in self._score(challenger, group)]
        return found

    def _score(self, challenger: Loaded, group: list[Opened]) -> list[ShadowInspection]:
        began = time.perf_counter()
        try:
            images = np.stack([_image(opened, challenger.scorer.card) for opened in group])
            scores = challenger.scorer.score(images)
            card = challenger.scorer.card
            findings = [find(opened, images[row], card, scores, row) for row, opened in enumerate(group)]
        except Exception as error:  # noqa: BLE001 - whatever a challenger does, the line goes on
            if len(group) > 1:
                return [one for opened in group for one in self._score(challenger, [opened])]
            self._tell(challenger, error)
            return [_shadow(group[0], challenger, began, 1, None, f"{type(error).__name__}: {error}"[:_LONGEST_ERROR])]
        return [
            _shadow(opened, challenger, began, len(group), finding, None)
            for opened, finding in zip(group, findings, strict=True)
        ]

    def _tell(self, challenger: Loaded, error: Exception) -> None:
        """Say once a version that it fails; each failure is a record with an error."""
        if challenger.ref.digest not in self._told:
            self._told.add(challenger.ref.digest)
            log.error("challenger fails", extra={"detector": challenger.ref.version, "error": str(error)})

    def _outgoing(self, shadow: ShadowInspection) -> Outgoing:
        headers = codec.event_headers(shadow, shadow.inspection_id)
        return Outgoing(self._topic, shadow.camera.encode(), codec.encode(shadow), headers)


def chosen(camera: str, sequence: int, fraction: float) -> bool:
    """Whether a frame is one of `fraction` of all frames: by camera and sequence alone, so that a replay agrees."""
    return int(codec.digest_id(camera, sequence)[:8], 16) / 2**32 < fraction


def _image(opened: Opened, card: DetectorCard) -> NDArray[np.uint8]:
    """The picture at the challenger's size: the champion's, where that is the same."""
    if opened.decoded.image.shape[:2] == (card.input_height, card.input_width):
        return opened.decoded.image
    return decode(opened.frame.jpeg, card.input_height, card.input_width, opened.view).image


def _shadow(
    opened: Opened, challenger: Loaded, began: float, frames: int, finding: Finding | None, error: str | None
) -> ShadowInspection:
    frame, ref = opened.frame, challenger.ref
    return ShadowInspection(
        inspection_id=codec.digest_id(frame.camera, frame.sequence, frame.captured_at, ref.version),
        line=frame.line,
        camera=frame.camera,
        sequence=frame.sequence,
        captured_at=frame.captured_at,
        product=frame.product,
        threshold=challenger.scorer.card.threshold,
        detector=ref,
        scored_at=datetime.now(UTC),
        milliseconds=(time.perf_counter() - began) * 1000 / frames,
        score=finding.score if finding else None,
        verdict=finding.verdict if finding else None,
        regions=finding.regions if finding else (),
        label=frame.label,
        thumbnail=finding.thumbnail if finding else None,
        error=error,
    )
