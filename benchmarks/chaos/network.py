"""Faults of the network between the line and its broker."""

from __future__ import annotations

import random
import time

from benchmarks.chaos.fault import Fault, idle
from benchmarks.chaos.line import Line


def connections_reset(line: Line, rng: random.Random) -> float:
    idle(rng)
    line.proxy.reset()
    return time.monotonic()


def slow_network(line: Line, rng: random.Random) -> float:
    """A tenth to half a second for each piece, each way."""
    idle(rng)
    line.proxy.delay = rng.uniform(0.1, 0.5)
    time.sleep(rng.uniform(3, 6))
    line.proxy.delay = 0.0
    return time.monotonic()


def half_open(line: Line, rng: random.Random) -> float:
    """No byte passes, no connection ends; afterwards the network goes on, or tells that the connections are gone."""
    idle(rng)
    line.proxy.hold()
    time.sleep(rng.uniform(2, 8))
    if rng.random() < 0.5:
        line.proxy.reset()
    line.proxy.release()
    return time.monotonic()


def answers_lost(line: Line, rng: random.Random) -> float:
    """The broker writes, and nobody hears that it did."""
    idle(rng)
    line.proxy.lose_answers()
    time.sleep(rng.uniform(0.5, 2))
    line.proxy.reset()
    return time.monotonic()


FAULTS = (
    Fault("connections-reset", connections_reset, 30, whole=False),
    Fault("slow-network", slow_network, 10, whole=False),
    Fault("half-open", half_open, 10, whole=False),
    Fault("answers-lost", answers_lost, 20, whole=False),
)
