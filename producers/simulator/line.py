"""A simulated production line: frame number i of a seed, whatever was rendered before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.simulator.camera import Camera, Conditions
from producers.simulator.defects import DEFECTS, Workpiece, defect_named
from producers.simulator.products import product_named
from producers.simulator.schedule import Plan, Schedule
from producers.simulator.seeds import MAX_SEED, generator
from producers.simulator.sprite import Bytes, Sprite
from sightline.errors import SettingsError

GOOD = "good"
"""The label of a frame without defect."""

VISIBLE = 6
"""A pixel counts as changed when any channel of it differs by this many grey levels."""

SMALLEST, LARGEST = 64, 4096
"""Limits of width and height, in pixels."""

_VARIANTS = 6
_BATCH = 48
_COIL = 6
"""Parts in a row that share one of the `_VARIANTS` textures; `_BATCH` of them share a shade of colour."""
_DESIGN = (640.0, 480.0)


@dataclass(frozen=True, slots=True)
class SimulatedFrame:
    """One picture of the line.

    `image` is uint8 [H, W, 3] in BGR, OpenCV's order. `mask` is bool [H, W]: exactly the pixels in which the image
    differs from the picture of the same part without its defect; all false on a good frame. `label` is "good" or the
    kind of defect, `severity` 0…1 how plain it is (0 on a good frame).
    """

    image: Bytes
    mask: NDArray[np.bool_]
    label: str
    product: str
    index: int
    severity: float


class LineSimulator:
    """Pictures of one product on one line.

    Frame `index` is a function of `seed`, `product`, the size and the defect settings alone: the same bytes in any
    order and any process. `defect_rate` 0…1 is the share of defective frames, `kinds` which defects there are (all by
    default), `mean_run` how many bad parts come in a row on average (1: each by itself). A line keeps 10 to 14 MB of
    textures at 640×480, in proportion to the area at other sizes.

    Raises SettingsError naming the value, and the valid names or limits.
    """

    def __init__(
        self,
        product: str,
        seed: int = 0,
        width: int = 640,
        height: int = 480,
        *,
        defect_rate: float = 0.08,
        kinds: Sequence[str] | None = None,
        mean_run: float = 5.0,
    ) -> None:
        self.product = product_named(product)
        self.kinds = tuple(DEFECTS) if kinds is None else tuple(kinds)
        for kind in self.kinds:
            defect_named(kind)
        _check(seed, width, height, defect_rate, mean_run)
        if defect_rate > 0 and not self.kinds:
            raise SettingsError(f"defect_rate is {defect_rate} but kinds is empty; name one of: {', '.join(DEFECTS)}")
        self.seed, self.width, self.height = seed, width, height
        self.schedule = Schedule(seed, product, defect_rate, mean_run, self.kinds)
        scale = min(width / _DESIGN[0], height / _DESIGN[1])
        backdrop = self.product.backdrop(width, height, scale, self._texture("backdrop"))
        self._camera = Camera.over(backdrop, width, height, scale, seed)
        self._pieces: dict[int, Workpiece] = {}
        self._misbuilt: tuple[tuple[int, Plan, float, int], Sprite] | None = None

    def render(self, index: int) -> SimulatedFrame:
        """Frame `index` (0 or more), good or not as the schedule has it."""
        plan = self.schedule.plan(_checked_index(index))
        return self._good(index) if plan is None else self._defective(index, plan)

    def render_as(self, index: int, label: str, severity: float | None = None) -> SimulatedFrame:
        """The part of frame `index` made good (`label` "good") or with the named defect, whatever the schedule has.

        `severity` 0…1; None draws one.
        """
        _checked_index(index)
        if label == GOOD:
            return self._good(index)
        defect_named(label)
        rng = generator(self.seed, self.product.name, "asked", label, index)
        drawn = float(rng.random()) if severity is None else float(severity)
        if not 0 <= drawn <= 1:
            raise SettingsError(f"severity is {severity}; it goes from 0 (faint) to 1 (plain)")
        return self._defective(index, Plan(label, drawn, int(rng.integers(2**31))))

    def _good(self, index: int) -> SimulatedFrame:
        conditions, piece = self._setting(index)
        image = self._camera.expose(piece.sprite, self.product.thickness, conditions)
        mask = np.zeros((self.height, self.width), np.bool_)
        return SimulatedFrame(image, mask, GOOD, self.product.name, index, 0.0)

    def _defective(self, index: int, plan: Plan) -> SimulatedFrame:
        """The frame with its defect, made plainer where the camera would not have seen it at all."""
        conditions, piece = self._setting(index)
        clean = self._camera.expose(piece.sprite, self.product.thickness, conditions)
        severity = plan.severity if plan.kind in _STRUCTURAL else float(np.clip(plan.severity + plan.drift, 0, 1))
        for attempt in range(_ATTEMPTS):
            sprite = self._damage(piece, plan, severity, index, attempt)
            image = self._camera.expose(sprite, self.product.thickness, conditions)
            mask = _changed(image, clean)
            if np.count_nonzero(mask) >= max(4, _LEAST * mask.size):
                break
            severity = min(severity + 0.25, 1.0)
        # below the threshold of sight the part is left as it was, so that the mask is the whole truth
        cv2.copyTo(image, mask.view(np.uint8), clean)
        return SimulatedFrame(clean, mask, plan.kind, self.product.name, index, severity)

    def _damage(self, piece: Workpiece, plan: Plan, severity: float, index: int, attempt: int) -> Sprite:
        if plan.kind in _STRUCTURAL:
            return self._built_wrong(piece, replace(plan, drift=0.0), severity, attempt)
        rng = generator(self.seed, self.product.name, "defect", plan.kind, index, attempt)
        return DEFECTS[plan.kind](piece, rng, severity)

    def _built_wrong(self, piece: Workpiece, plan: Plan, severity: float, attempt: int) -> Sprite:
        """The whole part drawn anew, which is slow, so the last one is kept: its run makes more of them."""
        key = (piece.seed, plan, severity, attempt)
        if self._misbuilt is None or self._misbuilt[0] != key:
            self._misbuilt = key, DEFECTS[plan.kind](piece, generator(plan.run_seed, plan.kind, attempt), severity)
        return self._misbuilt[1]

    def _setting(self, index: int) -> tuple[Conditions, Workpiece]:
        rng = generator(self.seed, self.product.name, "frame", index)
        batch = generator(self.seed, self.product.name, "batch", index // _BATCH)
        variant = int(generator(self.seed, self.product.name, "coil", index // _COIL).integers(_VARIANTS))
        if variant not in self._pieces:
            seed = self._texture("part", variant)
            self._pieces[variant] = Workpiece(self.product, self.product.sprite(self._camera.scale, seed), seed)
        return Conditions.drawn(rng, batch, self.product.play), self._pieces[variant]

    def _texture(self, *address: str | int) -> int:
        return int(generator(self.seed, self.product.name, *address).integers(2**31))


_ATTEMPTS = 5
_LEAST = 0.00012
"""The smallest share of the frame that a defect changes."""
_STRUCTURAL = ("missing_feature", "misalignment")
"""Kinds that a whole run has in common: the tool stands wrong until somebody sets it right."""


def _changed(image: Bytes, clean: Bytes) -> NDArray[np.bool_]:
    """Where any channel differs by `VISIBLE` or more, [h, w]."""
    blue, green, red = cv2.split(cv2.absdiff(image, clean))
    return np.asarray(cv2.max(cv2.max(blue, green), red) >= VISIBLE, np.bool_)


def _checked_index(index: int) -> int:
    if index < 0:
        raise SettingsError(f"frame index is {index}; it counts from 0")
    return index


def _check(seed: int, width: int, height: int, defect_rate: float, mean_run: float) -> None:
    for name, size in (("width", width), ("height", height)):
        if not SMALLEST <= size <= LARGEST:
            raise SettingsError(f"{name} is {size}; the simulator draws {SMALLEST} to {LARGEST} pixels")
    if not 0 <= seed <= MAX_SEED:
        raise SettingsError(f"seed is {seed}; it must be 0 to {MAX_SEED}")
    if not 0 <= defect_rate <= 1:
        raise SettingsError(f"defect_rate is {defect_rate}; it is a share of all frames, 0 to 1")
    if not 1 <= mean_run <= 10_000:
        raise SettingsError(f"mean_run is {mean_run}; a run has 1 to 10000 frames on average")
