"""The history that does not hear of one commit."""

from __future__ import annotations

from pathlib import Path

import deltalake
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from benchmarks.chaos.deaf_history import ERRORS, TABLE, LostAnswer, deafen


@pytest.mark.parametrize("error", ERRORS)
def test_one_commit_is_made_and_unheard_and_the_next_is_heard(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltalake, "write_deltalake", deltalake.write_deltalake)
    lost, rows = LostAnswer(tmp_path / "lost"), pa.table({"camera": ["a"]})
    deafen(lost)
    table, other = (DeltaTable.create(str(tmp_path / "tables" / name), rows.schema) for name in (TABLE, "dead_letters"))
    lost.ask(error)
    deltalake.write_deltalake(other, rows, mode="append")
    assert lost.version() is None
    with pytest.raises(ERRORS[error], match="version 1 was lost"):
        deltalake.write_deltalake(table, rows, mode="append")
    assert lost.version() == DeltaTable(table.table_uri).version() == 1
    deltalake.write_deltalake(table, rows, mode="append")
    assert DeltaTable(table.table_uri).to_pyarrow_table().num_rows == 2


def test_what_was_asked_for_in_vain_is_withdrawn(tmp_path: Path) -> None:
    lost = LostAnswer(tmp_path)
    lost.ask("OSError")
    lost.withdraw()
    lost.committed(3)
    assert lost.version() is None
