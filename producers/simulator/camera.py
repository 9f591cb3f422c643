"""The camera and its light: what varies from one good frame to the next, and how a part becomes a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.simulator.backdrop import TRAVEL, Backdrop
from producers.simulator.seeds import generator
from producers.simulator.sprite import SHADOW_BORDER, SHADOW_STEP, Bytes, Lamp, Sprite
from producers.simulator.texture import Floats

_NOISE_SPREAD = 30.0
_NOISE_SLACK = 61
_GAIN_UNIT = 128


@dataclass(frozen=True, slots=True)
class Conditions:
    """Everything about one exposure but the part itself. Lengths in design units, angles in radians.

    `level` and `slant` (dx, dy: relative change from middle to edge) light the scene, `balance` is the gain of blue,
    green, red; `tint` the same for the part's own batch; `motion` the smear along x, `defocus` a Gaussian's sigma,
    `noise` its sigma in grey levels; `scroll` 0…1 where the backdrop stands; `speckle` where the noise field is read.
    """

    dx: float
    dy: float
    turn: float
    zoom: float
    azimuth: float
    elevation: float
    ambient: float
    power: float
    level: float
    slant: tuple[float, float]
    vignette: float
    balance: tuple[float, float, float]
    tint: tuple[float, float, float]
    motion: float
    defocus: float
    noise: float
    scroll: float
    speckle: tuple[int, int]

    @classmethod
    def drawn(cls, rng: np.random.Generator, batch: np.random.Generator, play: float) -> Conditions:
        """Conditions of one frame from its generator and its batch's; `play` is the sigma of its turn, in radians."""
        bearing, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.20)
        shade = 1 + batch.normal(0, 0.04)
        return cls(
            dx=float(np.clip(rng.normal(0, 2.2), -6, 6)),
            dy=float(np.clip(rng.normal(0, 1.8), -5, 5)),
            turn=float(play * np.clip(rng.normal(), -3, 3)),
            zoom=float(np.clip(rng.normal(1, 0.003), 0.99, 1.01)),
            azimuth=float(-2.2 + rng.uniform(-0.22, 0.22)),
            elevation=float(rng.uniform(0.82, 0.98)),
            ambient=float(rng.uniform(0.38, 0.50)),
            power=float(rng.uniform(0.65, 0.95)),
            level=float(np.clip(rng.normal(1.12, 0.15), 0.74, 1.55)),
            slant=(float(lean * np.cos(bearing)), float(lean * np.sin(bearing))),
            vignette=float(rng.uniform(0.08, 0.24)),
            balance=_gains(1 + rng.normal(0, 0.015, 3)),
            tint=_gains(shade * (1 + batch.normal(0, 0.02, 3))),
            motion=float(rng.uniform(0, 2.2)),
            defocus=float(rng.uniform(0, 0.65)),
            noise=float(rng.uniform(1.2, 3.6)),
            scroll=float(rng.random()),
            speckle=(int(rng.integers(_NOISE_SLACK)), int(rng.integers(_NOISE_SLACK))),
        )


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera of `width`×`height` pixels over one backdrop; `scale` is pixels per design unit."""

    width: int
    height: int
    scale: float
    backdrop: Backdrop
    speckle: Bytes

    @classmethod
    def over(cls, backdrop: Backdrop, width: int, height: int, scale: float, seed: int) -> Camera:
        """The camera with the noise field of its sensor."""
        rng = generator(seed, "sensor")
        shape = (height + _NOISE_SLACK, width + _NOISE_SLACK)
        grey = rng.standard_normal(shape, dtype=np.float32) * np.float32(_NOISE_SPREAD * 0.8)
        planes = []
        for _ in range(3):
            colour = rng.standard_normal(shape, dtype=np.float32) * np.float32(_NOISE_SPREAD * 0.6)
            planes.append(np.clip(np.round(grey + colour) + 128, 0, 255).astype(np.uint8))
        return cls(width, height, scale, backdrop, cv2.merge(planes))

    def expose(self, sprite: Sprite, thickness: float, conditions: Conditions) -> Bytes:
        """The picture [height, width, 3] BGR uint8 of a part that throws its shadow `thickness` design units far."""
        scene = self.backdrop.view(int(conditions.scroll * TRAVEL * self.scale), self.width)
        self._place(scene, sprite, thickness, conditions)
        blurred = _blur(scene, conditions.motion * self.scale, conditions.defocus * self.scale)
        lit = cv2.multiply(blurred, self._light(conditions), scale=1 / _GAIN_UNIT)
        return self._read_out(lit, conditions)

    def _place(self, scene: Bytes, sprite: Sprite, thickness: float, conditions: Conditions) -> None:
        """Lay the lit part and its shadow over the scene, in place, within the box that they reach."""
        rows, columns = sprite.alpha.shape
        cosine, sine = np.cos(conditions.turn) * conditions.zoom, np.sin(conditions.turn) * conditions.zoom
        spin = np.array([[cosine, -sine], [sine, cosine]])
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        middle += np.array([conditions.dx, conditions.dy]) * self.scale
        reach = np.abs(spin) @ np.array([columns, rows]) / 2 + 1.5 * thickness * self.scale + 8
        left, top = np.maximum(np.floor(middle - reach), 0).astype(int)
        right, bottom = np.minimum(np.ceil(middle + reach), [self.width, self.height]).astype(int)
        size = (int(right - left), int(bottom - top))
        shift = middle - spin @ np.array([(columns - 1) / 2, (rows - 1) / 2]) - np.array([left, top])
        matrix = np.column_stack([spin, shift])

        lamp = Lamp(
            conditions.azimuth - conditions.turn, conditions.elevation, conditions.ambient, conditions.power
        )  # fmt: skip
        # four channels warp three times as fast as three
        blue, green, red, cover = cv2.split(
            cv2.warpAffine(cv2.merge((*cv2.split(sprite.lit(lamp, conditions.tint)), sprite.alpha)), matrix, size)
        )
        part = cv2.merge([cv2.multiply(plane, cover, scale=1 / 255) for plane in (blue, green, red)])
        away = -np.array([np.cos(conditions.azimuth), np.sin(conditions.azimuth)])
        throw = away * thickness * self.scale / np.tan(conditions.elevation)
        shade = _shadow(sprite, np.column_stack([spin, shift + throw]), size)
        seen = cv2.multiply(cv2.bitwise_not(cover), shade, scale=1 / 255)
        box = scene[top:bottom, left:right]
        ground = cv2.multiply(box, cv2.merge((seen, seen, seen)), scale=1 / 255)
        box[:] = cv2.add(ground, part)

    def _light(self, conditions: Conditions) -> Bytes:
        """The gain of every pixel and channel, [height, width, 3], in 1/128: level, slant, vignette, white balance."""
        x, y = np.meshgrid(np.linspace(-1, 1, 32, dtype=np.float32), np.linspace(-1, 1, 24, dtype=np.float32))
        field = conditions.level * (1 + conditions.slant[0] * x + conditions.slant[1] * y)
        field *= 1 - conditions.vignette * (x**2 + y**2) / 2
        gains = field[..., None] * (np.array(conditions.balance, np.float32) * _GAIN_UNIT)
        coarse = np.clip(np.round(gains), 0, 255).astype(np.uint8)
        light: Bytes = cv2.resize(coarse, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return light

    def _read_out(self, image: Bytes, conditions: Conditions) -> Bytes:
        """Add the sensor's noise."""
        down, across = conditions.speckle
        field = self.speckle[down : down + self.height, across : across + self.width]
        weight = conditions.noise / _NOISE_SPREAD
        noisy: Bytes = cv2.addWeighted(image, 1.0, field, weight, -128 * weight)
        return noisy


