"""A training set on disk: what stands in its manifest, which split a part falls into, and what makes a set unusable.

The folder has MVTec AD's layout, `SPLIT/LABEL/picture` with masks in `ground_truth/LABEL`, and `trainingset.json`,
which tells of every picture where it came from and which part it shows.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from sightline.errors import SourceError

FILE = "trainingset.json"
SCHEMA_VERSION = 1
GOOD = "good"
MIN_GOOD = 10
"""Fewest good pictures in the split `train`; with fewer a threshold would be a guess."""
MIN_CONTRAST = 2.0
"""Smallest deviation of the luminance, of 255; below it a picture is black, white or grey all over."""

_NAMED = 3
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RESERVED = {"train", "validation", "test", "ground_truth"}


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of the parts that each split gets; they add up to 1."""

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6 or not self.train:
            raise SourceError(
                f"train {self.train}, validation {self.validation}, test {self.test} are no shares of one set; give "
                "three numbers from 0 to 1 that add up to 1, the first above 0"
            )


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the set.

    `path` and `mask` are relative to the set's folder, with forward slashes; `part` is the group that is never split;
    `sha256` is that of the file; `brightness` and `contrast` are mean and deviation of the luminance, 0 to 255;
    `origin` is where it came from: a path or an inspection's id.
    """

    path: str
    label: str
    split: Split
    part: str
    sha256: str
    width: int
    height: int
    brightness: float
    contrast: float
    origin: str
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """`trainingset.json`. `counts` is split → label → pictures, `refused` reason → pictures that were left out."""

    source: str
    product: str
    part_rule: str
    fractions: Fractions
    seed: int
    created_at: datetime
    digest: str
    counts: dict[str, dict[str, int]]
    refused: dict[str, int]
    mixed_sizes: bool
    pictures: tuple[Picture, ...]
    schema_version: int = field(default=SCHEMA_VERSION)


def split_of(part: str, fractions: Fractions, seed: int, *, defective: bool = False) -> Split:
    """The split of all frames of `part`, from a hash of its name: other parts, added or removed, never move it.

    A part with a defect is not learnt from: where its hash says `train`, a second one chooses between the others.
    Raises SourceError when there is no other.
    """
    share = _share(f"{seed}:{part}")
    if share < fractions.train and not defective:
        return Split.TRAIN
    if share < fractions.train:
        rest = fractions.validation + fractions.test
        if not rest:
            raise SourceError(f"part {part!r} has a defect and all parts go to train; give test a share above 0")
        return Split.VALIDATION if _share(f"{seed}:{part}:defect") * rest < fractions.validation else Split.TEST
    return Split.VALIDATION if share < fractions.train + fractions.validation else Split.TEST


def assign_splits(labels: Iterable[tuple[str, str]], fractions: Fractions, seed: int) -> dict[str, Split]:
    """The split of each part, from (part, label) of every picture."""
    defective: dict[str, bool] = defaultdict(bool)
    for part, label in labels:
        defective[part] |= label != GOOD
    return {part: split_of(part, fractions, seed, defective=bad) for part, bad in defective.items()}


def check_label(label: str) -> str:
    """`label` as it is, fit to name a folder; raises SourceError."""
    if not _LABEL.fullmatch(label) or label in _RESERVED:
        raise SourceError(
            f"label {label!r} cannot name a folder of the set; use letters, digits, '_', '-', '.', and none of "
            f"{', '.join(sorted(_RESERVED))}"
        )
    return label


def problems(pictures: Sequence[Picture], *, mixed_sizes: bool = False) -> list[str]:
    """Why these pictures are no training set, each with the remedy; empty when they are one.

    Sizes may differ where `mixed_sizes` says that this is meant.
    """
    if not pictures:
        return ["there is no usable picture; name a source that has some"]
    if len(pictures) == 1:
        return [f"there is one single picture, {pictures[0].path}; at least {MIN_GOOD} good ones are needed"]
    found = [*_too_few(pictures), *_flat(pictures), *_contradictions(pictures), *_leaks(pictures)]
    return found if mixed_sizes else [*found, *_sizes(pictures)]


def require_sound(pictures: Sequence[Picture], *, mixed_sizes: bool = False) -> None:
    """Raise SourceError with all `problems` there are."""
    found = problems(pictures, mixed_sizes=mixed_sizes)
    if found:
        raise SourceError("this is no training set:\n" + "\n".join(f"- {line}" for line in found))


def counts(pictures: Iterable[Picture]) -> dict[str, dict[str, int]]:
    """Pictures by split and label, both in order."""
    tally = Counter((picture.split, picture.label) for picture in pictures)
    by_split: dict[str, dict[str, int]] = {}
    for split in Split:
        labels = {label: count for (where, label), count in sorted(tally.items()) if where is split}
        if labels:
            by_split[split.value] = labels
    return by_split


def set_digest(pictures: Iterable[Picture]) -> str:
    """SHA-256 in hex over contents, labels, splits and parts; the order of the pictures does not matter."""
    lines = sorted(f"{one.path}\0{one.sha256}\0{one.label}\0{one.split}\0{one.part}\n" for one in pictures)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_manifest(manifest: Manifest, folder: Path) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / FILE).write_bytes(encoded)


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`; raises SourceError when it is missing, malformed or of another version."""
    path = folder / FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); make the set with `sightline ingest`") from error
    except msgspec.MsgspecError as error:
        raise SourceError(f"{path} is no manifest of a training set ({error}); ingest the data again") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise SourceError(
            f"{path} has schema version {manifest.schema_version}, this Sightline reads {SCHEMA_VERSION}; ingest again"
        )
    return manifest


