"""A tree of picture files as a source of a training set: labels from folder names, parts from paths."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pyspark.sql import functions as f

from models.runtime.picture import MaskFacts
from sightline.contracts import Reason
from sightline.errors import SourceError
from sightline.trainingset import GOOD
from streaming.ingest import Candidate, Labelled, Measured
from streaming.picture_folder import SUFFIXES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_MASKS = "ground_truth"
_NAMED = 3


@dataclass(frozen=True, slots=True)
class PartRule:
    """Which pictures show one part.

    One of: a regular expression on the path below the root, whose groups (or whole match) name the part; the folder
    that a picture lies in; a table from path to part. With none of them every picture is a part of its own.
    """

    pattern: str | None = None
    by_folder: bool = False
    table: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if sum((self.pattern is not None, self.by_folder, self.table is not None)) > 1:
            raise SourceError("parts are told apart in more than one way; give a pattern, folders or a table")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise SourceError(f"part pattern {self.pattern!r} is no regular expression: {error}") from error

    @property
    def description(self) -> str:
        if self.pattern is not None:
            return f"path matches {self.pattern}"
        if self.by_folder:
            return "one folder a part"
        return "table of parts" if self.table is not None else "every picture a part of its own"

    def part(self, path: str) -> str | None:
        """The part that the picture at `path` shows; None when the rule does not say."""
        if self.table is not None:
            return self.table.get(path)
        if self.by_folder:
            return str(PurePosixPath(path).parent)
        if self.pattern is None:
            return path
        match = re.search(self.pattern, path)
        return match and "/".join(match.groups("") if match.re.groups else (match[0],))


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Pictures below `root`: a label is their folder's name (that of the folder above, where folders are parts).

    Folders named `good_names` hold good parts. `ground_truth/LABEL/STEM_mask.png` (or `STEM.png`) is the mask of the
    picture STEM with that label. Files and folders whose name starts with `.` or `_` are only counted: Spark hides
    them.
    """

    root: Path
    parts: PartRule = field(default_factory=PartRule)
    good_names: tuple[str, ...] = (GOOD,)

    @property
    def description(self) -> str:
        return f"folder {self.root}"

    @property
    def part_rule(self) -> str:
        return self.parts.description

    def files(self, spark: SparkSession) -> DataFrame:
        """Raises SourceError when `root` is no folder."""
        if not self.root.is_dir():
            raise SourceError(f"{self.root} is not a folder; name one with pictures, or a folder of tables")
        found = self._listing(spark).where(f.lower("path").rlike(rf"\.({'|'.join(SUFFIXES)})$"))
        prefix = len(self._uri) + 1
        origin = f.expr(f"substring(path, {prefix + 1})")
        return found.select(
            origin.alias("origin"),
            f.col("content").alias("data"),
            origin.rlike(rf"(^|/){_MASKS}/").alias("is_mask"),
        )

    def label(self, spark: SparkSession, measured: Sequence[Measured]) -> Labelled:  # noqa: ARG002
        return label_files(measured, self.parts, self.good_names, self._unread())

    def _unread(self) -> Counter[str]:
        """Files that Spark passes over without a word: hidden ones, empty ones, and those that are no pictures."""
        found: Counter[str] = Counter()
        for path in self.root.rglob("*"):
            if not path.is_file():
                continue
            if any(part.startswith((".", "_")) for part in path.relative_to(self.root).parts):
                found["hidden"] += 1
            elif path.suffix.lower().lstrip(".") not in SUFFIXES:
                found["other-file"] += 1
            elif not path.stat().st_size:
                found[Reason.EMPTY] += 1
        return found

    @property
    def _uri(self) -> str:
        return f"file:{self.root.resolve().as_posix()}"

    def _listing(self, spark: SparkSession) -> DataFrame:
        # the path is a pattern to Spark
        escaped = re.sub(r"([\\*?\[\]{}])", r"\\\1", self._uri)
        return spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(escaped)


def label_files(
    measured: Sequence[Measured], parts: PartRule, good_names: Sequence[str], left_out: Mapping[str, int]
) -> Labelled:
    """Labels, parts and masks of files whose origin is their path below the root.

    Raises SourceError when no folder is a good one, a part cannot be told, or a mask has no picture.
    """
    pictures = [one for one in measured if not isinstance(one.facts, MaskFacts)]
    masks = [one for one in measured if isinstance(one.facts, MaskFacts)]
    labels = {one.origin: _label(one.origin, parts, good_names) for one in pictures}
    known = Counter(labels.values())
    if set(known) == {""}:
        labels = dict.fromkeys(labels, GOOD)
    elif known and not known[GOOD]:
        raise SourceError(
            f"no folder is named {' or '.join(good_names)}; found {_some(sorted(filter(None, known)))}: say with "
            "--good which holds good parts"
        )
    elif known[""]:
        loose = [origin for origin, label in labels.items() if not label]
        raise SourceError(f"{len(loose)} pictures lie beside the labelled folders ({_some(loose)}); move them into one")
    group = {one.origin: parts.part(one.origin) for one in pictures}
    unknown = [origin for origin, part in group.items() if not part]
    if unknown:
        raise SourceError(f"{len(unknown)} pictures show no known part ({_some(unknown)}): {parts.description}")
    fitting = _fitting(masks, labels, parts, good_names)
    candidates = [
        Candidate(
            picture=one,
            label=labels[one.origin],
            part=group[one.origin] or "",
            stem=PurePosixPath(one.origin).stem,
            suffix=PurePosixPath(one.origin).suffix.lower(),
            mask=fitting.get(one.origin),
        )
        for one in pictures
    ]
    return Labelled(candidates, left_out)


def read_parts(path: Path) -> dict[str, str]:
    """A CSV with the columns `path` (below the root) and `part`; raises SourceError when it is something else."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}") from error
    if not rows or not {"path", "part"} <= set(rows[0]):
        raise SourceError(f"{path} has no rows, or not the columns path and part; its first line names the columns")
    found: dict[str, str] = {}
    for row in rows:
        if found.setdefault(row["path"], row["part"]) != row["part"]:
            raise SourceError(f"{path} gives {row['path']} two parts; decide which is right")
    return found


def _label(origin: str, parts: PartRule, good_names: Sequence[str]) -> str:
    """The folder's name as a label; empty directly in the root."""
    folder = PurePosixPath(origin).parent
    name = (folder.parent if parts.by_folder else folder).name
    return GOOD if name in good_names else name


def _fitting(
    masks: Sequence[Measured], labels: Mapping[str, str], parts: PartRule, good_names: Sequence[str]
) -> dict[str, Measured]:
    """The mask of each picture that has one."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for origin, label in labels.items():
        places[label, PurePosixPath(origin).stem].append(origin)
    found: dict[str, Measured] = {}
    orphans = []
    for mask in masks:
        stem = PurePosixPath(mask.origin).stem
        label = _label(mask.origin, parts, good_names)
        owners = places[label, stem] or places[label, stem.removesuffix("_mask")]
        if len(owners) == 1 and owners[0] not in found:
            found[owners[0]] = mask
        else:
            orphans.append(mask.origin)
    if orphans:
        raise SourceError(
            f"{len(orphans)} masks fit no picture, or more than one ({_some(orphans)}); a mask is called "
            f"{_MASKS}/LABEL/STEM_mask.png beside the picture LABEL/STEM"
        )
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
