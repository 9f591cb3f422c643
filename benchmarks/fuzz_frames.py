"""Fuzzing of what reads foreign bytes, guided by coverage: the codec's headers and the decoder, through `FrameJudge`.

`make fuzz` runs it with the atheris of `requirements/fuzz.txt`: the first folder collects the inputs that reached new
code, those of the other folders are begun with, and what ends the process is left as `run/fuzz-crash-…`. Small inputs
that found something are kept in `tests/unit/streaming/hostile_corpus`; its tests judge each again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sightline.codec", "models.runtime", "streaming.worker", "streaming.finding"]):
    from sightline import codec  # noqa: F401
    from streaming import worker  # noqa: F401

from streaming.hostile import from_fuzzed
from streaming.hostile_run import judge_all

_FOLDER = Path(tempfile.mkdtemp())


def judge(data: bytes) -> None:
    """Raises RuntimeError where an input has no fate, or one that it may not have."""
    outcome = judge_all([from_fuzzed("fuzz", data)], _FOLDER)
    if outcome.faults:
        raise RuntimeError(outcome.faults[0])


if __name__ == "__main__":
    atheris.Setup(sys.argv, judge)
    atheris.Fuzz()
