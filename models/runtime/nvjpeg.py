"""The JPEGs of a batch decoded together on an NVIDIA GPU: nvJPEG, through NVIDIA's nvImageCodec.

The GPU gets what it reads as libjpeg-turbo does: whole pictures in YCbCr or grey, of one pass. All others, and those
that it gives back undecoded, go through `models.runtime.decode`, which names what is wrong with them. Pixels come back
to the host at their full size and are cut and resized there, as the CPU's are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, Literal

import numpy as np
import simplejpeg

from models.runtime.decode import DecodedFrame, Wanted, decode, ended, probe, seen
from models.runtime.jpeg_header import one_pass
from sightline.errors import FrameError, PrerequisiteError

MOST_PIXELS = 64_000_000
"""Of the frames that are decoded together: each pixel takes 3 bytes on the device and as many on the host."""

_COLOURS = {"YCbCr", "Gray"}
_Sized = tuple[Wanted, tuple[int, int] | None]
"""A frame, and its width and height where it is for the GPU."""


class BatchDecoder:
    """nvImageCodec's decoder, for one thread of the process that made it: a CUDA context does not survive a fork.

    `device` is the first GPU that the process sees, or `cpu`, with the same library's own libjpeg-turbo.
    """

    def __init__(self, device: Literal["gpu", "cpu"] = "gpu") -> None:
        """Raises PrerequisiteError naming what this machine lacks."""
        # its messages on standard error repeat what a frame's fault says
        os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
        try:
            from nvidia import nvimgcodec
        except ImportError as error:
            raise PrerequisiteError(
                f"decoding on the GPU needs nvImageCodec ({error}): install `sightline[gpu]`, or choose decode cpu"
            ) from error
        kinds = nvimgcodec.BackendKind
        try:
            if device == "cpu":
                number, used = nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY, [kinds.CPU_ONLY]
            else:
                # the decoders in silicon first, where the GPU has them; never one on the CPU in their place
                number, used = 0, [kinds.HW_GPU_ONLY, kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU]
            self._decoder = nvimgcodec.Decoder(device_id=number, backends=[nvimgcodec.Backend(kind) for kind in used])
        except RuntimeError as error:
            raise PrerequisiteError(
                f"decoding on the GPU needs an NVIDIA GPU, its driver and nvJPEG, and nvImageCodec says: {error}. See "
                "that `nvidia-smi` lists the GPU and that `sightline[gpu]` is installed, or choose decode cpu"
            ) from error
        # boxes refer to the pixels as they are stored
        self._how = nvimgcodec.DecodeParams(apply_exif_orientation=False, sample_format=nvimgcodec.SampleFormat.I_RGB)

    def __call__(self, wanted: Iterable[Wanted]) -> Iterator[DecodedFrame | FrameError]:
        """Each frame in its place, or what is wrong with it."""
        for batch in _batches((one, _size(one.jpeg)) for one in wanted):
            together = [one.jpeg for one, size in batch if size]
            pictures = iter(self._decoder.decode(together, params=self._how) if together else [])
            for one, size in batch:
                yield _seen(one, size, next(pictures) if size else None)


def _batches(frames: Iterable[_Sized]) -> Iterator[list[_Sized]]:
    """The frames in their order, so many at a time that their pixels are bounded; a larger frame alone."""
    batch: list[_Sized] = []
    pixels = 0
    for frame in frames:
        more = prod(frame[1]) if frame[1] else 0
        if batch and pixels + more > MOST_PIXELS:
            yield batch
            batch, pixels = [], 0
        batch.append(frame)
        pixels += more
    if batch:
        yield batch


def _size(jpeg: bytes) -> tuple[int, int] | None:
    """Width and height of a picture that is for the GPU."""
    try:
        width, height = probe(jpeg)
    except FrameError:
        return None
    *_, colour, _ = simplejpeg.decode_jpeg_header(jpeg, strict=False)
    return (width, height) if colour in _COLOURS and ended(jpeg) and one_pass(jpeg) else None


def _seen(wanted: Wanted, size: tuple[int, int] | None, picture: Any) -> DecodedFrame | FrameError:
    """`picture` is nvImageCodec's, None where it has none."""
    try:
        if size is None or picture is None:
            return decode(*wanted)
        return seen(np.asarray(picture.cpu()), wanted, *size)
    except FrameError as error:
        return error
