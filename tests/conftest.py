"""What every test finds: its own run folder, no settings of the developer's, and the shared sample data if present."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """A run that is ended by SIGTERM (`timeout`, CI) is torn down as after Ctrl-C: no broker stays behind.

    Ctrl-C itself counts again where a shell started the run in the background and so had it ignored, children included.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder of this test session, and an environment without the developer's own SIGHTLINE_* variables."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("SIGHTLINE_") and not name.startswith("SIGHTLINE_TEST_"):
                patch.delenv(name)
        patch.setenv("SIGHTLINE_RUN", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample images and videos, `$SIGHTLINE_TEST_DATA` or `shared/data` beside the project."""
    folder = Path(os.environ.get("SIGHTLINE_TEST_DATA") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no sample data at {folder}; point SIGHTLINE_TEST_DATA at a folder that has castings/, cookies/ …")
    return folder


@pytest.fixture
def damage_rows() -> Callable[[Path], None]:
    """Overwrites the rows of a Parquet file and leaves its footer, from which a reader has columns and statistics."""

    def damage(file: Path) -> None:
        content = file.read_bytes()
        footer = int.from_bytes(content[-8:-4], "little") + 8
        file.write_bytes(content[:4] + bytes(len(content) - footer - 4) + content[-footer:])

    return damage
