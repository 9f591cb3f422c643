"""A blister pack: ten scored tablets under clear domes on knurled, printed foil."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from producers.simulator.canvas import Canvas
from producers.simulator.fault import Fault
from producers.simulator.texture import clouds, grain

EXTENT = (556.0, 360.0)
ROUGHNESS = 0.17

WIDTH, HEIGHT = 530.0, 332.0
PILL, POCKET = 31.0, 42.0
FOIL = (0.66, 0.65, 0.63)
CORAL = (0.58, 0.66, 0.90)
INK = (0.46, 0.24, 0.08)


@dataclass(frozen=True, slots=True)
class _Tablet:
    x: float
    y: float
    score: float
    """Direction of the score line, in radians."""


def draw(canvas: Canvas, fault: Fault | None = None) -> None:
    """Paint the pack; a missing feature is a tablet or the print, a misplaced one a tablet or the print."""
    pockets = [(-204.0 + 102 * column, row) for row in (-82.0, 74.0) for column in range(5)]
    turns = canvas.rng("tablets").normal(0, 0.09, len(pockets))
    tablets = [_Tablet(x, y, float(turn)) for (x, y), turn in zip(pockets, turns, strict=True)]
    printed, ink = (0.0, 0.0), True
    if fault:
        chosen = fault.one_of(len(pockets) + 2)
        if chosen >= len(pockets):
            printed = fault.shift(7, 18) if fault.kind == "misplaced" else printed
            ink = fault.kind == "misplaced"
        elif fault.kind == "missing":
            del tablets[chosen]
        else:
            tablet = tablets[chosen]
            dx, dy = fault.shift(5, 13)
            tablets[chosen] = replace(tablet, x=tablet.x + dx, y=tablet.y + dy, score=fault.twist(0.4, 1.5))
    _foil(canvas)
    if ink:
        _print(canvas, *printed)
    for x, y in pockets:
        _pocket(canvas, x, y)
    for tablet in tablets:
        _pill(canvas, tablet)


def _foil(canvas: Canvas) -> None:
    """Aluminium with the cross-hatch of the sealing roller, a perforation down the middle, an embossed edge."""
    distance = canvas.box_distance(0, 0, WIDTH, HEIGHT, corner=22)
    canvas.alpha[:] = canvas.inside(distance)
    knurl = np.sin((canvas.x + canvas.y) * 0.95) * np.sin((canvas.x - canvas.y) * 0.95)
    waves = clouds(canvas.rng("waves"), canvas.shape, 90 * canvas.scale)
    canvas.height[:] = 0.38 * knurl + 0.8 * waves - 2.0 * np.clip((distance + 5) / 5, 0, 1)
    tone = 1 + 0.02 * waves + 0.015 * grain(canvas.rng("grain"), canvas.shape) + 0.05 * knurl
    canvas.fill(FOIL, tone, gloss=0.55)
    for column in (-153.0, -51.0, 51.0, 153.0):
        dashes = canvas.inside(np.abs(canvas.x - np.float32(column)) - 0.9) * (np.mod(canvas.y, 9) < 5)
        canvas.lift(dashes, -1.0)
        canvas.shade(dashes, 0.6)


def _print(canvas: Canvas, dx: float, dy: float) -> None:
    y = -4.0 + dy
    for column in range(5):
        words = "200 mg" if column % 2 else "SIGHTLINE"
        x = -204 + 102 * column + dx
        cell = canvas.window(x, y, 52, 16)
        cell.paint(cell.text(words, x, y, 12, weight=700) * 0.92, INK, gloss=0.3)
    for words, column in (("LOT 24A7-03", -102), ("EXP 2029-11", 102)):
        cell = canvas.window(column + dx, 142 + dy, 52, 14)
        cell.paint(cell.text(words, column + dx, 142 + dy, 10) * 0.85, (0.12, 0.12, 0.12), gloss=0.3)
    bar = canvas.window(dx, -142 + dy, 220, 6)
    bar.paint(bar.box(dx, -142 + dy, 430, 5, corner=2) * 0.9, INK, gloss=0.3)


def _pocket(canvas: Canvas, x: float, y: float) -> None:
    """A clear dome: a smooth glossy wall around a darker well."""
    window = canvas.window(x, y, POCKET + 10)
    radius = window.radius(x, y)
    dome = window.disc(x, y, POCKET)
    window.height[:] *= 1 - dome
    window.height[:] += 9.0 * np.clip((POCKET + 4 - radius) / 12, 0, 1) ** 0.8
    window.paint(dome * 0.75, (0.44, 0.42, 0.41), gloss=0.9)
    window.shade(window.ring(x, y, POCKET - 2, POCKET + 3, soft=4) * 0.7, 0.62)
    window.shade(window.ring(x, y, PILL - 2, PILL + 6, soft=7), 0.62)


def _pill(canvas: Canvas, tablet: _Tablet) -> None:
    """A domed tablet with a bevelled edge and a score line, and the shadow it casts in its pocket."""
    window = canvas.window(tablet.x, tablet.y, PILL + 14)
    radius = window.radius(tablet.x, tablet.y)
    shadow = window.disc(tablet.x + 4, tablet.y + 5, PILL + 1, soft=8)
    window.shade(shadow, 0.55)
    body = window.disc(tablet.x, tablet.y, PILL)
    chalk = grain(window.rng("chalk"), window.shape, 0.8)
    u, v = window.local(tablet.x, tablet.y, tablet.score)
    dome = 14 - 9.0 * (radius / PILL) ** 4 - 2.0 * (radius / PILL) ** 2 + 0.06 * chalk
    groove = window.inside(np.abs(v) - 1.4, soft=3) * window.inside(np.abs(u) - (PILL - 3), soft=3)
    window.height[:] += (dome - 1.8 * groove - window.height) * body
    window.paint(body, CORAL, gloss=0.28, tone=1 + 0.025 * chalk)
    window.shade(groove * body, 0.72)
    window.shade(window.ring(tablet.x, tablet.y, PILL - 4, PILL + 1, soft=4) * body * 0.6, 0.72)
