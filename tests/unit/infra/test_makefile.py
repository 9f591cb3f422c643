"""`make demo -- …` hands its words on, whatever they look like to make."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[3] / "Makefile"
SAY_WORDS = '#!/bin/sh\nfor word; do echo "$word"; done\n'

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is set up, where `sightline` and `python` only say the words that they got, each on a line."""
    shutil.copy(MAKEFILE, tmp_path)
    inputs = ("pyproject.toml", "infra/ivy.xml", "requirements/dev.txt")
    steps = ("venv", "requirements", "project", "jars")
    for name in (*inputs, *(f".venv/done/{step}" for step in steps)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("sightline", "python"):
        program = tmp_path / ".venv" / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(SAY_WORDS)
        program.chmod(0o755)
    (tmp_path / "parts").mkdir()
    return tmp_path


def _make(project: Path, *words: str) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    answer = subprocess.run(["make", *words], cwd=project, env=environment, capture_output=True, text=True, check=True)
    assert not answer.stderr
    return answer.stdout.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ["--minutes", "2"],
        ["--images", "parts", "--cameras", "2"],  # a path that exists
        ["--product", "test", "check", "clean"],  # names of other goals
        ["--video", "rtsp://10.0.0.7:554/stream1"],
        ["--camera", "0", "--help"],
        ["--minutes=2"],  # to make, a variable
    ],
)
def test_words_after_the_dashes_reach_the_demo(project: Path, words: list[str]) -> None:
    assert _make(project, "demo", "--", *words) == ["demo", *words]


def test_words_with_spaces_have_a_form_of_their_own(project: Path) -> None:
    assert _make(project, "demo", "ARGS=--images 'my parts'") == ["demo", "--images", "my parts"]


def test_pytest_gets_its_words_too(project: Path) -> None:
    asked = _make(project, "test", "--", "-k", "broker")
    assert asked[:2] == ["-m", "pytest"]
    assert asked[-2:] == ["-k", "broker"]


def test_alone_it_says_what_it_can_do(project: Path) -> None:
    said = "\n".join(_make(project))
    for goal in ("demo", "test", "check", "bench", "setup", "lock", "clean"):
        assert f"make {goal}" in said


def test_clean_leaves_the_history(project: Path) -> None:
    (project / "run").mkdir()
    assert "run/ is left" in _make(project, "clean")[-1]
    assert (project / "run").is_dir()
    assert not (project / ".venv").exists()


def test_without_python_it_says_what_to_install(project: Path) -> None:
    (project / ".venv" / "done" / "venv").unlink()
    (project / ".venv" / "bin" / "python").unlink()
    tools = project / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "make", "sed", "mkdir", "touch"):
        (tools / name).symlink_to(str(shutil.which(name)))
    answer = subprocess.run(
        ["make", "setup"], cwd=project, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert answer.returncode != 0
    assert "no Python 3.11 or later" in answer.stderr
    assert "Traceback" not in answer.stderr
