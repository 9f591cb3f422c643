"""Every kind of fault, by name."""

from __future__ import annotations

from benchmarks.chaos import detectors, disks, grown, kills, listeners, network, records
from benchmarks.chaos.fault import Fault

CATALOGUE: dict[str, Fault] = {
    fault.name: fault for room in (kills, network, disks, records, detectors, listeners, grown) for fault in room.FAULTS
}
