"""What lies behind the part: a conveyor belt between rails, or a fixture plate; longer than the frame, to scroll."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from producers.simulator.canvas import Canvas, Colour
from producers.simulator.sprite import Bytes, Lamp, Sprite
from producers.simulator.texture import brushed, clouds, grain

TRAVEL = 160
"""How far, in design units, a backdrop can be scrolled along x."""

_STUDIO = Lamp(azimuth=-2.2, elevation=0.85, ambient=0.45, power=0.5)


@dataclass(frozen=True, slots=True)
class Backdrop:
    """`carpet` [H, W + travel, 3] BGR uint8; rails look the same all along x, so they scroll with it unseen."""

    carpet: Bytes

    def view(self, offset: int, width: int) -> Bytes:
        """A copy of the backdrop [H, width, 3], scrolled by `offset` pixels."""
        return self.carpet[:, offset : offset + width].copy()


def belt(width: int, height: int, scale: float, seed: int, colour: Colour) -> Backdrop:
    """A woven rubber belt with scuffs between two steel guide rails."""
    canvas = _blank(width, height, scale, seed)
    weave = np.sin(canvas.x * 1.15) * np.sin(canvas.y * 1.15)
    wear = clouds(canvas.rng("wear"), canvas.shape, 120 * scale)
    scuffs = brushed(canvas.rng("scuffs"), canvas.shape, 60 * scale)
    tone = 1 + 0.05 * wear + 0.05 * scuffs + 0.05 * grain(canvas.rng("grain"), canvas.shape, 0.6)
    canvas.fill(colour, tone, gloss=0.10)
    canvas.height[:] = 0.22 * weave + 0.12 * grain(canvas.rng("rubber"), canvas.shape, 0.8 * scale)
    for edge, sign in ((-height / scale / 2, 1), (height / scale / 2, -1)):
        _rail(canvas, edge, sign)
    return Backdrop(Sprite.pack(canvas, 0.3).lit(_STUDIO))


def _rail(canvas: Canvas, edge: float, sign: int) -> None:
    """A round-edged steel bar along one edge of the belt, with the shadow that it throws."""
    depth = (canvas.y - np.float32(edge)) * sign
    canvas.shade(np.clip(1 - np.abs(depth - 24) / 12, 0, 1), 0.35)
    bar = canvas.inside(depth - 22)
    strokes = brushed(canvas.rng("rail"), canvas.shape, 9 * canvas.scale)
    canvas.paint(bar, (0.36, 0.36, 0.35), gloss=0.35)
    canvas.vary(1 + 0.035 * strokes * bar)
    canvas.height[:] *= 1 - bar
    canvas.height[:] -= bar * 3.0 * (np.clip(np.abs(depth - 10) / 12, 0, 1) ** 4)


def plate(width: int, height: int, scale: float, seed: int, colour: Colour, pitch: float = 0.0) -> Backdrop:
    """A brushed fixture plate; with `pitch`, a grid of blind holes that far apart, in design units."""
    canvas = _blank(width, height, scale, seed)
    strokes = brushed(canvas.rng("strokes"), canvas.shape, 45 * scale)
    wear = clouds(canvas.rng("wear"), canvas.shape, 160 * scale)
    tone = 1 + 0.03 * strokes + 0.015 * wear + 0.02 * grain(canvas.rng("grain"), canvas.shape)
    canvas.fill(colour, tone, gloss=0.22)
    canvas.height[:] = 0.025 * strokes
    if pitch:
        u = np.mod(canvas.x + np.float32(pitch / 2), np.float32(pitch)) - np.float32(pitch / 2)
        v = np.mod(canvas.y + np.float32(pitch / 2), np.float32(pitch)) - np.float32(pitch / 2)
        hole = canvas.inside(np.hypot(u, v) - np.float32(pitch * 0.14))
        rim = canvas.inside(np.hypot(u, v) - np.float32(pitch * 0.14 + 1.5), soft=3.0)
        canvas.lift(rim, -2.5)
        canvas.shade(hole, 0.25)
    return Backdrop(Sprite.pack(canvas, 0.22).lit(_STUDIO))


def _blank(width: int, height: int, scale: float, seed: int) -> Canvas:
    canvas = Canvas.blank(width / scale + TRAVEL, height / scale, scale, seed)
    canvas.alpha[:] = 1
    return canvas
