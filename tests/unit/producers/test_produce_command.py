"""What `produce` says before it has reached any broker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from producers.commands import app
from sightline.errors import SettingsError


def complaint(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["produce", *arguments])
    assert isinstance(result.exception, SettingsError), result.output
    return str(result.exception)


def test_help_teaches_with_examples() -> None:
    text = re.sub(r"\s+", " ", CliRunner().invoke(app, ["produce", "--help"], env={"COLUMNS": "200"}).output)
    assert "sightline produce sim:bottle_cap --cameras 4 --fps 20" in text
    assert "drop-oldest" in text


def test_help_loads_neither_opencv_nor_kafka() -> None:
    program = "import sys, producers.commands; print({'cv2', 'numpy', 'confluent_kafka'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


def test_no_source_is_told_with_examples() -> None:
    assert "sim:bottle_cap?seed=3" in complaint()


def test_a_camera_must_be_told_what_it_shows() -> None:
    assert "usb:0 does not know what it shows; name it with --product" in complaint("usb:0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sim:bottle_cap", "--camera", "a", "--camera", "b"), "2 names for 1 cameras"),
        (("sim:bottle_cap", "sim:gear", "--cameras", "3"), "--cameras 3 goes with one source, not with 2"),
        (("sim:bottle_cap", "--fps", "5000"), r"SIGHTLINE_PRODUCER_FPS"),
        (("sim:bottle_cap", "sim:gear", "--camera", "a", "--camera", "a"), "camera 'a' is named twice"),
        (("sim:bottle_cap", "--camera", "a\tb"), "cannot be the name"),
    ],
)
def test_contradictions_are_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in complaint(*arguments)


def test_sources_may_stand_in_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "line.toml"
    config.write_text('[producer]\nsources = ["rtsp://admin:s3cret@cam/1"]\n')
    monkeypatch.setenv("SIGHTLINE_CONFIG", str(config))
    said = complaint()
    assert said.startswith("rtsp://***@cam/1 does not know what it shows")
