"""What the log hears of a broker that is away."""

from __future__ import annotations

import logging

import pytest

from console.following import Contact


def test_each_loss_is_told_once_and_not_every_try(caplog: pytest.LogCaptureFixture) -> None:
    contact = Contact("alerts")
    assert contact.fault == "alerts have not been reached yet"
    with caplog.at_level(logging.INFO, "console.following"):
        for fault in ("away", "away", None, None, "away", "refused"):
            contact.told(fault)
    assert [record.__dict__["error"] for record in caplog.records] == ["away", "away", "refused"]
    assert {record.getMessage() for record in caplog.records} == {"no alerts until the broker is back"}
    assert contact.fault == "refused"
