"""Eight ways in which a part goes wrong, each a change of its material or its construction.

A defect takes a good `Workpiece`, a random generator and a severity 0…1 (faint to plain) and gives the sprite of the
damaged part. Nothing is drawn on the finished picture: a scratch is a groove that catches the same lamp as the part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producers.simulator.canvas import Colour
from producers.simulator.fault import Fault
from producers.simulator.products import Product
from producers.simulator.sprite import Patch, Sprite
from producers.simulator.texture import clouds, grain
from sightline.errors import SettingsError

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Workpiece:
    """A good part: its product, the sprite of it, and the seed of its texture."""

    product: Product
    sprite: Sprite
    seed: int

    def spot(self, rng: np.random.Generator, clearance: float) -> tuple[float, float]:
        """A point of the part with `clearance` design units of part around it, where there is such a point."""
        wide, high = self.product.extent
        ring = np.arange(8) * np.pi / 4
        around = np.stack([np.cos(ring), np.sin(ring)], axis=1) * clearance
        x = y = 0.0
        for _ in range(64):
            x, y = float(rng.uniform(-wide / 2, wide / 2)), float(rng.uniform(-high / 2, high / 2))
            if all(self.solid(x + dx, y + dy) for dx, dy in [(0.0, 0.0), *around]):
                break
        return x, y

    def solid(self, x: float, y: float) -> bool:
        """Whether the part is there, and not a hole or the backdrop."""
        rows, columns = self.sprite.alpha.shape
        row = round(y * self.sprite.scale + (rows - 1) / 2)
        column = round(x * self.sprite.scale + (columns - 1) / 2)
        return 0 <= row < rows and 0 <= column < columns and bool(self.sprite.alpha[row, column] > 200)

    def rim(self, rng: np.random.Generator) -> tuple[float, float]:
        """A point on the outline of the part."""
        wide, high = self.product.extent
        bearing = float(rng.uniform(0, 2 * np.pi))
        steps = np.linspace(np.hypot(wide, high) / 2, 0, 400)
        for reach in steps:
            x, y = float(reach * np.cos(bearing)), float(reach * np.sin(bearing))
            if self.solid(x, y):
                break
        return x, y

    def patch(self, points: Points, margin: float, rng: np.random.Generator) -> Patch:
        """A canvas around `points` [n, 2] with `margin` units to spare."""
        low, high = points.min(axis=0), points.max(axis=0)
        middle = (low + high) / 2
        reach = float((high - low).max()) / 2 + margin
        return self.sprite.patch(float(middle[0]), float(middle[1]), reach, int(rng.integers(2**31)))


def scratch(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """A groove through the surface that lays the core bare, with a raised burr on one side."""
    length = 55 + 100 * severity
    points = _sweep(piece.spot(rng, 16), length, float(rng.uniform(0, np.pi)), float(rng.normal(0, 0.5)))
    patch = piece.patch(points, 8, rng)
    canvas = patch.canvas
    width = 2.2 + 1.6 * severity
    groove = canvas.path(points, width) * (0.85 + 0.15 * np.tanh(clouds(rng, canvas.shape, 12 * canvas.scale)))
    burr = canvas.path(points + np.array([1.4, 1.4]), width * 0.8)
    canvas.shade(np.clip(burr - groove, 0, 1), 0.62)
    canvas.paint(groove * (0.62 + 0.35 * severity), piece.product.core, gloss=0.7)
    canvas.lift(groove, -0.8 - 1.0 * severity)
    return piece.sprite.mend(patch)


def dent(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """A knock: a bowl with a raised and scuffed lip, dark at the bottom."""
    radius = 14 + 13 * severity
    x, y = piece.spot(rng, radius * 0.8)
    patch = piece.patch(np.array([[x, y]]), radius * 1.6, rng)
    canvas = patch.canvas
    u, v = canvas.local(x, y, float(rng.uniform(0, np.pi)))
    away = np.hypot(u, v * np.float32(rng.uniform(1.0, 1.5))) / np.float32(radius)
    bowl = np.clip(1 - away**2, 0, 1) ** 1.5
    lip = np.clip(1 - np.abs(away - 1.08) / 0.3, 0, 1)
    canvas.lift(bowl, -radius * (0.40 + 0.25 * severity))
    canvas.lift(lip, radius * 0.05)
    canvas.paint(lip * (0.22 + 0.2 * severity), piece.product.core)
    canvas.shade(bowl, 0.66 - 0.20 * severity)
    return piece.sprite.mend(patch)


def stain(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """Dried oil, flux or rust: a ragged film, darker at its edge, that dulls the surface."""
    radius = 17 + 19 * severity
    x, y = piece.spot(rng, radius * 0.6)
    patch = piece.patch(np.array([[x, y]]), radius * 1.7, rng)
    canvas = patch.canvas
    ragged = canvas.radius(x, y) / np.float32(radius) + 0.22 * clouds(rng, canvas.shape, radius * canvas.scale)
    film = np.clip((1 - ragged) * 6, 0, 1)
    edge = np.clip(1 - np.abs(ragged - 0.92) * 9, 0, 1)
    colour = _STAINS[int(rng.integers(len(_STAINS)))]
    strength = 0.46 + 0.34 * severity
    blotch = 1 + 0.15 * clouds(rng, canvas.shape, 8 * canvas.scale, octaves=2)
    canvas.paint(np.clip(film * strength * blotch, 0, 1), colour)
    canvas.paint(edge * strength * 0.6, (0.03, 0.05, 0.07))
    canvas.gloss[:] *= 1 - 0.7 * film
    return piece.sprite.mend(patch)


_STAINS: tuple[Colour, ...] = ((0.06, 0.14, 0.26), (0.05, 0.06, 0.07), (0.07, 0.20, 0.42))


def crack(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """A jagged fissure with branches; one side has lifted, so that it has an edge of light."""
    length = 60 + 80 * severity
    bearing = float(rng.uniform(0, 2 * np.pi))
    trunk = _walk(rng, piece.spot(rng, 14), bearing, length)
    branches = [
        _walk(rng, tuple(trunk[knot]), bearing + float(rng.choice([-1, 1])) * float(rng.uniform(0.5, 1.0)), length / 3)
        for knot in rng.integers(len(trunk) // 3, len(trunk) - 1, 1 + int(severity * 2))
    ]
    patch = piece.patch(np.concatenate([trunk, *branches]), 8, rng)
    canvas = patch.canvas
    width = 2.1 + 1.4 * severity
    gap = canvas.path(trunk, np.linspace(width, width * 0.5, len(trunk)))
    for branch in branches:
        gap = np.maximum(gap, canvas.path(branch, width * 0.55))
    side = canvas.path(trunk + np.array([1.3, 1.3]), width * 0.8)
    canvas.shade(np.clip(side - gap, 0, 1), 1.35)
    canvas.paint(gap * (0.75 + 0.22 * severity), (0.03, 0.03, 0.03), gloss=0.05)
    canvas.lift(gap, -1.5)
    return piece.sprite.mend(patch)


def chip(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """A piece broken out of the outline, with a raw broken edge."""
    radius = 9 + 14 * severity
    x, y = piece.rim(rng)
    patch = piece.patch(np.array([[x, y]]), radius * 1.8, rng)
    canvas = patch.canvas
    jagged = canvas.radius(x, y) / np.float32(radius) + 0.16 * grain(rng, canvas.shape, 2.2 * canvas.scale)
    bite = canvas.inside((jagged - 1) * np.float32(radius))
    raw = canvas.inside((jagged - 1.28) * np.float32(radius), soft=2)
    canvas.paint(raw * 0.85, piece.product.fracture, gloss=0.35)
    canvas.lift(raw, -1.8)
    canvas.height[:] += 0.4 * raw * grain(rng, canvas.shape, 1.2)
    canvas.cut(bite)
    return piece.sprite.mend(patch)


def contamination(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """Something foreign on the part: a fibre, a curl of swarf, or crumbs; each throws a little shadow."""
    spot = piece.spot(rng, 18)
    match int(rng.integers(3)):
        case 0:
            points = _sweep(spot, 50 + 70 * severity, float(rng.uniform(0, 2 * np.pi)), float(rng.normal(0, 2.2)))
            return _strand(piece, rng, points, 2.6 + 1.0 * severity, _FIBRES[int(rng.integers(len(_FIBRES)))], 0.2)
        case 1:
            return _strand(piece, rng, _curl(rng, spot, severity), 2.3 + 1.0 * severity, (0.74, 0.78, 0.80), 0.9)
        case _:
            return _crumbs(piece, rng, spot, severity)


_FIBRES: tuple[Colour, ...] = ((0.55, 0.20, 0.08), (0.90, 0.91, 0.92), (0.06, 0.06, 0.07))


def _strand(
    piece: Workpiece, rng: np.random.Generator, points: Points, width: float, colour: Colour, gloss: float
) -> Sprite:
    patch = piece.patch(points, 10, rng)
    canvas = patch.canvas
    canvas.shade(canvas.path(points + np.array([2.2, 2.6]), width * 1.3), 0.55)
    body = canvas.path(points, width)
    canvas.paint(body * 0.95, colour, gloss=gloss)
    canvas.lift(body, 1.6)
    return piece.sprite.mend(patch)


def _crumbs(piece: Workpiece, rng: np.random.Generator, spot: tuple[float, float], severity: float) -> Sprite:
    count = 3 + int(5 * severity)
    points = np.array(spot) + rng.normal(0, 9, (count, 2))
    patch = piece.patch(points, 14, rng)
    canvas = patch.canvas
    colour = ((0.10, 0.16, 0.24), (0.62, 0.74, 0.80), (0.04, 0.04, 0.04))[int(rng.integers(3))]
    ragged = 0.25 * grain(rng, canvas.shape, 1.6 * canvas.scale)
    for x, y in points:
        size = float(rng.uniform(2.8, 4.2)) * (0.8 + 0.8 * severity)
        away = canvas.radius(x, y) / np.float32(size) + ragged
        canvas.shade(canvas.disc(x + 1.8, y + 2.2, size, soft=2), 0.6)
        body = canvas.inside((away - 1) * np.float32(size))
        canvas.paint(body, colour, gloss=0.3)
        canvas.lift(body * np.clip(1.2 - away, 0, 1), 3.0)
    return piece.sprite.mend(patch)


def missing_feature(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """The part was finished without one of its features: a hole, a tablet, a component, some print."""
    return piece.product.sprite(piece.sprite.scale, piece.seed, _fault(rng, "missing", severity))


def misalignment(piece: Workpiece, rng: np.random.Generator, severity: float) -> Sprite:
    """A feature or the print sits beside its place or is turned."""
    return piece.product.sprite(piece.sprite.scale, piece.seed, _fault(rng, "misplaced", severity))


def _fault(rng: np.random.Generator, kind: str, severity: float) -> Fault:
    return Fault(
        kind="missing" if kind == "missing" else "misplaced",
        pick=float(rng.random()),
        severity=severity,
        bearing=float(rng.uniform(0, 2 * np.pi)),
        turn=float(rng.uniform(-1, 1)),
    )


def _sweep(middle: tuple[float, float], length: float, bearing: float, bend: float) -> Points:
    """Points along an arc through `middle` that turns by `bend` radians over its length, [n, 2]."""
    along = np.linspace(-0.5, 0.5, 24)
    heading = bearing + bend * along
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / 23
    path = np.cumsum(steps, axis=0)
    centred: Points = path - path[12] + np.array(middle)
    return centred


def _walk(rng: np.random.Generator, start: tuple[float, ...], bearing: float, length: float) -> Points:
    """A path that keeps its direction only roughly, as a crack runs, [n, 2]."""
    count = max(int(length / 6), 4)
    heading = bearing + rng.normal(0, 0.5, count)
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / count
    return np.concatenate([[start], np.array(start) + np.cumsum(steps, axis=0)])


def _curl(rng: np.random.Generator, spot: tuple[float, float], severity: float) -> Points:
    """A loose spiral, as a lathe leaves it, [n, 2]."""
    turn = np.linspace(0, 2 * np.pi * (1.4 + 1.6 * severity), 60)
    radius = 7 + 5 * severity
    drift = np.array([np.cos(bearing := float(rng.uniform(0, 2 * np.pi))), np.sin(bearing)])
    loops = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radius
    curl: Points = np.array(spot) + loops + drift * (turn[:, None] - turn.mean()) * 2.2
    return curl


Defect = Callable[[Workpiece, np.random.Generator, float], Sprite]

DEFECTS: dict[str, Defect] = {
    "scratch": scratch,
    "dent": dent,
    "stain": stain,
    "crack": crack,
    "chip": chip,
    "contamination": contamination,
    "missing_feature": missing_feature,
    "misalignment": misalignment,
}


def defect_named(name: str) -> Defect:
    """The defect of that name; raises SettingsError with the names there are."""
    try:
        return DEFECTS[name]
    except KeyError:
        raise SettingsError(f"the simulator has no defect {name!r}; choose from: {', '.join(DEFECTS)}") from None
