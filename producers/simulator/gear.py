"""A turned steel spur gear: 30 teeth, a stepped hub with keyway, six countersunk bolt holes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.simulator.canvas import Canvas
from producers.simulator.fault import Fault
from producers.simulator.texture import clouds, grain, turned

EXTENT = (384.0, 384.0)
ROUGHNESS = 0.20

TEETH = 30
ROOT, TIP = 150.0, 175.0
BORE = 36.0
HOLES = 6
HOLE, CIRCLE = 13.0, 110.0
"""Radius of a bolt hole, and of the circle they lie on."""

STEEL = (0.50, 0.49, 0.47)


def draw(canvas: Canvas, fault: Fault | None = None) -> None:
    """Paint the gear; a missing feature is a hole, the keyway or a tooth, a misplaced one a hole or the bore."""
    holes = [(CIRCLE * np.cos(turn), CIRCLE * np.sin(turn)) for turn in np.arange(HOLES) * np.pi / 3]
    bore, keyway, tooth = (0.0, 0.0), True, None
    if fault and fault.kind == "misplaced":
        if fault.pick < 0.3:
            bore = fault.shift(7, 14)
        else:
            chosen = int((fault.pick - 0.3) / 0.7 * HOLES) % HOLES
            dx, dy = fault.shift(8, 20)
            holes[chosen] = (holes[chosen][0] + dx, holes[chosen][1] + dy)
    elif fault:
        chosen = fault.one_of(HOLES + 4)
        if chosen < HOLES:
            del holes[chosen]
        elif chosen == HOLES:
            keyway = False
        else:
            tooth = int((fault.bearing / (2 * np.pi)) % 1 * TEETH)
    _blank(canvas, tooth)
    _hub(canvas, bore, keyway)
    for x, y in holes:
        _bolt_hole(canvas, x, y)


def _blank(canvas: Canvas, missing_tooth: int | None) -> None:
    """The toothed disc as it leaves the lathe, with tool marks, chamfer, sunken web and engraving."""
    radius = canvas.radius()
    canvas.alpha[:] = canvas.polygon(_outline(missing_tooth))
    depth = cv2.distanceTransform((canvas.alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / canvas.scale

    marks = turned(canvas.rng("turning"), radius, 1.3)
    coarse = turned(canvas.rng("feed"), radius, 5.0)
    stains = clouds(canvas.rng("oil"), canvas.shape, 70 * canvas.scale)
    tone = 1 + 0.035 * marks + 0.02 * coarse + 0.035 * stains + 0.02 * grain(canvas.rng("grain"), canvas.shape)
    canvas.fill(STEEL, tone, gloss=0.55)
    canvas.height[:] = 0.085 * marks + 0.05 * coarse
    canvas.height[:] -= 3.0 * np.clip(1 - depth / 4, 0, 1)
    web = canvas.ring(0, 0, 80, 140, soft=4)
    canvas.lift(web, -4.0)
    canvas.shade(web, 0.86)
    canvas.shade(canvas.inside(np.abs(radius - 140) - 1.2, soft=3) * 0.8, 0.6)
    canvas.shade(canvas.inside(np.abs(radius - 80) - 1.2, soft=3) * 0.8, 0.6)
    for words, x, y in (("SL-30", 0.0, -110.0), ("M2.5", 0.0, 111.0)):
        window = canvas.window(x, y, 34)
        letters = window.text(words, x, y, 12, weight=600)
        window.lift(letters, -0.8)
        window.shade(letters, 0.45)


def _outline(missing_tooth: int | None) -> NDArray[np.float64]:
    """Corners of the toothed disc, [n, 2]."""
    phase = np.linspace(0, 2 * np.pi, TEETH * 48, endpoint=False)
    profile = np.clip(0.5 + 1.25 * np.cos(TEETH * phase), 0, 1)
    if missing_tooth is not None:
        index = np.mod(np.round(phase / (2 * np.pi) * TEETH), TEETH)
        profile[index == missing_tooth] *= 0.06
    edge = ROOT + (TIP - ROOT) * profile
    return np.stack([edge * np.cos(phase), edge * np.sin(phase)], axis=1)


def _hub(canvas: Canvas, bore: tuple[float, float], keyway: bool) -> None:
    x, y = bore
    canvas.lift(canvas.disc(x, y, 66, soft=5), 7.0)
    canvas.shade(canvas.ring(x, y, 64, 72, soft=6) * 0.7, 0.62)
    hole = canvas.disc(x, y, BORE)
    chamfer = canvas.disc(x, y, BORE + 4, soft=5)
    if keyway:
        hole = np.maximum(hole, canvas.box(x, y - BORE, 17, 22, corner=1.5))
        chamfer = np.maximum(chamfer, canvas.box(x, y - BORE, 22, 27, corner=3, soft=4))
    canvas.lift(chamfer, -3.5)
    canvas.cut(hole)


def _bolt_hole(canvas: Canvas, x: float, y: float) -> None:
    window = canvas.window(x, y, HOLE + 12)
    radius = window.radius(x, y)
    cone = np.clip((np.float32(HOLE + 7) - radius) / 7, 0, 1)
    window.lift(cone, -5.0)
    window.shade(cone, 0.9)
    window.gloss[:] += 0.25 * cone
    window.cut(window.disc(x, y, HOLE))
