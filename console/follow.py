"""`sightline alerts`: from the subscriber to a person or a pipe."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from console.feed import Layout, save_picture
from console.output import Terminal, reader_may_leave, terminal, write_line
from sightline.codec import encode
from sightline.contracts import Alert
from sightline.subscriber import AlertSubscriber


def follow_alerts(
    connect: Callable[[], AlertSubscriber], *, json: bool, follow: bool, limit: int | None, pictures: Path | None
) -> None:
    """Show alerts until `limit`, the end (unless `follow`), Ctrl-C, or the reader of stdout has left."""
    # its warnings about a lost connection would fall between the lines; the subscriber reports what matters
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with suppress(KeyboardInterrupt), reader_may_leave(), connect() as subscriber:
        show = _as_json if json else _Lines(terminal()).show
        if follow and sys.stdout.isatty():
            terminal(stderr=True).print("waiting for alerts; Ctrl-C ends", style="dim")
        for alert in islice(_alerts(subscriber, follow), limit):
            if pictures:
                save_picture(alert, pictures)
            show(alert)


def _alerts(subscriber: AlertSubscriber, follow: bool) -> Iterator[Alert]:
    while follow or not subscriber.caught_up:
        yield from subscriber.poll(0.5)


def _as_json(alert: Alert) -> None:
    write_line(encode(alert))


class _Lines:
    """Prints alerts one below the other; in a terminal with a heading, again after its width has changed."""

    def __init__(self, out: Terminal) -> None:
        self._out = out
        self._layout: Layout | None = None

    def show(self, alert: Alert) -> None:
        layout = Layout.of_width(self._out.width if self._out.is_terminal else 120)
        if self._out.is_terminal and layout != self._layout:
            self._out.print(layout.heading(), overflow="crop")
        self._layout = layout
        self._out.print(layout.line(alert), soft_wrap=True)
        self._out.file.flush()
