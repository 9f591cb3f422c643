"""Alerts as mail: digests of a line, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate

import aiosmtplib

from console.notify.settings import MailSettings, read_secret
from console.notify.sink import message_id, tls_context
from sightline.codec import digest_id
from sightline.contracts import Alert, AlertState, Severity
from sightline.errors import DeliveryError

MOST_ALERTS = 200
"""Of one mail."""


class MailSink:
    """One SMTP server, connected for each mail.

    Delivery: at least once, told when the server has taken the mail for all recipients or for some. A repeat has the
    same `Message-ID`. One line is told at most once in `every_minutes`; what happens meanwhile waits, and comes
    together.
    """

    most = MOST_ALERTS

    def __init__(self, settings: MailSettings) -> None:
        """Raises SettingsError when password or certificates cannot be read."""
        self.seconds = settings.timeout_seconds
        self.rest_seconds = settings.every_minutes * 60
        self._settings = settings
        self._password = read_secret(settings.password_file, "the password") if settings.password_file else None
        self._tls = tls_context(settings.ca_file) if settings.security != "none" else None

    async def open(self) -> None:
        """Nothing to do: each mail has a connection of its own."""

    async def send(self, alerts: Sequence[Alert]) -> None:
        settings = self._settings
        try:
            await aiosmtplib.send(
                digest(alerts, settings),
                hostname=settings.host,
                port=settings.port,
                # never the weaker of the two because somebody in between left out STARTTLS
                start_tls=settings.security == "starttls",
                use_tls=settings.security == "tls",
                tls_context=self._tls,
                username=settings.username,
                password=self._password,
                timeout=settings.timeout_seconds,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # never final: what a server refuses for good is nearly always the sender's password or address
            raise DeliveryError(f"{settings.host}:{settings.port} did not take the mail: {error}") from error

    async def close(self) -> None:
        """Nothing to do."""


def digest(alerts: Sequence[Alert], settings: MailSettings) -> EmailMessage:
    """One mail about `alerts` of one line, oldest first: each incident by its last revision."""
    newest = list({alert.alert_id: alert for alert in alerts}.values())
    critical = sum(alert.severity is Severity.CRITICAL for alert in newest)
    still_open = sum(alert.state is not AlertState.CLOSED for alert in newest)
    cameras = sorted({alert.camera for alert in newest})
    shown = ", ".join(cameras[:3]) + (f" and {len(cameras) - 3} more" if len(cameras) > 3 else "")
    incidents = "1 incident" if len(newest) == 1 else f"{len(newest)} incidents"

    mail = EmailMessage()
    # a name with a line break would be a header of its own
    mail["Subject"] = " ".join(f"[Sightline] {newest[0].line}: {incidents}, {critical} critical ({shown})".split())
    mail["From"] = settings.sender
    mail["To"] = ", ".join(settings.to)
    mail["Date"] = formatdate(newest[-1].updated_at.timestamp())
    domain = settings.sender.rpartition("@")[2]
    mail["Message-ID"] = f"<{digest_id(*map(message_id, alerts))}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    heading = f"{incidents} on line {newest[0].line}, {still_open} still open. Times are UTC.\n"
    mail.set_content("\n".join([heading, *(_paragraph(alert) for alert in newest)]))
    pictured = [alert for alert in newest if alert.thumbnail is not None][: settings.pictures]
    for alert in pictured:
        assert alert.thumbnail is not None
        mail.add_attachment(
            alert.thumbnail,
            maintype="image",
            subtype="jpeg",
            filename=f"{alert.alert_id[:8]}-{alert.peak_sequence}.jpg",
        )
    return mail


def _paragraph(alert: Alert) -> str:
    return (
        f"{alert.state.value:<7} {alert.severity.value:<8} {alert.camera} ({alert.product})\n"
        f"    since {alert.opened_at:%Y-%m-%d %H:%M:%S}, last defect {alert.updated_at:%H:%M:%S}, "
        f"{alert.count} defective frames\n"
        f"    peak {alert.peak_score:.3f} (limit {alert.threshold:.3f}) in frame {alert.peak_sequence}, "
        f"detector {alert.detector.name} version {alert.detector.version}\n"
        f"    {alert.alert_id}\n"
    )