def _shadow(sprite: Sprite, matrix: NDArray[np.float64], size: tuple[int, int]) -> Bytes:
    """How much light reaches the ground, uint8 [h, w] with 255 for all of it, behind a part at `matrix`."""
    finer = matrix.copy()
    # pixel i of the kept shadow is the middle of the part's pixels from step * (i - border)
    finer[:, 2] += matrix[:, :2] @ np.full(2, (SHADOW_STEP - 1) / 2 - SHADOW_BORDER * SHADOW_STEP)
    finer[:, :2] *= SHADOW_STEP
    light: Bytes = cv2.warpAffine(sprite.shadow, finer, size, borderMode=cv2.BORDER_CONSTANT, borderValue=255)
    return light


def _blur(image: Bytes, motion: float, defocus: float) -> Bytes:
    """Smear along x by `motion` pixels and blur by a Gaussian of `defocus` pixels, in one separable pass."""
    across = np.convolve(_box(motion), _bell(defocus))
    blurred: Bytes = cv2.sepFilter2D(image, -1, across, _bell(defocus), borderType=cv2.BORDER_REPLICATE)
    return blurred


def _box(length: float) -> Floats:
    """A box of fractional length, as weights of whole pixels."""
    half = max(int(np.ceil((length - 1) / 2)), 0)
    if half == 0:
        return np.ones(1, np.float32)
    weights = np.clip((length + 1) / 2 - np.abs(np.arange(-half, half + 1)), 0, 1)
    kernel: Floats = (weights / weights.sum()).astype(np.float32)
    return kernel


def _bell(sigma: float) -> Floats:
    half = max(int(np.ceil(2 * sigma)), 1)
    weights = np.exp(-((np.arange(-half, half + 1) / max(sigma, 0.2)) ** 2) / 2)
    kernel: Floats = (weights / weights.sum()).astype(np.float32)
    return kernel


def _gains(values: np.ndarray) -> tuple[float, float, float]:
    blue, green, red = (float(value) for value in values)
    return blue, green, red
