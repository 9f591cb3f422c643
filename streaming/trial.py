"""`python -m streaming.trial FOLDER BACKEND PRECISION`: does this bundle load and score here? Exit 0 says yes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from models.runtime.scorer import Backend, Precision, load_scorer
from sightline.errors import DetectorError, PrerequisiteError


def main(folder: str, backend: str, precision: str) -> int:
    try:
        load_scorer(Path(folder), cast(Backend, backend), precision=cast(Precision, precision))
    except (DetectorError, PrerequisiteError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
