"""How a decoder must go through a JPEG, from its markers alone."""

from __future__ import annotations

_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a segment: TEM, RST0…RST7, SOI."""
_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame header; DHT, JPG and DAC lie between them."""
_SEQUENTIAL = {0xC0, 0xC1}
_START_OF_SCAN = 0xDA
_END = 0xD9


def one_pass(jpeg: bytes) -> bool:
    """Whether the picture is decoded row by row, in one scan with all components and Huffman codes.

    All else (progressive, components in scans of their own, arithmetic codes) makes a decoder hold the coefficients of
    the whole picture, and go over them once for each scan. False too when the markers cannot be followed.
    """
    components = None
    at = 2
    while (at := jpeg.find(b"\xff", at)) >= 0 and at + 4 < len(jpeg):
        marker = jpeg[at + 1]
        if marker in (0x00, 0xFF):  # stray bytes and padding, which decoders skip
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == _END:
            return False
        elif marker == _START_OF_SCAN:
            return components is not None and jpeg[at + 4] == components
        else:
            if marker in _FRAME:
                if marker not in _SEQUENTIAL or components is not None or at + 9 >= len(jpeg):
                    return False
                components = jpeg[at + 9]
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return False


def scans(jpeg: bytes) -> int:
    """At most so many scans a decoder finds: markers of scans, those inside other segments included."""
    return jpeg.count(b"\xff\xda")
