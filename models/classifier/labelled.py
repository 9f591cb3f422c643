"""Labelled pictures to learn defects from, split by parts.

Three layouts: a set that `sightline ingest` made, MVTec AD's (`train/good`, `test/KIND`), or one folder for each label.
The first two are split anew: there, no defect is ever in `train`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.classifier.card import UNKNOWN
from models.dataset import SUFFIXES
from models.runtime.picture import picture_facts
from models.trainingset import load_training_set
from sightline.errors import FrameError, SourceError
from sightline.trainingset import FILE, Split, check_label

MIN_PARTS = 5
"""Fewest parts of a label: one to choose by, one to measure on, three to learn from."""

_NAMED = 5
_HELD_OUT = 5
"""One part in so many is measured on, and one chosen by."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture; frames of one `part` are never in two splits."""

    path: Path
    label: str
    part: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Pictures to learn from, to choose by and to measure on; `classes` are the labels in order of their names."""

    classes: tuple[str, ...]
    pictures: dict[Split, tuple[Labelled, ...]]
    digest: str

    def counts(self) -> dict[str, dict[str, int]]:
        """Split to label to pictures."""
        return {
            split.value: dict(sorted(Counter(one.label for one in pictures).items()))
            for split, pictures in self.pictures.items()
        }

    def targets(self, split: Split) -> list[int]:
        """The class of each picture of the split, as an index into `classes`."""
        return [self.classes.index(one.label) for one in self.pictures[split]]


def read_labelled(root: Path, *, part_pattern: str | None = None, without: Sequence[str] = ()) -> list[Labelled]:
    """All labelled pictures below `root`, by path; of copies only the first.

    `part_pattern` is a regular expression on the path relative to `root`: pictures whose first group (or whole match)
    is the same show one part; by default each picture is one. Labels in `without` are left out. Raises SourceError with
    all faults of files and labels.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder; name one with a folder of pictures for each label")
    if (root / FILE).is_file():
        kept = load_training_set(root, mixed_sizes=True).pictures
        found = [Labelled(root / one.path, one.label, one.part, one.sha256) for one in kept]
    else:
        found = _scan(root, part_pattern)
    found = [one for one in found if one.label not in without]
    _check_labels(found)
    return _unique(found)


def split(pictures: Sequence[Labelled], seed: int = 0) -> LabelledSet:
    """Parts of each label into three splits, three fifths to learn from; the same for the same pictures and seed.

    A part that shows several labels goes with the rarest. Raises SourceError where a label has too few parts.
    """
    rarity = Counter(one.label for one in pictures)
    label_of: dict[str, str] = {}
    for one in pictures:
        label_of[one.part] = min(label_of.get(one.part, one.label), one.label, key=lambda label: (rarity[label], label))
    parts: dict[str, list[str]] = defaultdict(list)
    for part, label in label_of.items():
        parts[label].append(part)
    _check_counts(pictures, rarity, parts)
    where: dict[str, Split] = {}
    for named in parts.values():
        named.sort(key=lambda part: hashlib.sha256(f"{seed}:{part}".encode()).digest())
        held_out = max(1, len(named) // _HELD_OUT)
        for place, part in enumerate(named):
            where[part] = Split.TEST if place < held_out else Split.VALIDATION if place < 2 * held_out else Split.TRAIN
    by_split = {split: tuple(one for one in pictures if where[one.part] is split) for split in Split}
    lines = sorted(f"{one.sha256}\0{one.label}\0{one.part}\n" for one in pictures)
    return LabelledSet(tuple(sorted(rarity)), by_split, hashlib.sha256("".join(lines).encode()).hexdigest())


def _scan(root: Path, part_pattern: str | None) -> list[Labelled]:
    try:
        pattern = re.compile(part_pattern) if part_pattern else None
    except re.error as error:
        raise SourceError(f"part pattern {part_pattern!r} is no regular expression ({error})") from error
    found, faults = [], []
    for folder in _label_folders(root):
        for path in sorted(folder.iterdir()):
            name = path.relative_to(root).as_posix()
            if not path.is_file() or path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            try:
                content = path.read_bytes()
                picture_facts(content)
            except (FrameError, OSError) as error:
                faults.append(f"{name}: {error}")
                continue
            sha256 = hashlib.sha256(content).hexdigest()
            match = pattern.search(name) if pattern else None
            if pattern and not match:
                faults.append(f"{name}: the part pattern {part_pattern!r} does not match")
                continue
            part = (match.group(1) if match.lastindex else match.group()) if match else sha256
            found.append(Labelled(path, folder.name, part, sha256))
    if faults:
        raise SourceError(
            f"{len(faults)} pictures cannot be used; repair or remove them:\n"
            + "\n".join(f"- {fault}" for fault in faults[:_NAMED])
        )
    return found


def _label_folders(root: Path) -> list[Path]:
    layout = [root / part for part in ("train", "validation", "test") if (root / part).is_dir()]
    folders = [path for parent in layout or [root] for path in parent.iterdir()]
    return sorted(path for path in folders if path.is_dir() and not path.name.startswith("."))


def _check_labels(pictures: Sequence[Labelled]) -> None:
    labels = sorted({one.label for one in pictures})
    for label in labels:
        check_label(label)
    same: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        same[label.casefold()].append(label)
    twins = [" and ".join(map(repr, group)) for group in same.values() if len(group) > 1]
    if twins:
        raise SourceError(f"labels differ only in case: {'; '.join(twins)}; give each defect one spelling")
    if UNKNOWN in same:
        raise SourceError(f"a label is {UNKNOWN!r}, which is the classifier's answer for doubt; rename that folder")


def _unique(pictures: Sequence[Labelled]) -> list[Labelled]:
    first: dict[str, Labelled] = {}
    for one in pictures:
        other = first.setdefault(one.sha256, one)
        if other.label != one.label:
            raise SourceError(f"{other.path} and {one.path} are one picture under two labels; decide which is right")
    return sorted(first.values(), key=lambda one: one.path)


def _check_counts(pictures: Sequence[Labelled], rarity: Counter[str], parts: dict[str, list[str]]) -> None:
    if len(rarity) < 2:
        there = f"only {next(iter(rarity))!r}, {len(pictures)} pictures" if rarity else "none"
        raise SourceError(
            f"a classifier needs pictures of two labels or more, there is {there}: put pictures of each known defect "
            "in a folder of its name; `sightline train` learns from good pictures alone"
        )
    few = {
        label: (len(parts[label]), count) for label, count in sorted(rarity.items()) if len(parts[label]) < MIN_PARTS
    }
    if few:
        named = ", ".join(f"{label!r} has {count} pictures of {own} parts" for label, (own, count) in few.items())
        raise SourceError(
            f"too few to learn from and to measure on: {named}, at least {MIN_PARTS} parts of each label are needed; "
            "add pictures, merge labels, or leave one out with --without LABEL"
        )


def require_known(pictures: Sequence[Labelled], classes: Sequence[str]) -> None:
    """Raise SourceError for pictures of labels that a classifier does not have."""
    strange = sorted({one.label for one in pictures} - set(classes))
    if strange:
        raise SourceError(
            f"the classifier has no class for {', '.join(map(repr, strange))}, it knows {', '.join(classes)}; train it "
            "with them, or leave them out with --without LABEL"
        )
