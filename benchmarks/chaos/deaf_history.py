"""`python -m benchmarks.chaos.deaf_history FOLDER`: the product's history, which on demand does not hear of a commit.

When FOLDER asks for it, the next commit of delta-rs to the table of inspections is made, and the call that made it
raises: what a table store gives whose answer was lost.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import deltalake
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from streaming import history

TABLE = "inspections"
ERRORS: dict[str, type[Exception]] = {"CommitFailedError": CommitFailedError, "OSError": OSError}
"""What a lost answer may look like: the product tries the first again itself, after the other its batch comes again."""


class LostAnswer:
    """How a fault and the history agree, by files in a folder, that one answer is to be lost."""

    def __init__(self, folder: Path) -> None:
        self._asked, self._done = folder / "asked", folder / "done"

    def ask(self, error: str) -> None:
        """Let the next commit be followed by this one of `ERRORS`."""
        self._done.unlink(missing_ok=True)
        self._asked.parent.mkdir(parents=True, exist_ok=True)
        # in one step: it may be looked for at any moment
        fresh = self._asked.with_suffix(".new")
        fresh.write_text(error)
        fresh.replace(self._asked)

    def withdraw(self) -> None:
        self._asked.unlink(missing_ok=True)

    def version(self) -> int | None:
        """The table's version that was made unheard; None while there was none."""
        try:
            return int(self._done.read_text())
        except FileNotFoundError:
            return None

    def committed(self, version: int) -> None:
        """Raises what was asked for, once; `version` is there."""
        try:
            error = self._asked.read_text()
        except FileNotFoundError:
            return
        self._asked.unlink()
        fresh = self._done.with_suffix(".new")
        fresh.write_text(str(version))
        fresh.replace(self._done)
        raise ERRORS[error](f"the answer to the commit of version {version} was lost")


def deafen(lost: LostAnswer) -> None:
    """Let this process hear of its commits to `TABLE` only what `lost` lets through."""
    write = deltalake.write_deltalake

    def write_and_hear(table: DeltaTable, *arguments: Any, **options: Any) -> None:
        write(table, *arguments, **options)
        if Path(table.table_uri).name == TABLE:
            lost.committed(table.version())

    deltalake.write_deltalake = write_and_hear  # type: ignore[assignment]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    deafen(LostAnswer(parser.parse_args(argv).folder))
    history.main()


if __name__ == "__main__":
    main()
