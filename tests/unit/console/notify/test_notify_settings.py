"""[notify.*] as people write it, and the examples of the documentation."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.mutes import MuteFollower
from console.notify.commands import app
from console.notify.job import wire
from console.notify.settings import NotifySettings
from sightline.contracts import AlertState, Severity
from sightline.errors import SettingsError
from sightline.settings import KafkaSettings

PAGE = Path(__file__).parents[4] / "docs" / "alerts-out.md"
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def write(text: str) -> NotifySettings:
        file = tmp_path / "sightline.toml"
        file.write_text(text)
        monkeypatch.setenv("SIGHTLINE_CONFIG", str(file))
        return NotifySettings.load(folder=tmp_path / "notify")

    return write


def test_the_example_of_the_documentation_is_understood(configured) -> None:
    settings = configured(EXAMPLE)
    assert sorted(settings.rules) == ["mes", "shift", "tower"]
    assert settings.webhook["mes"].severities == {Severity.CRITICAL}
    assert settings.mqtt["tower"].states == set(AlertState)
    assert settings.mail["shift"].every_minutes == 15
    assert settings.modbus["ejector"].stations == {"cam-1": 1, "cam-2": 2}
    assert set(tomllib.loads(EXAMPLE)["notify"]) == {"webhook", "mqtt", "mail", "modbus"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[notify.webhook.a]\nurl = "ftp://x"\nsecret_file = "s"', "https://HOST"),
        ('[notify.webhook.a]\nurl = "https://u:hunter2@x/"\nsecret_file = "s"', "no user"),
        ('[notify.webhook.a]\nurl = "https://x/hunter2"', "secret_file"),
        ('[notify.webhook."A b"]\nurl = "https://x/hunter2"\nsecret_file = "s"', "cannot name"),
        (
            '[notify.modbus.a]\nhost = "x"\n[notify.webhook.a]\nurl = "https://x/hunter2"\nsecret_file = "s"',
            "two receivers",
        ),
        ('[notify.mqtt.a]\nhost = "x"\ntopic = "a/#"', "topic"),
        ('[notify.mail.a]\nhost = "x"\nsender = "a@b"\nto = []', "to"),
        ('[notify.pager.a]\nhost = "x"', "pager"),
    ],
)
def test_what_is_wrong_is_named_and_no_address_is_shown(configured, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        configured(text)
    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)


SHIFT = 'sender = "a@plant.example"\nto = ["b@plant.example"]\n'


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('[notify.webhook.a]\nurl = "http://mes.plant.local/hunter2"\nsecret_file = "s"', 'url = "https://…"'),
        ('[notify.mqtt.a]\nhost = "mqtt.plant.local"\ntls = false', "tls = true"),
        (f'[notify.mail.a]\nhost = "10.0.0.7"\nsecurity = "none"\n{SHIFT}', 'security = "starttls"'),
        ('[notify.webhook.a]\nurl = "http://127.0.0.1:9/hunter2"\nsecret_file = "s"', None),
        ('[notify.webhook.a]\nurl = "https://mes.plant.local/hunter2"\nsecret_file = "s"', None),
        ('[notify.mqtt.a]\nhost = "localhost"\ntls = false', None),
        (f'[notify.mail.a]\nhost = "::1"\nsecurity = "none"\n{SHIFT}', None),
    ],
)
def test_a_receiver_without_tls_beyond_this_machine_is_warned_of_at_the_start(
    configured, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, text: str, remedy: str | None
) -> None:
    settings = configured(text)
    monkeypatch.setattr("console.notify.job.open_sinks", lambda *_: {})
    wire(settings, KafkaSettings(), MuteFollower(KafkaSettings())).outbox.close()
    warned = [record for record in caplog.records if "in clear" in record.message]
    assert [(record.sink, record.remedy) for record in warned] == ([("a", remedy)] if remedy else [])


def test_status_shows_receivers_that_nothing_was_sent_to_yet(configured) -> None:
    configured(EXAMPLE)
    answer = CliRunner().invoke(app, ["notify", "status"], terminal_width=160)
    assert answer.exit_code == 0
    assert all(name in answer.output for name in ("ejector", "mes", "shift", "tower"))


def test_an_unknown_receiver_is_answered_with_the_known_ones(configured) -> None:
    configured(EXAMPLE)
    answer = CliRunner().invoke(app, ["notify", "test", "lamp"])
    assert isinstance(answer.exception, SettingsError)
    assert "ejector, mes, shift, tower" in str(answer.exception)


def test_a_sample_goes_to_one_receiver(configured, http, secret_file) -> None:
    secret = secret_file("whsec_" + "c2lnaHRsaW5l" * 3)
    configured(f'[notify.webhook.mes]\nurl = "{http.url}"\nsecret_file = "{secret}"')
    answer = CliRunner().invoke(app, ["notify", "test", "mes"])
    assert "mes took it in" in answer.output
    assert b'"camera":"sightline-test"' in http.taken[0][1]
