"""OpenCV, set up for a small and silent capture process: import `cv2` from here.

Its limits are read from the environment when it loads, so they must be set before.
"""

from __future__ import annotations

import os

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded: a header of a few bytes can claim gigapixels."""

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
# FFmpeg and OpenCV print URLs, and with them passwords, to stderr; errors are reported by the sources instead
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# packets lost over UDP tear pictures apart, and torn pictures look like defects
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")

import cv2  # noqa: E402  (the settings above must come first)

cv2.setNumThreads(1)

__all__ = ["MAX_PIXELS", "cv2"]
