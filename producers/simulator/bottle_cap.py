"""A crown cap from above: 21 crimped flutes, a lacquered dome, a ring of lettering around a star."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producers.simulator.canvas import Canvas
from producers.simulator.fault import Fault
from producers.simulator.texture import Floats, brushed, clouds, grain

EXTENT = (372.0, 372.0)
ROUGHNESS = 0.20

FLUTES = 21
RIM = 166.0
TABLE = 118.0
"""Radius of the flat top, where the lacquer is printed."""

RED = (0.13, 0.11, 0.66)
CREAM = (0.72, 0.85, 0.91)
NAVY = (0.26, 0.12, 0.08)
GOLD = (0.22, 0.55, 0.74)


@dataclass(frozen=True, slots=True)
class _Print:
    """Where the print lies on the cap and what of it is there; `gap` is a sector without ink, in radians."""

    x: float = 0.0
    y: float = 0.0
    turn: float = 0.0
    star: bool = True
    gap: tuple[float, float] | None = None


def draw(canvas: Canvas, fault: Fault | None = None) -> None:
    """Paint the cap; a missing feature is the star, a sector of print or crimped flutes."""
    plain = _Print()
    flat = None
    if fault and fault.kind == "misplaced":
        x, y = fault.shift(7, 20)
        plain = _Print(x, y, fault.twist(0.12, 0.5))
    elif fault:
        half = 0.22 + 0.45 * fault.severity
        match fault.one_of(3):
            case 0:
                plain = _Print(star=False)
            case 1:
                plain = _Print(gap=(fault.bearing, half))
            case _:
                flat = (fault.bearing, half)
    _steel(canvas, flat)
    _ink(canvas, plain)


def _steel(canvas: Canvas, flat: tuple[float, float] | None) -> None:
    """The pressed and lacquered sheet; `flat` is a sector (middle, half width) whose flutes were never crimped."""
    radius, angle = canvas.radius(), canvas.angle()
    wave = np.cos(FLUTES * angle)
    if flat:
        wave = wave * (1 - 0.92 * _sector(angle, *flat))
    edge = RIM + 4.5 * wave
    slant = 4.5 * FLUTES * np.sin(FLUTES * angle) / np.maximum(radius, 40)
    canvas.alpha[:] = canvas.inside((radius - edge) / np.sqrt(1 + slant**2))

    fall = np.clip((radius - TABLE) / (RIM + 6 - TABLE), 0, 1)
    canvas.height[:] = 34 - 30 * fall**1.6 - 2.5 * (np.minimum(radius, TABLE) / TABLE) ** 2
    canvas.height[:] += 5.0 * wave * np.clip((radius - 120) / 34, 0, 1) ** 1.3
    canvas.lift(canvas.ring(0, 0, 113, 117, soft=3), -1.0)
    orange_peel = clouds(canvas.rng("peel"), canvas.shape, 9 * canvas.scale, octaves=2)
    canvas.height[:] += 0.045 * orange_peel
    canvas.fill(RED, 1 + 0.03 * grain(canvas.rng("lacquer"), canvas.shape, 0.7), gloss=0.62)
    # the valleys between the flutes see less light, and the raw edge shows steel
    canvas.shade(np.clip(0.5 - 0.5 * wave, 0, 1) * np.clip((radius - 128) / 26, 0, 1), 0.48)
    raw = canvas.inside(edge - 3.0 - radius, soft=2.0)
    canvas.paint(raw * 0.85, (0.60, 0.62, 0.62), gloss=0.8)


def _ink(canvas: Canvas, plain: _Print) -> None:
    """The print: band, lettering, navy field and star, with a little wear that differs from cap to cap."""
    radius = canvas.radius(plain.x, plain.y)
    dry = 1 - 0.05 * np.clip(clouds(canvas.rng("ink"), canvas.shape, 20 * canvas.scale), 0, 2)
    if plain.gap:
        dry = dry * (1 - _sector(canvas.angle(), *plain.gap))
    dry = dry * canvas.disc(0, 0, TABLE + 8, soft=6)
    for inner, outer, colour in ((106, 110, GOLD), (73, 101, CREAM), (-1, 69, NAVY), (62, 64.5, GOLD)):
        ring = canvas.inside(np.abs(radius - np.float32((inner + outer) / 2)) - np.float32((outer - inner) / 2))
        canvas.paint(ring * dry, colour, gloss=0.75 if colour == GOLD else None)
    canvas.paint(_lettering(canvas, plain, "SIGHTLINE", -np.pi / 2, 1) * dry, NAVY)
    canvas.paint(_lettering(canvas, plain, "MINERAL WATER", np.pi / 2, -1) * dry, RED)
    for side in (0.0, np.pi):
        x, y = plain.x + 87 * np.cos(side + plain.turn), plain.y + 87 * np.sin(side + plain.turn)
        dot = canvas.window(x, y, 8)
        dot.paint(dot.disc(x, y, 4.5), GOLD)
    if plain.star:
        strokes = 1 + 0.05 * brushed(canvas.rng("star"), canvas.shape, 20 * canvas.scale)
        star = canvas.polygon(_star(plain.x, plain.y, 54, plain.turn))
        canvas.paint(star * dry, CREAM, tone=strokes)
        canvas.paint(canvas.polygon(_star(plain.x, plain.y, 30, plain.turn)) * dry, RED)


def _lettering(canvas: Canvas, plain: _Print, words: str, middle: float, sense: int) -> Floats:
    """Letters along the band around the angle `middle`; `sense` −1 sets them upright at the bottom."""
    pitch = 0.205 if len(words) < 11 else 0.175
    covered = np.zeros(canvas.shape, np.float32)
    for index, letter in enumerate(words):
        where = middle + plain.turn + sense * pitch * (index - (len(words) - 1) / 2)
        x, y = plain.x + 87 * np.cos(where), plain.y + 87 * np.sin(where)
        turn = where + sense * np.pi / 2
        window = canvas.window(x, y, 16)
        rows, columns = _place(canvas, window)
        covered[rows, columns] = np.maximum(covered[rows, columns], window.text(letter, x, y, 15, turn, 700))
    return covered


def _place(canvas: Canvas, window: Canvas) -> tuple[slice, slice]:
    row = int(np.searchsorted(canvas.y[:, 0], window.y[0, 0]))
    column = int(np.searchsorted(canvas.x[0], window.x[0, 0]))
    return slice(row, row + window.shape[0]), slice(column, column + window.shape[1])


def _star(x: float, y: float, size: float, turn: float) -> NDArray[np.float64]:
    spikes = np.arange(10) * np.pi / 5 - np.pi / 2 + turn
    reach = np.where(np.arange(10) % 2 == 0, size, size * 0.45)
    return np.stack([x + reach * np.cos(spikes), y + reach * np.sin(spikes)], axis=1)


def _sector(angle: Floats, middle: float, half: float) -> Floats:
    """1 within `half` radians of the angle `middle`, falling softly to 0 at its edges."""
    away = np.abs(np.angle(np.exp(1j * (angle - middle)))).astype(np.float32)
    inside: Floats = np.clip((np.float32(half) - away) / np.float32(0.06) + 0.5, 0, 1)
    return inside
