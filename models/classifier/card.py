"""The card of a classifier: its classes, when it says `unknown`, and where it comes from.

A bundle is a folder of `classifier.onnx`, `classifier.json` (the card) and `reference.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from models.runtime.card import files_digest
from models.runtime.graph import Contract
from sightline.errors import DetectorError

CARD_VERSION = 1
GRAPH_FILE = "classifier.onnx"
CARD_FILE = "classifier.json"
REFERENCE_FILE = "reference.safetensors"
BUNDLE_FILES = (GRAPH_FILE, CARD_FILE, REFERENCE_FILE)

PROBABILITIES = "probabilities"
UNKNOWN = "unknown"
"""The answer where no class is likely enough; so no class may be called that."""

_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierCard:
    """`classifier.json`.

    `classes` are in the order of the graph's columns. A picture whose highest probability is below `min_confidence` is
    `unknown`. `learnt` are the first 16 hex digits of the SHA-256 of each picture that was learnt from or chosen by.
    """

    name: str
    product: str
    classes: tuple[str, ...]
    min_confidence: float
    temperature: float
    input_height: int
    input_width: int
    color_order: Literal["RGB"]
    backbone: str
    metrics: dict[str, float]
    counts: dict[str, dict[str, int]]
    parameters: dict[str, str | float | int | bool]
    data_digest: str
    learnt: tuple[str, ...]
    run_id: str | None
    created_at: datetime
    schema_version: int = CARD_VERSION

    @property
    def contract(self) -> Contract:
        """What the graph must look like."""
        outputs = {PROBABILITIES: ("float32", (None, len(self.classes)))}
        return Contract.of_images(self.input_height, self.input_width, outputs)

    def has_learnt(self, sha256: str) -> bool:
        """Whether the picture with this digest was among those of training or validation."""
        return sha256[:_DIGITS] in self.learnt


def short(sha256: str) -> str:
    """A picture's digest as `learnt` holds it."""
    return sha256[:_DIGITS]


def load_card(folder: Path) -> ClassifierCard:
    """The card in `folder`; raises DetectorError naming the file, the value and the remedy."""
    path = folder / CARD_FILE
    remedy = "train one with `sightline classifier train`, or fetch it from the registry again"
    try:
        card = msgspec.json.decode(path.read_bytes(), type=ClassifierCard)
    except OSError as error:
        raise DetectorError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error
    except msgspec.DecodeError as error:
        raise DetectorError(f"{path} is no card of a classifier ({error}); {remedy}") from error
    if card.schema_version != CARD_VERSION:
        raise DetectorError(f"{path} has schema_version {card.schema_version}, this Sightline reads {CARD_VERSION}")
    if len(card.classes) < 2 or len(set(card.classes)) != len(card.classes) or UNKNOWN in card.classes:
        raise DetectorError(f"{path}: classes are {card.classes}, expected two or more, each once; {remedy}")
    if not 0 <= card.min_confidence <= 1 or not card.temperature > 0:
        raise DetectorError(
            f"{path}: min_confidence is {card.min_confidence} and temperature {card.temperature}, expected a share "
            f"and a number above 0; {remedy}"
        )
    return card


def save_card(card: ClassifierCard, folder: Path) -> None:
    """Write the card as indented JSON."""
    (folder / CARD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")


def bundle_digest(folder: Path) -> str:
    """SHA-256 in hex over the graph and the card; raises DetectorError when one is missing."""
    return files_digest(folder, (GRAPH_FILE, CARD_FILE))
