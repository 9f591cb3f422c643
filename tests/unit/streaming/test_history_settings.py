"""Which tables a history job fills."""

from __future__ import annotations

import pytest

from sightline.errors import SettingsError
from streaming.history import HistorySettings
from streaming.tables import TABLES


def test_one_job_fills_all_tables_or_those_that_it_is_given() -> None:
    assert HistorySettings.load().tables == tuple(TABLES)
    assert HistorySettings.load(only=["alerts", "inspections", "alerts"]).tables == ("alerts", "inspections")


def test_a_table_that_there_is_not_is_named_beside_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"'alarms' is no table; there are inspections, .*alerts"):
        HistorySettings.load(only=["alarms"])
