"""The drawing surface of a part: material maps, and anti-aliased shapes painted on them.

Lengths are in *design units*: one unit is one pixel of a 640×480 frame, the origin is the middle of the part, x to the
right, y down. The same drawing code therefore serves every frame size.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.simulator.texture import Floats

Colour = tuple[float, float, float]
"""Blue, green, red reflectance, each 0…1."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Material maps of a part, each [h, w] float32, but albedo [3, h, w] in planes of blue, green, red.

    `albedo` 0…1 is the colour, `height` the relief in design units, `gloss` 0…1 how much it mirrors the lamp, `alpha`
    0…1 where the part is. The maps are painted in place; `window` gives views, so local shapes cost what they cover.
    """

    x: Floats
    y: Floats
    albedo: Floats
    height: Floats
    gloss: Floats
    alpha: Floats
    scale: float
    seed: int

    @classmethod
    def blank(cls, width: float, depth: float, scale: float, seed: int) -> Canvas:
        """An empty canvas of `width`×`depth` design units at `scale` pixels each."""
        columns, rows = max(round(width * scale), 8), max(round(depth * scale), 8)
        x, y = cls.grid(rows, columns, scale)
        shape = (rows, columns)
        height, gloss, alpha = (np.zeros(shape, np.float32) for _ in range(3))
        return cls(x, y, np.full((3, *shape), 0.5, np.float32), height, gloss, alpha, scale, seed)

    @staticmethod
    def grid(rows: int, columns: int, scale: float) -> tuple[Floats, Floats]:
        """Coordinates x and y, each [rows, columns], of pixels around the middle, in design units."""
        across = (np.arange(columns, dtype=np.float32) - np.float32((columns - 1) / 2)) / np.float32(scale)
        down = (np.arange(rows, dtype=np.float32) - np.float32((rows - 1) / 2)) / np.float32(scale)
        x, y = np.meshgrid(across, down)
        return x, y

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    def rng(self, name: str) -> np.random.Generator:
        """The generator of one named texture: the same for one seed, whatever else is drawn."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, crc32(name.encode())))))

    def radius(self, x: float = 0.0, y: float = 0.0) -> Floats:
        return _length(*self.local(x, y))

    def angle(self) -> Floats:
        bearing: Floats = np.arctan2(self.y, self.x)
        return bearing

    def window(self, x: float, y: float, reach: float, down: float | None = None) -> Canvas:
        """Views of the box of ±`reach` (`down` along y) around (x, y), cut at the edge, at least one pixel large."""
        rows = span(self.y[:, 0], y, reach if down is None else down)
        columns = span(self.x[0], x, reach)
        part = (rows, columns)
        return Canvas(
            self.x[part], self.y[part], self.albedo[:, rows, columns], self.height[part], self.gloss[part],
            self.alpha[part], self.scale, self.seed,
        )  # fmt: skip

    def inside(self, distance: Floats, soft: float = 0.0) -> Floats:
        """Coverage 0…1 of a shape from its signed distance (negative inside); `soft` widens the edge, in units."""
        covered: Floats = np.clip(0.5 - distance / np.float32(max(1 / self.scale, soft)), 0, 1)
        return covered

    def disc(self, x: float, y: float, radius: float, soft: float = 0.0) -> Floats:
        return self.inside(self.radius(x, y) - np.float32(radius), soft)

    def ring(self, x: float, y: float, inner: float, outer: float, soft: float = 0.0) -> Floats:
        middle, half = (inner + outer) / 2, (outer - inner) / 2
        return self.inside(np.abs(self.radius(x, y) - np.float32(middle)) - np.float32(half), soft)

    def box_distance(
        self, x: float, y: float, width: float, height: float, corner: float = 0.0, turn: float = 0.0
    ) -> Floats:
        """Signed distance to a rounded rectangle around (x, y), turned by `turn` radians."""
        u, v = self.local(x, y, turn)
        qx = np.abs(u) - np.float32(width / 2 - corner)
        qy = np.abs(v) - np.float32(height / 2 - corner)
        outside = _length(np.maximum(qx, 0), np.maximum(qy, 0))
        distance: Floats = outside + np.minimum(np.maximum(qx, qy), 0) - np.float32(corner)
        return distance

    def box(
        self, x: float, y: float, width: float, height: float, corner: float = 0.0, turn: float = 0.0, soft: float = 0.0
    ) -> Floats:
        return self.inside(self.box_distance(x, y, width, height, corner, turn), soft)

    def local(self, x: float, y: float, turn: float = 0.0) -> tuple[Floats, Floats]:
        """Coordinates in a frame at (x, y) turned by `turn` radians; unturned, a row [1, w] and a column [h, 1]."""
        dx, dy = self.x[:1] - np.float32(x), self.y[:, :1] - np.float32(y)
        if turn == 0.0:
            return dx, dy
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        return dx * cosine + dy * sine, dy * cosine - dx * sine

    def path(self, points: NDArray[np.float64], width: float | NDArray[np.float64]) -> Floats:
        """Coverage of a stroke along `points` [n, 2]; `width` in units, one for all or one for each point."""
        drawn = np.zeros(self.shape, np.uint8)
        fixed = self.pixels(points)
        widths = np.broadcast_to(width, len(points))
        for start, end, wide in zip(fixed[:-1], fixed[1:], widths[1:], strict=True):
            thickness = max(round(float(wide) * self.scale), 1)
            cv2.line(drawn, start.tolist(), end.tolist(), 255, thickness, cv2.LINE_AA, shift=4)
        return drawn.astype(np.float32) / 255

    def paths(self, lines: list[NDArray[np.float64]], width: float) -> Floats:
        """Coverage of several strokes of one `width`, in units."""
        drawn = np.zeros(self.shape, np.uint8)
        thickness = max(round(width * self.scale), 1)
        cv2.polylines(
            drawn, [self.pixels(line) for line in lines], False, 255, thickness, cv2.LINE_AA, shift=4
        )  # fmt: skip
        return drawn.astype(np.float32) / 255

    def polygon(self, points: NDArray[np.float64]) -> Floats:
        """Coverage of the polygon with the corners `points` [n, 2]."""
        drawn = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(drawn, [self.pixels(points)], 255, cv2.LINE_AA, shift=4)
        return drawn.astype(np.float32) / 255

    def text(self, words: str, x: float, y: float, size: float, turn: float = 0.0, weight: int = 600) -> Floats:
        """Coverage of one line of text centred on (x, y); `size` is the height of a capital, in units."""
        pixels = max(round(size * self.scale * 1.4), 6)
        face = cv2.FontFace("sans")
        box = cv2.getTextSize((0, 0), words, (0, 0), face, pixels, weight)
        plate = np.zeros((box[3] + 8, box[2] + 8), np.uint8)
        cv2.putText(plate, words, (4 - box[0], 4 - box[1]), 255, face, pixels, weight)
        centre = self.pixels(np.array([[x, y]]))[0] / 16
        cosine, sine = np.cos(turn), np.sin(turn)
        middle = (np.array(plate.shape[::-1]) - 1) / 2
        shift = centre - np.array([[cosine, -sine], [sine, cosine]]) @ middle
        matrix = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])
        covered: Floats = cv2.warpAffine(plate, matrix, self.shape[::-1]).astype(np.float32) / 255
        return covered

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Design units to pixels of this canvas in 1/16, as OpenCV's `shift=4` takes them."""
        origin = np.array([self.x[0, 0], self.y[0, 0]])
        fixed: NDArray[np.int32] = np.round((points - origin) * self.scale * 16).astype(np.int32)
        return fixed

    def fill(self, colour: Colour, tone: Floats, gloss: float) -> None:
        """Give the whole canvas one material: `colour` times `tone`."""
        for plane, value in zip(self.albedo, colour, strict=True):
            np.multiply(tone, np.float32(value), out=plane)
        self.gloss[:] = gloss

    def paint(self, coverage: Floats, colour: Colour, gloss: float | None = None, tone: Floats | None = None) -> None:
        """Lay `colour` (times `tone`) over the part where `coverage` says; `gloss` replaces the gloss there."""
        for plane, value in zip(self.albedo, colour, strict=True):
            laid = np.float32(value) if tone is None else tone * np.float32(value)
            plane += (laid - plane) * coverage
        if gloss is not None:
            self.gloss[:] += (np.float32(gloss) - self.gloss) * coverage

    def shade(self, coverage: Floats, factor: float) -> None:
        """Darken (`factor` below 1) or lighten where `coverage` says."""
        self.albedo[:] *= 1 + coverage * np.float32(factor - 1)

    def vary(self, tone: Floats) -> None:
        """Multiply the colour by `tone`."""
        self.albedo[:] *= tone

    def lift(self, coverage: Floats, height: float) -> None:
        """Raise (or, negative, sink) the relief."""
        self.height[:] += coverage * np.float32(height)

    def cut(self, coverage: Floats) -> None:
        """Take the part away."""
        self.alpha[:] *= 1 - coverage


def _length(x: Floats, y: Floats) -> Floats:
    """√(x² + y²); many times as fast as np.hypot, whose care for overflow is not needed here."""
    away: Floats = np.sqrt(x * x + y * y)
    return away


def span(axis: Floats, middle: float, reach: float) -> slice:
    """The part of a rising `axis` within `reach` of `middle`; at least one entry."""
    first = int(np.searchsorted(axis, middle - reach))
    last = int(np.searchsorted(axis, middle + reach))
    first = min(first, len(axis) - 1)
    return slice(first, max(last, first + 1))
