"""Whether a challenger may take the champion's place: as right on the same pictures, as quick as allowed, and the same
on every runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.dataset import load_images
from models.judging.judgement import Judgement
from models.train import prove_parity
from sightline.errors import DetectorError

_PARITY_FRAMES = 16

COMPARED = ("image_auroc", "image_pr_auc", "f1", "aupro_30")
"""Metrics in which a challenger may not fall behind, where the labels give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a challenger may lose: `tolerance` of each metric in COMPARED, `slower` as a share of the champion's speed.

    `most_ms` bounds the milliseconds of one frame by itself, whatever the champion takes.
    """

    tolerance: float = 0.005
    slower: float = 0.25
    most_ms: float = 100.0


def objections(challenger: Judgement, champion: Judgement | None, policy: Policy) -> list[str]:
    """Why the challenger may not be promoted, empty when it may; both judged on the same pictures, in one run."""
    found = _slow(challenger, champion, policy)
    if champion is not None:
        found += _worse(challenger, champion, policy)
    return found + _apart(challenger)


def _worse(challenger: Judgement, champion: Judgement, policy: Policy) -> list[str]:
    if [sample.path for sample in challenger.samples] != [sample.path for sample in champion.samples]:
        raise DetectorError(
            f"challenger and champion were judged on {len(challenger.samples)} and {len(champion.samples)} different "
            "pictures: judge both on the same folder"
        )
    return [
        f"{name} {challenger.metrics[name]:.4f} is below the champion's {champion.metrics[name]:.4f}"
        for name in COMPARED
        if name in challenger.metrics
        and name in champion.metrics
        and challenger.metrics[name] < champion.metrics[name] - policy.tolerance
    ]


def _slow(challenger: Judgement, champion: Judgement | None, policy: Policy) -> list[str]:
    found = []
    alone = challenger.speeds[0].ms_per_frame
    if alone > policy.most_ms:
        found.append(f"one frame takes {alone:.1f} ms, allowed are {policy.most_ms:g} ms")
    if champion is not None:
        ours, theirs = challenger.speeds[-1].frames_per_second, champion.speeds[-1].frames_per_second
        if ours < theirs * (1 - policy.slower):
            found.append(f"{ours:.0f} frames/s, the champion makes {theirs:.0f}; {policy.slower:.0%} less is allowed")
    return found


def _apart(challenger: Judgement) -> list[str]:
    """What differs between runtimes, on real pictures, spread over all labels."""
    card, count = challenger.card, len(challenger.samples)
    chosen = np.linspace(0, count - 1, min(_PARITY_FRAMES, count)).round().astype(int)
    paths: list[Path] = [challenger.samples[index].path for index in chosen]
    try:
        prove_parity(challenger.bundle, load_images(paths, card.input_height, card.input_width))
    except DetectorError as error:
        return [str(error)]
    return []
