"""File names made of what a camera, a product or a topic is called: any text in, one plain name out."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_LONGEST = 120


def file_name(text: str) -> str:
    """A name for `text` that leads nowhere else: no separators, no leading dot, at most 120 bytes.

    ASCII letters, digits and `_.-~ ` stay as they are, all else is percent-encoded; what would be too long ends in a
    digest of the whole instead. Different texts have different names, and an empty text has the name `%`.
    """
    name = quote(text, safe=" ", errors="backslashreplace") or "%"
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]
    return f"{name[: _LONGEST - 17]}-{digest}"
