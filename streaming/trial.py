"""`python -m streaming.trial FOLDER BACKEND`: can this bundle be loaded and does it score? Exit 0 says yes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from models.runtime.scorer import Backend, load_scorer
from sightline.errors import DetectorError


def main(folder: str, backend: str) -> int:
    try:
        load_scorer(Path(folder), cast(Backend, backend))
    except DetectorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
