"""Every kind of fault, by name."""

from __future__ import annotations

from benchmarks.chaos import disks, kills, network
from benchmarks.chaos.fault import Fault

CATALOGUE: dict[str, Fault] = {fault.name: fault for fault in (*kills.FAULTS, *network.FAULTS, *disks.FAULTS)}
