"""Incidents of made-up defects, and what operators did about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.history_columns import hex_ids, pick, struct_of, times
from sightline.contracts import ActionKind, AlertState, Severity

Defects = tuple[str, str, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Line, camera, and of each defect in order: sequence, captured_at in microseconds, score."""

_GAP = 20
_TYPES = ("scratch", "dent", "crack", "stain", "misprint", "chip")
_PEOPLE = ("ana", "ben", "chen", "dora")
_SEEN, _CONFIRMED = 0.95, 0.75


@dataclass(slots=True)
class Incidents:
    """All incidents of a day; every array has one entry per incident."""

    line: list[str]
    camera: list[str]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    opened: NDArray[np.int64]
    updated: NDArray[np.int64]
    frames: NDArray[np.int64]
    peak: NDArray[np.float64]
    peak_sequence: NDArray[np.int64]
    ids: pa.Array
    rng: np.random.Generator

    @property
    def count(self) -> int:
        return len(self.first)

    @classmethod
    def of(cls, cameras: list[Defects], rng: np.random.Generator) -> Self:
        """Two or more defects with fewer than 20 good frames between them are one incident."""
        rows: list[tuple[Any, ...]] = []
        for line, camera, sequence, at, score in cameras:
            if not len(sequence):
                continue
            for part in np.split(np.arange(len(sequence)), np.flatnonzero(np.diff(sequence) > _GAP) + 1):
                if len(part) > 1:
                    top = part[np.argmax(score[part])]
                    begin, end = part[0], part[-1]
                    rows.append(
                        (line, camera, sequence[begin], sequence[end], at[begin], at[end], len(part), score[top],
                         sequence[top])
                    )  # fmt: skip
        columns = list(zip(*rows, strict=True)) if rows else [()] * 9
        counts = [np.array(columns[nth], np.int64) for nth in (2, 3, 4, 5, 6, 8)]
        first, last, opened, updated, frames, peak_sequence = counts
        return cls(
            list(columns[0]), list(columns[1]), first, last, opened, updated, frames, np.array(columns[7], np.float64),
            peak_sequence, hex_ids(rng, len(rows)), rng,
        )  # fmt: skip

    def alerts(
        self, detector: dict[str, str], threshold: float, thumbnails: pa.Array, *, open_last: bool
    ) -> dict[str, Any]:
        """Columns of the table alerts; with `open_last` the newest incident of each camera is still open."""
        rows = self.count
        state = np.ones(rows, np.int64)
        if open_last:
            newest = {camera: at for at, camera in enumerate(self.camera)}
            state[list(newest.values())] = 0
        same = np.zeros(rows, np.int64)
        return {
            "alert_id": self.ids,
            "revision": self.frames + state,
            "state": pick([AlertState.UPDATED.value, AlertState.CLOSED.value], state),
            "severity": pick([Severity.WARNING.value, Severity.CRITICAL.value], (self.frames > 10).astype(np.int64)),
            "line": pa.array(self.line), "camera": pa.array(self.camera),
            "product": pick(["bottle_cap"], same),
            "opened_at": times(self.opened), "updated_at": times(self.updated),
            "first_sequence": self.first, "last_sequence": self.last, "count": self.frames,
            "peak_score": self.peak, "peak_sequence": self.peak_sequence,
            "threshold": np.full(rows, threshold),
            "detector": struct_of(**{name: pick([value], same) for name, value in detector.items()}),
            "regions": pa.ListArray.from_arrays(
                pa.array(np.arange(rows + 1), pa.int32()),
                struct_of(x=same + 200, y=same + 100, width=same + 54, height=same + 31, peak=self.peak),
            ),
            "thumbnail": thumbnails,
            "schema_version": np.ones(rows, np.int64),
        }  # fmt: skip

    def actions(self) -> dict[str, Any]:
        """Columns of operator_actions: most incidents are acknowledged, then confirmed with a type or called false."""
        rng = self.rng
        seen = np.flatnonzero(rng.random(self.count) < _SEEN)
        rows = len(seen)
        acknowledged = self.opened[seen] + rng.lognormal(11.0, 0.8, rows).astype(np.int64) * 1000
        settled = acknowledged + rng.lognormal(12.0, 0.7, rows).astype(np.int64) * 1000
        true = rng.random(rows) < _CONFIRMED
        odds = 1 / np.arange(1, len(_TYPES) + 1)
        type_ = rng.choice(len(_TYPES), rows, p=odds / odds.sum())
        kinds = [ActionKind.ACKNOWLEDGE.value, ActionKind.CONFIRM.value, ActionKind.FALSE_ALARM.value]
        kind = np.concatenate([np.zeros(rows, np.int64), np.where(true, 1, 2)])
        types = [_TYPES[at] if confirmed else None for at, confirmed in zip(type_, true, strict=True)]
        ids = self.ids.take(pa.array(seen))
        return {
            "action_id": hex_ids(rng, 2 * rows),
            "alert_id": pa.concat_arrays([ids, ids]),
            "kind": pick(kinds, kind),
            "actor": pick(_PEOPLE, np.tile(rng.integers(0, len(_PEOPLE), rows), 2)),
            "at": times(np.concatenate([acknowledged, settled])),
            "defect_type": pa.array([None] * rows + types, pa.string()),
            "comment": pa.nulls(2 * rows, pa.string()),
            "mute": pa.nulls(2 * rows),
            "schema_version": np.ones(2 * rows, np.int64),
        }
