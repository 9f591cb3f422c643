"""Pictures of the figures: the distribution of latencies, and what the line carried of what it was offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

_BINS = np.geomspace(10, 20_000, 100)


def latency(facts: dict[str, Any], file: Path) -> None:
    """Share of frames that had their verdict by then, one line for each held load."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for key, counts in facts.items():
        if not key.endswith(": histogram_ms"):
            continue
        shares = np.cumsum(counts) / max(1, sum(counts))
        axes.step(_BINS[1:], 100 * shares, where="pre", label=key.removesuffix(": histogram_ms"))
    axes.axvline(250, color="grey", linestyle=":", linewidth=1)
    axes.axvline(500, color="grey", linestyle=":", linewidth=1)
    axes.annotate("targets at 70 %: p50, p99", (505, 2), fontsize=8, color="grey")
    axes.set(xscale="log", xlabel="capture → verdict in the reader's hands, ms", ylabel="frames, %", ylim=(0, 101))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center right")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def load(facts: dict[str, Any], file: Path) -> None:
    """Carried over offered, with the lag at the end of each stretch."""
    steps = sorted(facts["load"], key=lambda step: step["offered"])
    offered = [step["offered"] for step in steps]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(offered, offered, color="grey", linestyle=":", linewidth=1, label="all of it")
    axes.plot(offered, [step["carried"] for step in steps], marker="o", label="verdicts/s")
    axes.set(xlabel="frames/s offered", ylabel="verdicts/s")
    beside = axes.twinx()
    beside.plot(offered, [step["lag_s"] for step in steps], marker="s", color="C1", label="lag at the end, s")
    beside.set(ylabel="s", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)
