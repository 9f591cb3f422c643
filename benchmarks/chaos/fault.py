"""What a fault is, and the waiting for the moment at which it strikes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.chaos.line import Line, Rooted


class MissedError(Exception):
    """The moment for which a fault waits did not come: the injection does not count."""


class BrokenError(Exception):
    """What must hold during or right after this fault did not."""


Inject = Callable[[Line, random.Random], float]
"""Does the damage, and repairs what nobody but an operator could (a full disk); returns the moment, on the monotonic
clock, from which the recovery counts. Raises MissedError or BrokenError."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to break the line. After it every frame must have one fate, with nobody's help.

    `times` of it are injected in a full run. `whole` tells whether it needs the line behind the cameras, `grown`
    whether it needs several brokers and Spark workers, `needs` what only root can make. `within` is the longest
    recovery in seconds that the fault allows: of the rate of verdicts, or with `table` of commits to the table of
    inspections. `may_drop` tells whether it may cost frames that are counted as dropped.
    """

    name: str
    inject: Inject
    times: int
    whole: bool = True
    grown: bool = False
    needs: Rooted | None = None
    within: float = 120.0
    table: bool = False
    may_drop: bool = False


What = str | Callable[[], str]
"""What is waited for, as its error tells it; a function is asked when the time is up."""


def wait_for(condition: Callable[[], bool], seconds: float, what: What, every: float = 0.002) -> None:
    """Return in the moment in which `condition` holds; raises MissedError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise MissedError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(every)


def insist(condition: Callable[[], bool], seconds: float, what: What) -> None:
    """As `wait_for`, for what must come; raises BrokenError."""
    try:
        wait_for(condition, seconds, what, every=0.1)
    except MissedError as error:
        raise BrokenError(str(error)) from None


def idle(rng: random.Random, most: float = 1.5) -> None:
    """A random while, so that the fault strikes at any moment of a micro-batch."""
    time.sleep(rng.uniform(0, most))
