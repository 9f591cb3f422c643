"""Mail, against a real SMTP server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import ValidationError

from console.notify.mail import MailSink, digest
from console.notify.outbox import Outbox
from console.notify.settings import MailSettings, Rules
from sightline import samples
from sightline.contracts import Alert, AlertState, Severity
from sightline.errors import DeliveryError


class Mailbox:
    """Takes mail of those who log in over TLS; keeps what it got."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.refusing = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refusing:
            return "452 mailbox full"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, login: LoginPassword
    ) -> AuthResult:
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == b"long enough", handled=False)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def server(mailbox: Mailbox, certificate) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True,
        auth_required=True, authenticator=mailbox.authenticate,
    )  # fmt: skip
    controller.start()
    yield controller.port
    controller.stop()


@pytest.fixture
def sink(server: int, certificate, secret_file: Callable[[str], Path]) -> Callable[..., MailSink]:
    def make(password: str = "long enough", **more: Any) -> MailSink:
        return MailSink(
            settings(
                port=server,
                username="sightline",
                password_file=secret_file(password),
                ca_file=certificate.certificate,
                **more,
            )
        )

    return make


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def mail_one(sink: MailSink, port: int) -> None:
    """Raises what `sink.send` raises. The loop lives until the connection is closed, as a service's would."""

    async def send() -> None:
        try:
            await sink.send([samples.alert()])
        finally:
            while any(end.raddr and end.raddr.port == port for end in psutil.Process().net_connections("tcp")):
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(send(), timeout=30))


def settings(**more: Any) -> MailSettings:
    return MailSettings(
        host="127.0.0.1", sender="sightline@plant.example", to=["shift@plant.example", "qa@plant.example"], **more
    )


def test_over_starttls_after_a_login_with_text_and_picture(mailbox: Mailbox, server: int, sink) -> None:
    mail_one(sink(), server)
    (mail,) = mailbox.mails
    assert mailbox.logins == [(b"sightline", b"long enough")]
    assert mail["Subject"] == "[Sightline] line-a: 1 incident, 0 critical (cam-1)"
    assert mail["To"] == "shift@plant.example, qa@plant.example"
    body = mail.get_body()
    assert body is not None
    assert "peak 0.913 (limit 0.620) in frame 40" in body.get_content()
    assert [part.get_content() for part in mail.iter_attachments()] == [samples.JPEG]


def test_a_wrong_password_is_tried_again_later_and_not_shown(mailbox: Mailbox, server: int, sink) -> None:
    with pytest.raises(DeliveryError) as refused:
        mail_one(sink(password="mistyped"), server)
    assert not refused.value.final
    assert "mistyped" not in str(refused.value)
    assert mailbox.mails == []


def test_a_server_that_is_not_trusted_gets_no_password(mailbox: Mailbox, server: int, secret_file) -> None:
    wary = MailSink(settings(port=server, username="sightline", password_file=secret_file("long enough")))
    with pytest.raises(DeliveryError):
        mail_one(wary, server)
    assert mailbox.logins == []


def test_a_full_mailbox_is_no_delivery(mailbox: Mailbox, server: int, sink) -> None:
    mailbox.refusing = True
    with pytest.raises(DeliveryError, match="mailbox full"):
        mail_one(sink(), server)


def test_a_digest_tells_each_incident_once_as_it_stands_and_bounds_the_pictures() -> None:
    closed = replace(samples.alert(revision=1, state=AlertState.CLOSED), count=12)
    others = [samples.alert(f"cam-{n}", 40) for n in range(2, 7)]
    mail = digest([samples.alert(), *others, closed], settings(pictures=2))
    text = mail.get_body().get_content()
    assert mail["Subject"] == "[Sightline] line-a: 6 incidents, 1 critical (cam-1, cam-2, cam-3 and 3 more)"
    assert "6 incidents on line line-a, 5 still open" in text
    assert text.count(samples.alert().alert_id) == 1
    assert len(list(mail.iter_attachments())) == 2


def test_a_name_with_a_line_break_makes_no_header() -> None:
    mail = digest([replace(samples.alert(), camera="cam\r\nBcc: all@plant.example")], settings())
    assert mail["Bcc"] is None
    assert "Bcc: all@plant.example" in mail["Subject"]


def test_the_same_alerts_make_the_same_message_id_and_others_another() -> None:
    first, later = samples.alert(), samples.alert(revision=1)
    ids = [digest(alerts, settings())["Message-ID"] for alerts in ([first], [first], [later], [first, later])]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_a_line_is_told_at_once_and_then_at_most_every_few_minutes(tmp_path: Path, clock) -> None:
    outbox = Outbox(tmp_path, most=100, clock=clock)
    one = MailSink(settings(security="none", every_minutes=15))

    def park(sequence: int) -> Alert:
        alert = replace(samples.alert("cam-1", sequence), severity=Severity.CRITICAL)
        alert = replace(alert, updated_at=alert.updated_at + timedelta(seconds=1))
        outbox.park([alert], {"shift": Rules()}, lambda _: False)
        return alert

    first, second, third = park(1), None, None
    told = outbox.take("shift", one.most)
    assert [waiting.alert for waiting in told] == [first]
    outbox.done("shift", told, one.rest_seconds)
    second, third = park(2), park(3)
    assert outbox.take("shift", one.most) == []
    clock.now += 15 * 60 + 1
    assert [waiting.alert for waiting in outbox.take("shift", one.most)] == [second, third]
    outbox.close()


def test_a_password_is_never_sent_in_clear(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="a password needs"):
        settings(security="none", username="sightline", password_file=tmp_path / "password")
