from __future__ import annotations

from pathlib import Path

from benchmarks.chaos.journal import Journal, JournalReader, Picture


def test_what_two_processes_of_a_camera_wrote_is_read_once_and_a_half_line_waits(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path)
    first = Journal(tmp_path, "cam")
    first.captured(0, Picture.GOOD)
    first.acknowledged(0)
    first.captured(1, Picture.CUT)
    first.close()
    assert set(reader.update().captured) == {("cam", 0), ("cam", 1)}
    second = Journal(tmp_path, "cam")
    second.acknowledged(1)
    with (tmp_path / "cam.journal").open("a") as file:
        file.write("c 2")
    assert reader.update().acknowledged == {("cam", 0), ("cam", 1)}
    assert ("cam", 2) not in reader.sent.captured
    with (tmp_path / "cam.journal").open("a") as file:
        file.write(" 17.5 defect\n")
    assert reader.update().captured["cam", 2] == 17.5
    assert reader.sent.pictures == {("cam", 0): "good", ("cam", 1): "cut", ("cam", 2): "defect"}
    assert reader.sent.reused == set()


def test_a_number_that_is_given_twice_is_told(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path, "cam")
        journal.captured(7, Picture.GOOD)
        journal.close()
    assert JournalReader(tmp_path).update().reused == {("cam", 7)}
