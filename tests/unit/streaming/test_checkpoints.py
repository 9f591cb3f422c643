from __future__ import annotations

from pathlib import Path

import pytest

from streaming.checkpoints import mend

PLAN = b'v1\n{"batchWatermarkMs":0,"conf":{}}\n{"frames":{"0":7}}'
END = b'v1\n{"nextBatchWatermarkMs":0}'


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Batches 3 and 4 with plan and end, and 5 with its plan only; each with Hadoop's checksum beside it."""
    (tmp_path / "metadata").write_text('{"id":"1"}')
    for folder, numbers, content in (("offsets", (3, 4, 5), PLAN), ("commits", (3, 4), END)):
        (tmp_path / folder).mkdir()
        for number in numbers:
            (tmp_path / folder / str(number)).write_bytes(content)
            (tmp_path / folder / f".{number}.crc").write_bytes(b"crc")
    return tmp_path


def left(checkpoint: Path) -> dict[str, list[str]]:
    return {name: sorted(file.name for file in (checkpoint / name).iterdir()) for name in ("offsets", "commits")}


def test_a_sound_checkpoint_is_left_alone(checkpoint: Path) -> None:
    before = left(checkpoint)
    assert mend(str(checkpoint)) == []
    assert left(checkpoint) == before


@pytest.mark.parametrize("length", range(len(PLAN)))
def test_a_torn_plan_goes_wherever_it_is_cut(checkpoint: Path, length: int) -> None:
    (checkpoint / "offsets" / "5").write_bytes(PLAN[:length])
    assert mend(str(checkpoint)) == [checkpoint / "offsets" / "5"]
    assert left(checkpoint)["offsets"] == [".3.crc", ".4.crc", "3", "4"]
    assert "4" in left(checkpoint)["commits"]


@pytest.mark.parametrize("length", range(len(END)))
def test_a_torn_end_goes_and_its_plan_stays(checkpoint: Path, length: int) -> None:
    (checkpoint / "commits" / "4").write_bytes(END[:length])
    assert mend(str(checkpoint)) == [checkpoint / "commits" / "4"]
    assert "4" in left(checkpoint)["offsets"]
    assert left(checkpoint)["commits"] == [".3.crc", "3"]


def test_the_end_of_a_batch_goes_with_its_plan(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "5").unlink()
    (checkpoint / "offsets" / "4").write_bytes(b"")
    assert mend(str(checkpoint)) == [checkpoint / "offsets" / "4", checkpoint / "commits" / "4"]


def test_a_torn_identity_goes(checkpoint: Path) -> None:
    (checkpoint / "metadata").write_text('{"id":')
    assert mend(str(checkpoint)) == [checkpoint / "metadata"]


@pytest.mark.parametrize("place", ["s3a://bucket/checkpoint", "no-such-folder"])
def test_nothing_is_there_to_mend(place: str) -> None:
    assert mend(place) == []
