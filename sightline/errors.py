"""Every error that Sightline raises on purpose.

A message says what was wrong, with which value, and what to do about it::

    SightlineError
     ├─ SettingsError        a key is missing, malformed or contradicts another
     ├─ SourceError          frames cannot be had: folder, video, camera or stream
     ├─ PublishError         frames cannot be sent
     ├─ FrameError           one frame is unusable: it becomes a dead letter with `reason`
     ├─ DetectorError        a detector cannot be trained, loaded or trusted
     ├─ RegistryError        the model registry is unreachable or lacks what was asked for
     ├─ BrokerError          Kafka is unreachable, or the embedded broker cannot start
     ├─ PrerequisiteError    Java, a jar, a port or disk space is missing on this machine
     ├─ TableError           a Delta table is missing or cannot be read
     ├─ QueryError           SQL that cannot be run, or that would do more than read
     ├─ AccessError          a user, key or password is unknown, taken or not allowed
     ├─ DeliveryError        a receiver of alerts did not take one, with `final` and `wait`
     └─ ApiError             the API of another process refused, with `status` and `slug`

The command line prints the message and leaves with `exit_code`; it never shows a traceback for these.
"""

from __future__ import annotations


class SightlineError(Exception):
    """Base of all errors that carry a message for a person."""

    exit_code = 1


class SettingsError(SightlineError):
    """A setting is missing, malformed or contradicts another; names the key."""

    exit_code = 2


class SourceError(SightlineError):
    """A frame source cannot be opened or has nothing to give."""


class PublishError(SightlineError):
    """A frame could not be handed to the broker."""


class FrameError(SightlineError):
    """One frame cannot be judged.

    `reason` is a short slug from `sightline.contracts.Reason`; the text is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DetectorError(SightlineError):
    """A detector bundle is incomplete, of another version, or fails its own check."""


class RegistryError(SightlineError):
    """The model registry cannot be reached, or holds no such model, version or alias."""


class BrokerError(SightlineError):
    """Kafka cannot be reached, refuses what was asked, or cannot be started."""


class PrerequisiteError(SightlineError):
    """Something this machine must provide (Java, a jar, a port, disk space) is missing."""


class TableError(SightlineError):
    """A table is missing, empty or unreadable."""


class QueryError(SightlineError):
    """SQL that is not understood, fails, or would do more than read."""


class AccessError(SightlineError):
    """A user, key or password is unknown, taken or not allowed."""


class DeliveryError(SightlineError):
    """A receiver of alerts did not take what was sent.

    `final` is whether sending the same again is in vain; `wait` is how many seconds the receiver asked for, if it did.
    """

    def __init__(self, message: str, *, final: bool = False, wait: float | None = None) -> None:
        super().__init__(message)
        self.final = final
        self.wait = wait


class ApiError(SightlineError):
    """The API of another process refused or cannot be reached.

    `status` is that of HTTP, None when nothing answered; `slug` ends the type of its problem.
    """

    def __init__(self, status: int | None, slug: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.slug = slug
