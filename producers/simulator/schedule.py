"""Which frames are defective: runs of bad parts, as a dull tool makes them, as a function of seed and index alone.

The indices are cut into blocks of equal length. Each block holds one run at a place, of a length and of a kind drawn
from the block's own generator, so any frame can be asked for without the ones before it. The share of defective frames
over whole blocks is the defect rate exactly in expectation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from producers.simulator.seeds import generator


@dataclass(frozen=True, slots=True)
class Plan:
    """One defective frame: its kind, severity (0 faint … 1 plain) and seed of its run, and its drift from the run."""

    kind: str
    severity: float
    run_seed: int
    drift: float = 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Defects at `rate` (0…1 of all frames) in runs of `mean_run` frames; 1 makes each frame's fate independent."""

    seed: int
    product: str
    rate: float
    mean_run: float
    kinds: tuple[str, ...]

    def plan(self, index: int) -> Plan | None:
        """What is wrong with frame `index`, or None for a good one."""
        if self.rate <= 0 or not self.kinds:
            return None
        if self.mean_run <= 1:
            rng = generator(self.seed, self.product, "fate", index)
            return self._plan(rng, rng) if rng.random() < self.rate else None
        block = max(round(self.mean_run / self.rate), 1)
        rng = generator(self.seed, self.product, "run", index // block)
        first, length = self._run(rng, block)
        if not first <= index % block < first + length:
            return None
        return self._plan(rng, generator(self.seed, self.product, "severity", index))

    def _run(self, rng: np.random.Generator, block: int) -> tuple[int, int]:
        """First frame and length of a block's run; the length varies evenly around rate × block."""
        mean = self.rate * block
        spread = max(min(mean - 1, block - mean), 0)
        length = min(int(mean + spread * rng.uniform(-1, 1) + rng.random()), block)
        return int(rng.integers(block - length + 1)), length

    def _plan(self, run: np.random.Generator, frame: np.random.Generator) -> Plan:
        kind = self.kinds[int(run.integers(len(self.kinds)))]
        severity = float(run.uniform(0.05, 0.95))
        run_seed = int(run.integers(2**31))
        return Plan(kind, severity, run_seed, float(frame.normal(0, 0.12)))