def _share(text: str) -> float:
    """An even number in 0…1 that is the same for the same text everywhere."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _too_few(pictures: Sequence[Picture]) -> list[str]:
    good = sum(one.label == GOOD and one.split is Split.TRAIN for one in pictures)
    if good >= MIN_GOOD:
        return []
    parts = len({one.part for one in pictures})
    return [
        f"{good} good pictures fall into train, at least {MIN_GOOD} are needed: there are {len(pictures)} pictures of "
        f"{parts} parts in all; add good ones, or tell parts apart more finely"
    ]


def _flat(pictures: Sequence[Picture]) -> list[str]:
    flat = [one.path for one in pictures if one.contrast < MIN_CONTRAST]
    if not flat:
        return []
    return [f"{len(flat)} pictures are black or plain all over ({_some(flat)}); remove them and look at the camera"]


def _contradictions(pictures: Sequence[Picture]) -> list[str]:
    by_content: dict[str, list[Picture]] = defaultdict(list)
    for one in pictures:
        by_content[one.sha256].append(one)
    twice = [same for same in by_content.values() if len({one.label for one in same}) > 1]
    if not twice:
        return []
    named = [" = ".join(one.path for one in same) for same in twice]
    return [f"{len(twice)} pictures stand under two labels ({_some(named)}); decide which is right"]


def _leaks(pictures: Sequence[Picture]) -> list[str]:
    found = []
    for noun, key in (("parts", "part"), ("pictures", "sha256")):
        splits: dict[str, set[Split]] = defaultdict(set)
        for one in pictures:
            splits[getattr(one, key)].add(one.split)
        leaked = [name for name, where in splits.items() if len(where) > 1]
        if leaked:
            found.append(f"{len(leaked)} {noun} lie in two splits ({_some(leaked)}); ingest the data again as one set")
    return found


def _sizes(pictures: Sequence[Picture]) -> list[str]:
    sizes = Counter(f"{one.width}×{one.height}" for one in pictures)
    if len(sizes) == 1:
        return []
    named = [f"{count} of {size}" for size, count in sizes.most_common()]
    return [f"sizes are mixed: {_some(named)}; keep one camera's, or allow it with --mixed-sizes"]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
