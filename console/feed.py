"""Alerts as lines in a terminal and as pictures in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.text import Text

from console.output import fit
from sightline.contracts import Alert, AlertState, Severity
from sightline.errors import SightlineError

SEVERITY_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow"}
STATE_STYLES = {AlertState.OPENED: "bold", AlertState.UPDATED: "", AlertState.CLOSED: "green"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns a terminal has room for, and how wide the words may be, in cells."""

    severity: int
    name: int
    product: bool = True
    limits: bool = True
    alert_id: bool = True

    @classmethod
    def of_width(cls, width: int) -> Layout:
        """The widest layout for `width` cells; 80 show everything, below that the least urgent columns go first."""
        if width >= 86:
            return cls(severity=8, name=min(24, 10 + (width - 84) // 2))
        if width >= 80:
            return cls(severity=4, name=10)
        if width >= 71:
            return cls(severity=4, name=10, alert_id=False)
        if width >= 60:
            return cls(severity=4, name=10, alert_id=False, product=False)
        return cls(severity=4, name=max(4, min(10, width - 34)), alert_id=False, product=False, limits=False)

    def heading(self) -> Text:
        """The column names."""
        parts = [f"{'time':<8}", fit("severity", self.severity), f"{'state':<7}", fit("camera", self.name)]
        if self.product:
            parts.append(fit("product", self.name))
        parts += ["count", " peak"]
        if self.limits:
            parts.append(f"≥ {'limit':<5} {'lasts':>7}")
        if self.alert_id:
            parts.append("alert")
        return Text(" ".join(parts), style="dim", no_wrap=True)

    def line(self, alert: Alert) -> Text:
        """One alert, with its time of day in the terminal's own zone."""
        line = Text(no_wrap=True)
        line.append(f"{alert.updated_at.astimezone():%H:%M:%S} ")
        line.append(alert.severity.value[: self.severity].ljust(self.severity) + " ", SEVERITY_STYLES[alert.severity])
        line.append(fit(alert.state.value, 7) + " ", STATE_STYLES[alert.state])
        line.append(fit(alert.camera, self.name) + " ")
        if self.product:
            line.append(fit(alert.product, self.name) + " ")
        line.append(f"{alert.count:>5} ")
        line.append(f"{_score(alert.peak_score):>5}", SEVERITY_STYLES[alert.severity])
        if self.limits:
            line.append(f" ≥ {_score(alert.threshold):<5} ")
            line.append(f"{duration((alert.updated_at - alert.opened_at).total_seconds()):>7}")
        if self.alert_id:
            line.append(f" {fit(alert.alert_id, 9)[:8]}", "dim")
        return line


def duration(seconds: float) -> str:
    """A span in at most seven characters: `4.2 s`, `3m 12s`, `2h 05m`, `12 d`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 48 else f"{hours // 24} d"


def save_picture(alert: Alert, folder: Path) -> Path | None:
    """Write the alert's thumbnail into `folder`; the last revision of an incident replaces the one before.

    Returns the file, or None when the alert has no picture. Raises SightlineError when it cannot be written.
    """
    if alert.thumbnail is None:
        return None
    camera = re.sub(r"[^A-Za-z0-9_-]+", "_", alert.camera)[:80]
    path = folder / f"{_stamp(alert.opened_at)}-{camera}-{re.sub(r'[^A-Za-z0-9]+', '_', alert.alert_id[:8])}.jpg"
    half = path.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        half.write_bytes(alert.thumbnail)
        half.replace(path)
    except OSError as error:
        raise SightlineError(f"cannot write pictures to {str(folder)!r}: {error}; choose another folder") from error
    return path


def _score(value: float) -> str:
    """Five characters for any score."""
    magnitude = abs(value)
    if magnitude < 10:
        return f"{value:.3f}"
    return f"{value:.1f}" if magnitude < 1000 else f"{value:.0e}".replace("e+0", "e")


def _stamp(time: datetime) -> str:
    return f"{time:%Y%m%dT%H%M%SZ}"
