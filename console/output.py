"""Where commands write: a terminal that knows its width, or a pipe whose reader may leave early."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.cells import cell_len, set_cell_size
from rich.console import Console

READER_LEFT = 128 + 13
"""Exit code when the reader of stdout has gone, as of a program that SIGPIPE ends."""


class Terminal(Console):
    """A rich console that ends the command quietly when the reader of a pipe is gone."""

    def on_broken_pipe(self) -> NoReturn:
        leave_quietly()


def terminal(*, stderr: bool = False) -> Terminal:
    """A console without guesses: nothing in a value is taken for markup, an emoji or a number to colour."""
    return Terminal(stderr=stderr, highlight=False, markup=False, emoji=False)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """End quietly when the reader of stdout is gone, as in `sightline alerts --json | head -1`.

    The signal is left alone: with SIGPIPE at its default, a broker that closes its socket would end this process too.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        leave_quietly()


def leave_quietly() -> NoReturn:
    """End without a word; what is still buffered goes nowhere."""
    # the interpreter flushes stdout once more when it ends
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(READER_LEFT) from None


def write_line(line: bytes) -> None:
    """One line of machine-readable output, past every buffer."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def printable(text: str) -> str:
    """`text` with whatever could steer a terminal shown as `�`."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` terminal cells: padded, or cut with an ellipsis."""
    text = printable(text)
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"
