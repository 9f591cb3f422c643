"""A small circuit board: two packages, passives, an electrolytic, a crystal, a header, gold pads and silkscreen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from producers.simulator.canvas import Canvas
from producers.simulator.fault import Fault
from producers.simulator.texture import Floats, clouds, grain

EXTENT = (556.0, 372.0)
ROUGHNESS = 0.19

WIDTH, HEIGHT = 526.0, 346.0
MASK = (0.20, 0.34, 0.07)
TRACE = (0.26, 0.46, 0.12)
GOLD = (0.30, 0.62, 0.78)
SOLDER = (0.66, 0.66, 0.65)
SILK = (0.86, 0.88, 0.86)
BLACK = (0.085, 0.08, 0.08)


_Pad = tuple[float, float, float, float]
"""x, y, width, height of a pad, relative to the middle of its component."""


@dataclass(frozen=True, slots=True)
class _Component:
    """One mounted part: its kind, middle, size along its own axes, and turn in radians."""

    kind: str
    name: str
    x: float
    y: float
    width: float
    height: float
    turn: float = 0.0


LAYOUT = (
    _Component("package", "U1", -70, -20, 112, 112),
    _Component("package", "U2", 118, -96, 84, 46),
    _Component("can", "C1", 196, 36, 62, 62),
    _Component("can", "C2", -206, 60, 46, 46),
    _Component("crystal", "Y1", 60, 24, 62, 25),
    _Component("header", "J1", -20, 138, 232, 26),
    _Component("resistor", "R1", 42, 78, 32, 16),
    _Component("resistor", "R2", 92, 78, 32, 16),
    _Component("resistor", "R3", -212, -60, 16, 32),
    _Component("resistor", "R4", -180, -60, 16, 32),
    _Component("resistor", "R5", 212, -96, 16, 32),
    _Component("capacitor", "C3", -212, -8, 30, 17),
    _Component("capacitor", "C4", -66, -132, 30, 17),
    _Component("capacitor", "C5", -12, -132, 30, 17),
    _Component("capacitor", "C6", 128, 24, 17, 30),
    _Component("capacitor", "C7", 190, 112, 30, 17),
)


def draw(canvas: Canvas, fault: Fault | None = None) -> None:
    """Paint the board; a missing or misplaced feature is any of its components."""
    mounted = list(LAYOUT)
    if fault:
        chosen = fault.one_of(len(mounted))
        if fault.kind == "missing":
            del mounted[chosen]
        else:
            part = mounted[chosen]
            dx, dy = fault.shift(6, 14)
            mounted[chosen] = replace(
                part, x=part.x + dx, y=part.y + dy, turn=fault.twist(0.10, 0.5) * min(1, 60 / part.width)
            )
    _laminate(canvas)
    _traces(canvas)
    for part in LAYOUT:
        _footprint(canvas, part)
    for part in mounted:
        slack = 22 + 0.25 * min(part.width, part.height)
        window = canvas.window(part.x, part.y, 0.5 * part.width + slack, 0.5 * part.height + slack)
        _shadow(window, part)
        BODIES[part.kind](window, part)


def _laminate(canvas: Canvas) -> None:
    distance = canvas.box_distance(0, 0, WIDTH, HEIGHT, corner=12)
    canvas.alpha[:] = canvas.inside(distance)
    cloth = np.sin(canvas.x[:1] * 2.1) + np.sin(canvas.y[:, :1] * 2.1)
    tone = 1 + 0.015 * cloth + 0.02 * grain(canvas.rng("mask"), canvas.shape, 0.7)
    tone += 0.03 * clouds(canvas.rng("batch"), canvas.shape, 110 * canvas.scale)
    canvas.fill(MASK, tone, gloss=0.42)
    canvas.height[:] = 0.13 * clouds(canvas.rng("flow"), canvas.shape, 14 * canvas.scale, octaves=2)
    canvas.paint(canvas.inside(-distance - 2.5) * 0.8, (0.30, 0.48, 0.42), gloss=0.1)
    for x in (-240.0, 240.0):
        for y in (-150.0, 150.0):
            corner = canvas.window(x, y, 18)
            corner.paint(corner.disc(x, y, 14), GOLD, gloss=0.8)
            corner.cut(corner.disc(x, y, 8.5))
    legend = canvas.window(164, 142, 60, 28)
    legend.paint(legend.text("SIGHTLINE", 164, 132, 12, weight=700), SILK, gloss=0.2)
    legend.paint(legend.text("REV C", 164, 153, 9), SILK, gloss=0.2)


def _traces(canvas: Canvas) -> None:
    """Copper under the mask: bundles that run straight, bend by 45 degrees and end in vias."""
    lines = []
    for start, bend, end in _ROUTES:
        for lane in range(4):
            shift = 7.0 * lane
            points = np.array([start, bend, end], np.float64) + np.array([[0, shift], [shift * 0.4, shift], [0, shift]])
            lines.append(points)
    copper = canvas.paths(lines, 2.4)
    canvas.paint(copper, TRACE)
    canvas.lift(copper, 0.5)
    for x, y in (line[-1] for line in lines):
        window = canvas.window(x, y, 8)
        window.paint(window.disc(x, y, 4.6), GOLD, gloss=0.75)
        window.paint(window.disc(x, y, 1.9), (0.05, 0.06, 0.05), gloss=0.0)


_ROUTES = (
    ((-250, -110), (-150, -110), (-112, -76)),
    ((-10, -50), (30, -90), (72, -90)),
    ((-10, -20), (20, 10), (36, 10)),
    ((-126, 8), (-160, 42), (-176, 50)),
    ((-100, 40), (-140, 84), (-140, 118)),
    ((-40, 40), (0, 82), (24, 82)),
    ((110, 60), (150, 100), (172, 100)),
    ((165, -100), (196, -60), (230, -60)),
    ((96, -66), (136, -26), (236, -26)),
    ((-120, -150), (-90, -132), (-84, -132)),
    ((10, -132), (40, -150), (160, -150)),
)


def _pads(part: _Component) -> list[_Pad]:
    """Pads of a footprint."""
    wide, high = part.width, part.height
    if part.kind == "package":
        rows = [-high / 2 - 6, high / 2 + 6]
        pads: list[_Pad] = [(float(x), y, 5.5, 15) for y in rows for x in np.arange(-wide / 2 + 9, wide / 2 - 4, 11.5)]
        if abs(wide - high) < 1:
            pads += [(y, x, 15, 5.5) for x, y, _, _ in pads]
        return pads
    if part.kind == "header":
        return [(float(x), 0.0, 17, 17) for x in np.arange(-wide / 2 + 14, wide / 2, 25.6)]
    if part.kind == "can":
        return [(-wide / 2 - 2, 0, 14, 15), (wide / 2 + 2, 0, 14, 15)]
    if wide >= high:
        return [(-wide / 2 + 2, 0, 14, high + 4), (wide / 2 - 2, 0, 14, high + 4)]
    return [(0, -high / 2 + 2, wide + 4, 14), (0, high / 2 - 2, wide + 4, 14)]


def _footprint(canvas: Canvas, part: _Component) -> None:
    """Pads with solder, the silkscreen outline and the name."""
    window = canvas.window(part.x, part.y, 0.5 * part.width + 22, 0.5 * part.height + 34)
    outline = np.abs(window.box_distance(part.x, part.y, part.width + 10, part.height + 10, corner=2)) - 0.8
    window.paint(window.inside(outline) * 0.9, SILK, gloss=0.2)
    for x, y, wide, high in _pads(part):
        pad = window.window(part.x + x, part.y + y, max(wide, high))
        body = pad.box(part.x + x, part.y + y, wide, high, corner=2)
        bead = np.clip(-pad.box_distance(part.x + x, part.y + y, wide, high, corner=2) / 4, 0, 1)
        pad.paint(body, SOLDER, gloss=0.85)
        pad.lift(np.sqrt(bead), 2.4)
    above = part.height / 2 + (22 if part.kind == "package" else 12)
    window.paint(window.text(part.name, part.x, part.y - above, 8) * 0.9, SILK, gloss=0.2)


def _shadow(window: Canvas, part: _Component) -> None:
    cast = window.box(part.x + 5, part.y + 6, part.width, part.height, corner=4, turn=part.turn, soft=9)
    window.shade(cast, 0.42)


def _package(window: Canvas, part: _Component) -> None:
    """Moulded black plastic with gull-wing leads, a dot at pin 1 and laser marking."""
    moved = part.turn
    cosine, sine = np.cos(moved), np.sin(moved)
    for x, y, wide, high in _pads(part):
        px, py = float(part.x + x * cosine - y * sine), float(part.y + x * sine + y * cosine)
        lead = window.window(px, py, max(wide, high))
        body = lead.box(px, py, wide * 0.75, high * 0.85, corner=1, turn=moved)
        lead.paint(body, (0.72, 0.72, 0.71), gloss=0.8)
        lead.lift(body, 2.0)
    distance = window.box_distance(part.x, part.y, part.width, part.height, corner=4, turn=moved)
    body = window.inside(distance)
    rough = grain(window.rng("mould"), window.shape, 0.8)
    window.paint(body, BLACK, gloss=0.30, tone=1 + 0.08 * rough)
    _stand(window, body, 9.0 * np.clip(-distance / 5, 0, 1) + 0.10 * rough)
    u, v = window.local(part.x, part.y, moved)
    dot = window.inside(np.hypot(u + part.width / 2 - 14, v + part.height / 2 - 13) - 4.5)
    window.shade(dot, 0.5)
    window.lift(dot, -1.2)
    words = ("SL7042", "2611 KR") if part.width > 100 else ("M24C", "K26")
    for line, text in enumerate(words):
        down = (line - 0.5) * 18
        mark = window.text(text, part.x - down * sine, part.y + down * cosine, 11, turn=moved)
        window.paint(mark * 0.7, (0.55, 0.55, 0.55))


def _can(window: Canvas, part: _Component) -> None:
    """An electrolytic capacitor from above: aluminium disc with a vent cross and its black polarity mark."""
    half = part.width / 2
    base = window.box(part.x, part.y, part.width + 4, part.height + 4, corner=7, turn=part.turn)
    window.paint(base, (0.10, 0.10, 0.10), gloss=0.3)
    _stand(window, base, np.float32(3.0) * base)
    disc = window.disc(part.x, part.y, half - 1)
    radius = window.radius(part.x, part.y)
    u, v = window.local(part.x, part.y, part.turn)
    window.paint(disc, (0.66, 0.65, 0.64), gloss=0.7)
    _stand(window, disc, 16 - 5 * np.clip((radius - half + 6) / 6, 0, 1))
    window.paint(disc * window.inside(u + half * 0.45), (0.10, 0.09, 0.09), gloss=0.35)
    cross = np.minimum(np.abs(u + v), np.abs(u - v)) * 0.707
    window.lift(window.inside(cross - 0.8, soft=1.5) * window.inside(radius - half * 0.6), -0.9)
    mark = window.text("47", part.x + half * 0.3, part.y, 10, turn=part.turn)
    window.paint(mark * 0.85, (0.08, 0.08, 0.08))


def _crystal(window: Canvas, part: _Component) -> None:
    distance = window.box_distance(part.x, part.y, part.width, part.height, corner=12, turn=part.turn)
    body = window.inside(distance)
    window.paint(body, (0.62, 0.63, 0.63), gloss=0.8)
    _stand(window, body, 6 * np.clip(-distance / 2, 0, 1) + 3 * np.clip((-distance - 4) / 3, 0, 1))
    mark = window.text("16.000", part.x, part.y, 9, turn=part.turn)
    window.paint(mark * 0.75, (0.15, 0.15, 0.15))


def _header(window: Canvas, part: _Component) -> None:
    distance = window.box_distance(part.x, part.y, part.width, part.height, corner=2, turn=part.turn)
    body = window.inside(distance)
    window.paint(body, (0.09, 0.085, 0.085), gloss=0.25)
    _stand(window, body, 8 * np.clip(-distance / 3, 0, 1))
    cosine, sine = np.cos(part.turn), np.sin(part.turn)
    for x, _, _, _ in _pads(part):
        px, py = part.x + x * cosine, part.y + x * sine
        pin = window.window(px, py, 9)
        post = pin.box(px, py, 9.5, 9.5, corner=1.5, turn=part.turn)
        pin.paint(post, GOLD, gloss=0.85)
        rise = np.clip(-pin.box_distance(px, py, 9.5, 9.5, corner=1.5, turn=part.turn) / 2.5, 0, 1)
        pin.lift(rise, 6.0)


def _resistor(window: Canvas, part: _Component) -> None:
    _chip(window, part, BLACK)
    if part.width > part.height:
        window.paint(window.text("103", part.x, part.y, 8, turn=part.turn) * 0.85, SILK)


def _capacitor(window: Canvas, part: _Component) -> None:
    _chip(window, part, (0.30, 0.45, 0.60))


def _chip(window: Canvas, part: _Component, colour: tuple[float, float, float]) -> None:
    """A two-terminal chip: a ceramic body between tinned ends."""
    distance = window.box_distance(part.x, part.y, part.width, part.height, corner=1.5, turn=part.turn)
    u, v = window.local(part.x, part.y, part.turn)
    along, reach = (u, part.width / 2) if part.width >= part.height else (v, part.height / 2)
    body = window.inside(distance)
    ends = window.inside(np.float32(reach - 6.5) - np.abs(along)) * body
    window.paint(body, colour, gloss=0.35)
    window.paint(ends, (0.70, 0.70, 0.69), gloss=0.8)
    _stand(window, body, 6 * np.clip(-distance / 2.5, 0, 1))


def _stand(window: Canvas, coverage: Floats, height: Floats) -> None:
    """Replace the relief below a body by the body's own."""
    window.height[:] += (height - window.height) * coverage


BODIES: dict[str, Callable[[Canvas, _Component], None]] = {
    "package": _package,
    "can": _can,
    "crystal": _crystal,
    "header": _header,
    "resistor": _resistor,
    "capacitor": _capacitor,
}
