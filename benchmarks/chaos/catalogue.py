"""Every kind of fault, by name."""

from __future__ import annotations

from benchmarks.chaos import detectors, disks, kills, network, records
from benchmarks.chaos.fault import Fault

CATALOGUE: dict[str, Fault] = {
    fault.name: fault for fault in (*kills.FAULTS, *network.FAULTS, *disks.FAULTS, *records.FAULTS, *detectors.FAULTS)
}
