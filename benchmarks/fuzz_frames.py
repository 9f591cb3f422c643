"""Fuzzing of what reads foreign bytes, guided by coverage: the codec's headers and the decoder, through `FrameJudge`.

`pip install atheris`, then `python -m benchmarks.fuzz_frames FOLDER -max_total_time=600`: FOLDER collects the inputs
that reached new code; what ends the process is written beside it as `crash-…`. Small ones that found something are kept
in `tests/unit/streaming/hostile_corpus`.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sightline.codec", "models.runtime", "streaming.worker", "streaming.finding"]):
    from sightline import codec  # noqa: F401
    from streaming import worker  # noqa: F401

from streaming.hostile import from_picture, hostile_frames
from streaming.hostile_pictures import ANY, HostilePicture
from streaming.hostile_run import judge_all

_FOLDER = Path(tempfile.mkdtemp())


def judge(data: bytes) -> None:
    """The first byte says what is fuzzed: the picture, or the headers of a sound one."""
    if not data:
        return
    if data[0] % 2:
        frame = from_picture("fuzz", HostilePicture(data[1:], ANY), random.Random(0), 0)
        record = frame.record
    else:
        frame = from_picture("fuzz", HostilePicture(_SOUND, ANY), random.Random(0), 0)
        record = frame.record
        fuzzed = atheris.FuzzedDataProvider(data[1:])
        headers = list(record.headers)
        for _ in range(fuzzed.ConsumeIntInRange(1, 6)):
            at = fuzzed.ConsumeIntInRange(0, len(headers) - 1)
            name = fuzzed.ConsumeUnicodeNoSurrogates(12) if fuzzed.ConsumeBool() else headers[at][0]
            headers[at] = (name, fuzzed.ConsumeBytes(40))
        record = record._replace(headers=headers, key=fuzzed.ConsumeBytes(20))
    outcome = judge_all([type(frame)(kind="fuzz", record=record, fates=ANY)], _FOLDER)
    if outcome.faults:
        raise RuntimeError(outcome.faults[0])


_SOUND = next(frame.record.value for frame in hostile_frames(0) if frame.kind == "grey") or b""


if __name__ == "__main__":
    atheris.Setup(sys.argv, judge)
    atheris.Fuzz()
