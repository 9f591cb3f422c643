"""Alerts as lines and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from console.feed import Layout, duration, save_picture
from sightline import samples
from sightline.contracts import AlertState
from sightline.errors import SightlineError

ALERT = replace(samples.alert(revision=7, state=AlertState.UPDATED), camera="loading-dock-north-17", peak_score=12.5)


@pytest.mark.parametrize("width", [24, 38, 40, 59, 60, 71, 79, 80, 85, 86, 100, 120, 200])
def test_a_line_fits_the_terminal(width: int) -> None:
    layout = Layout.of_width(width)
    # below 38 cells nothing can be left out any more
    assert cell_len(layout.line(ALERT).plain) <= max(width, 38)
    assert cell_len(layout.heading().plain) <= max(width, 38)


def test_eighty_columns_tell_everything() -> None:
    line = Layout.of_width(80).line(samples.alert(revision=2, state=AlertState.CLOSED)).plain
    for part in ("crit", "closed", "cam-1", "bottle_cap", "21", "0.913 ≥ 0.620", "2.4 s", samples.alert().alert_id[:8]):
        assert part in line


def test_what_could_steer_a_terminal_is_not_printed() -> None:
    assert "\x1b" not in Layout.of_width(120).line(replace(ALERT, camera="\x1b]0;owned\x07")).plain


def test_wide_letters_keep_the_columns() -> None:
    lines = [Layout.of_width(80).line(replace(ALERT, camera=name)).plain for name in ("カメラ七号機の前", "cam-1")]
    assert cell_len(lines[0]) == cell_len(lines[1])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (4.24, "4.2 s"), (59.96, "1m 00s"), (192, "3m 12s"), (7500, "2h 05m"), (1e6, "11 d")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_an_incident_has_one_picture_that_its_last_revision_replaces(tmp_path: Path) -> None:
    first = save_picture(samples.alert(), tmp_path / "pictures")
    later = save_picture(replace(samples.alert(revision=1), thumbnail=b"\xff\xd8 later"), tmp_path / "pictures")
    assert first == later
    assert [file.read_bytes() for file in (tmp_path / "pictures").iterdir()] == [b"\xff\xd8 later"]


def test_a_camera_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = save_picture(replace(ALERT, camera="../../etc/cron", alert_id="../x"), tmp_path)
    assert path is not None
    assert path.parent == tmp_path


def test_an_alert_without_picture_leaves_none(tmp_path: Path) -> None:
    assert save_picture(replace(ALERT, thumbnail=None), tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SightlineError, match="file"):
        save_picture(ALERT, tmp_path / "file" / "pictures")
