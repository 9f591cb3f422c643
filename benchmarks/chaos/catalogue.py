"""Every kind of fault, by name."""

from __future__ import annotations

from benchmarks.chaos import detectors, disks, grown, kills, listeners, network, outages, records
from benchmarks.chaos.fault import Fault

ROOMS = (kills, network, outages, disks, records, detectors, listeners, grown)
CATALOGUE: dict[str, Fault] = {fault.name: fault for room in ROOMS for fault in room.FAULTS}
