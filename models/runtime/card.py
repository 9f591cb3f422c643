"""The card of a detector: what it expects, how its threshold was found, and where it comes from.

A bundle is a folder of `detector.onnx`, `detector.json` (the card), `reference.safetensors` and `self_test.json`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from models.runtime.alignment import Alignment
from sightline.contracts import DetectorRef
from sightline.errors import DetectorError

CARD_VERSION = 2
"""2 added `alignment`; a card of version 1 has none and is read as well."""
READABLE = (1, 2)
GRAPH_FILE = "detector.onnx"
CARD_FILE = "detector.json"
REFERENCE_FILE = "reference.safetensors"
SELF_TEST_FILE = "self_test.json"
BUNDLE_FILES = (GRAPH_FILE, CARD_FILE, REFERENCE_FILE, SELF_TEST_FILE)
INT8 = "int8"
"""The parameter `precision` of a detector that was quantised after training; others have none."""
SYMMETRIC = "symmetric_integers"
"""The parameter that tells which form of integers an INT8 detector has."""
LATENCY_BUDGET_MS = 100.0
"""Processor time for one picture, unless the trainer sets another: lite0 takes a fifth of it, and a line that gave more
to each picture would not have its verdicts within 250 ms."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCard:
    """`detector.json`.

    `score >= threshold` is a defect, `review_threshold <= score < threshold` asks for a person. `map_scale` is the
    anomaly-map value that heat maps draw as 255. Score and map are in the same unit, so the thresholds cut both.
    With an `alignment`, the graph sees parts that it cut out of pictures of `input_height` × `input_width`.
    `self_test` is the SHA-256 of `self_test.json`, and `latency_budget_ms` the processor time that one picture may
    take; older cards have neither.
    """

    name: str
    product: str
    method: str
    input_height: int
    input_width: int
    color_order: Literal["RGB"]
    map_rows: int
    map_cols: int
    threshold: float
    review_threshold: float
    map_scale: float
    calibration: dict[str, str | float | int]
    metrics: dict[str, float]
    data_digest: str
    run_id: str | None
    created_at: datetime
    parameters: dict[str, str | float | int | bool]
    alignment: Alignment | None = None
    self_test: str | None = None
    latency_budget_ms: float | None = None
    schema_version: int = CARD_VERSION

    @property
    def graph_size(self) -> tuple[int, int]:
        """Rows and columns of what the graph takes."""
        side = self.alignment.side if self.alignment else None
        return side or self.input_height, side or self.input_width

    def reference(self, version: str, digest: str) -> DetectorRef:
        """How an inspection names this detector."""
        return DetectorRef(name=self.name, version=version, digest=digest)


def load_card(folder: Path) -> DetectorCard:
    """The card in `folder`; raises DetectorError naming the file, the field and the remedy."""
    path = folder / CARD_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DetectorError(
            f"{path} cannot be read ({error.strerror or error}): a detector bundle holds {GRAPH_FILE} and {CARD_FILE}; "
            "train one with `sightline train` or fetch it from the registry again"
        ) from error
    _check_version(path, data)
    try:
        card = msgspec.json.decode(data, type=DetectorCard)
    except msgspec.DecodeError as error:
        raise DetectorError(
            f"{path} is not a detector card: {error}; fetch the bundle again or train it anew"
        ) from error
    _check_values(path, card)
    return card


def is_int8(card: DetectorCard) -> bool:
    """Whether the graph computes in integers, and so has no PyTorch reference."""
    return card.parameters.get("precision") == INT8


def save_card(card: DetectorCard, folder: Path) -> None:
    """Write the card as indented JSON."""
    (folder / CARD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")


def bundle_digest(folder: Path) -> str:
    """SHA-256 in hex over the files of the bundle; of one without a self-test, as before there was any, graph and card.

    Raises DetectorError when graph or card is missing.
    """
    optional = (REFERENCE_FILE, SELF_TEST_FILE) if (folder / SELF_TEST_FILE).is_file() else ()
    return files_digest(folder, (GRAPH_FILE, CARD_FILE, *(name for name in optional if (folder / name).is_file())))


def files_digest(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 in hex over names and contents of files in `folder`; raises DetectorError for a missing one."""
    digest = hashlib.sha256()
    for name in names:
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise DetectorError(
                f"{folder / name} cannot be read ({error.strerror or error}): the bundle is incomplete; fetch it again"
            ) from error
        digest.update(f"{name}:{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def _check_version(path: Path, data: bytes) -> None:
    """Read the version alone first: a newer card may have other fields, and the message must say so."""
    try:
        found = msgspec.json.decode(data, type=dict[str, object]).get("schema_version")
    except msgspec.DecodeError as error:
        raise DetectorError(f"{path} is not JSON: {error}; fetch the bundle again or train it anew") from error
    if found not in READABLE:
        raise DetectorError(
            f"{path} has schema_version {found!r}, this Sightline reads {CARD_VERSION}: upgrade it or train again"
        )


def _check_values(path: Path, card: DetectorCard) -> None:
    for name in ("input_height", "input_width", "map_rows", "map_cols"):
        value = getattr(card, name)
        if not 1 <= value <= 4096:
            raise DetectorError(f"{path}: {name} is {value}, expected 1 to 4096; train the detector again")
    for name in ("threshold", "review_threshold", "map_scale"):
        value = getattr(card, name)
        if not (math.isfinite(value) and value > 0):
            raise DetectorError(f"{path}: {name} is {value}, expected a finite number above 0; calibrate again")
    budget = card.latency_budget_ms
    if budget is not None and not (math.isfinite(budget) and budget > 0):
        raise DetectorError(f"{path}: latency_budget_ms is {budget}, expected a finite number above 0; train again")
    if card.self_test is not None and not _SHA256.fullmatch(card.self_test):
        raise DetectorError(f"{path}: self_test is {card.self_test!r}, expected a SHA-256 in hex; train again")
    if card.review_threshold > card.threshold:
        raise DetectorError(
            f"{path}: review_threshold {card.review_threshold} is above threshold {card.threshold}; exchange them"
        )
