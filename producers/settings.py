"""How cameras are read and their frames sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr

from producers.backlog import Policy
from sightline.settings import MAX_MESSAGE_BYTES, Section, run_folder

Positive = Annotated[float, Field(gt=0)]
MEGABYTE = 1024 * 1024


class ProducerSettings(Section):
    """Section `[producer]`, environment `SIGHTLINE_PRODUCER_*`."""

    section: ClassVar[str] = "producer"

    line: Annotated[str, Field(min_length=1, max_length=128)] = "line-1"
    sources: tuple[SecretStr, ...] = ()
    """Sources to publish when none is named on the command line, where every user of the machine could read a
    camera's password."""
    ledger: Path = Field(default_factory=lambda: run_folder() / "producers")
    """Folder of the ledgers that keep each camera's sequence across restarts."""

    fps: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Frames a second and camera; 0 for as fast as they leave. By default a video's own pace, else 10; live cameras
    set their own pace, which this can only lower."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    read_timeout: Positive = 5.0
    """Seconds of silence after which a network camera counts as lost."""
    retry_seconds: Positive = 30.0
    """Longest pause between two attempts to reach a lost camera; the first is half a second."""

    policy: Policy | None = None
    """What to do with frames that come faster than they leave; by default `drop-oldest` for live cameras and `block`
    for everything that can wait."""
    queue_frames: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Frames that may wait for each camera."""
    queue_bytes: Annotated[int, Field(ge=MEGABYTE)] = 12 * MEGABYTE
    """Bytes of frames that may wait for each camera."""
    flight_frames: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Frames and events handed to the Kafka client, of all cameras, that the broker has not answered."""
    flight_bytes: Annotated[int, Field(ge=MAX_MESSAGE_BYTES)] = 24 * MEGABYTE
    """Their bytes."""
    delivery_timeout: Positive = 120.0
    """Seconds after which a frame that the broker does not take is given up; never under `block` or with a spool."""

    spool: Path | None = None
    """Folder of the frames that wait on the disk while the broker is away; by default `spool` beside the ledgers."""
    spool_mb: Annotated[int, Field(ge=0)] = 2048
    """Megabytes of such frames for each camera; what does not fit goes by `policy`. 0 for no spool."""
    spool_spare_mb: Annotated[int, Field(ge=0)] = 512
    """Megabytes of the disk that are left to others: a spool that would need them is full."""
    spool_after: Positive = 1.0
    """Seconds without the broker's answer after which frames go to the disk."""
    spool_fps: Positive = 50.0
    """Frames a second, of all cameras, that leave the spool on top of what is captured, once the broker is back."""

    heartbeat_seconds: Positive = 5.0
    stop_seconds: Positive = 10.0
    """How long a stopping producer goes on sending what it has captured."""

    @property
    def spool_folder(self) -> Path:
        """Where the spools lie, a folder for each camera."""
        return self.spool or self.ledger / "spool"
