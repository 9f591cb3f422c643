"""Pictures from a folder tree or from the table `frame_archive` into a training set, by Spark.

Two passes: executors decode and measure every picture, and only these facts come to the driver, which labels, groups,
splits and checks them; then the bytes of the chosen ones stream through the driver, untouched, into the folder. It is
written beside its place and moved there when it is whole. What is left out is counted by reason.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pyspark.sql import Row
from pyspark.sql.functions import broadcast

from models.runtime.picture import MaskFacts, PictureFacts, mask_facts, mask_fault, picture_facts
from sightline import trainingset
from sightline.errors import FrameError, SourceError
from sightline.trainingset import Fractions, Manifest, Picture, Split

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

DUPLICATE = "duplicate"
OVER_LIMIT = "over-limit"

_MEASURED = pa.schema(
    [
        ("origin", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("brightness", pa.float64()),
        ("contrast", pa.float64()),
        ("marked", pa.int64()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)
_MEASURED_SQL = (
    "origin string, sha256 string, width int, height int, brightness double, contrast double, marked long, "
    "reason string, message string"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One readable file: what it is, and the mask that belongs to it."""

    origin: str
    sha256: str
    facts: PictureFacts | MaskFacts


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that its source has labelled: `stem` names its file, `part` what must stay together."""

    picture: Measured
    label: str
    part: str
    stem: str
    suffix: str
    mask: Measured | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a source makes of the measured files; `left_out` counts the others by reason."""

    candidates: Sequence[Candidate]
    left_out: Mapping[str, int]


class PictureSource(Protocol):
    """Where pictures come from; read twice, so it must not change in between."""

    @property
    def description(self) -> str:
        """For the manifest."""

    @property
    def part_rule(self) -> str:
        """How parts are told apart, for people."""

    def files(self, spark: SparkSession) -> DataFrame:
        """Columns `origin` (text, unique), `data` (bytes) and `is_mask`."""

    def label(self, spark: SparkSession, measured: Sequence[Measured]) -> Labelled:
        """Label and group what could be read; raises SourceError when that would be a guess."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What becomes of the candidates. `limit` is the most pictures a label may have, drawn evenly over the parts."""

    product: str
    output: Path
    fractions: Fractions = field(default_factory=Fractions)
    seed: int = 0
    limit: int | None = None
    mixed_sizes: bool = False


def ingest(spark: SparkSession, source: PictureSource, options: IngestOptions) -> Manifest:
    """Make the training set in `options.output`; raises SourceError when the source gives no sound one.

    The folder must be absent or empty: two sets are never mixed.
    """
    output = options.output.absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SourceError(f"{output} already holds something; name a new folder for the training set")
    files = source.files(spark)
    readable, refused = _measure(files)
    labelled = source.label(spark, readable)
    refused.update(labelled.left_out)
    chosen = _choose(labelled.candidates, options, refused)
    placed = _place(chosen, options)
    pictures = sorted((picture for picture, _ in placed), key=lambda one: one.path)
    left_out = {reason: count for reason, count in sorted(refused.items()) if count}
    try:
        trainingset.require_sound(pictures, mixed_sizes=options.mixed_sizes)
    except SourceError as error:
        told = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise SourceError(f"{source.description}: {error}" + (f"\nleft out: {told}" if told else "")) from error
    manifest = Manifest(
        source=source.description,
        product=options.product,
        part_rule=source.part_rule,
        fractions=options.fractions,
        seed=options.seed,
        created_at=datetime.now(UTC),
        digest=trainingset.set_digest(pictures),
        counts=trainingset.counts(pictures),
        refused=left_out,
        mixed_sizes=options.mixed_sizes,
        pictures=tuple(pictures),
    )
    _write(spark, files, placed, manifest, output)
    return manifest


def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Facts of each file, in the executors: columns `origin`, `data`, `is_mask` to those of `_MEASURED`."""
    for batch in batches:
        columns = (batch.column(name) for name in ("origin", "data", "is_mask"))
        rows = [
            _measured(origin.as_py(), data.as_py(), mask.as_py()) for origin, data, mask in zip(*columns, strict=True)
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=_MEASURED)


def _measured(origin: str, data: bytes | None, is_mask: bool) -> dict[str, object]:
    data = data or b""
    row: dict[str, object] = {"origin": origin, "sha256": hashlib.sha256(data).hexdigest()}
    try:
        if is_mask:
            mask = mask_facts(data)
            return row | {"width": mask.width, "height": mask.height, "marked": mask.marked}
        facts = picture_facts(data)
    except FrameError as error:
        return row | {"reason": error.reason, "message": str(error)}
    found = {"width": facts.width, "height": facts.height, "brightness": facts.brightness, "contrast": facts.contrast}
    return row | found


def _measure(files: DataFrame) -> tuple[list[Measured], Counter[str]]:
    """The readable files, in the order of their origins, and the others by reason."""
    readable: list[Measured] = []
    refused: Counter[str] = Counter()
    for row in sorted(files.mapInArrow(measure, _MEASURED_SQL).collect(), key=lambda row: str(row.origin)):
        if row.reason:
            refused[row.reason] += 1
            log.warning("left out", extra={"origin": row.origin, "reason": row.reason, "detail": row.message})
            continue
        readable.append(Measured(row.origin, row.sha256, _facts(row)))
    return readable, refused


def _facts(row: Row) -> PictureFacts | MaskFacts:
    if row.marked is not None:
        return MaskFacts(row.width, row.height, row.marked)
    return PictureFacts(row.width, row.height, row.brightness, row.contrast)


def _choose(candidates: Sequence[Candidate], options: IngestOptions, refused: Counter[str]) -> list[Candidate]:
    """Each content once per label, at most `limit` of a label; the rest is counted."""
    seen: dict[tuple[str, str], Candidate] = {}
    for one in candidates:
        first = seen.setdefault((one.picture.sha256, one.label), one)
        refused[DUPLICATE] += first is not one
    if options.limit is None:
        return list(seen.values())
    by_label: dict[str, list[Candidate]] = {}
    for one in seen.values():
        by_label.setdefault(one.label, []).append(one)
    chosen: list[Candidate] = []
    for same in by_label.values():
        # by a hash, so that the first days or the first camera are not preferred
        same.sort(key=lambda one: hashlib.sha256(f"{options.seed}:{one.picture.origin}".encode()).digest())
        chosen += same[: options.limit]
        refused[OVER_LIMIT] += max(0, len(same) - options.limit)
    return chosen


def _place(chosen: Sequence[Candidate], options: IngestOptions) -> list[tuple[Picture, Candidate]]:
    """Every picture with its split and its place in the folder."""
    for label in {one.label for one in chosen}:
        trainingset.check_label(label)
    splits = trainingset.assign_splits(((one.part, one.label) for one in chosen), options.fractions, options.seed)
    _check_masks(chosen)
    return [(_picture(one, splits[one.part]), one) for one in chosen]


def _picture(one: Candidate, split: Split) -> Picture:
    facts = one.picture.facts
    assert isinstance(facts, PictureFacts)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", one.stem)[-80:] + "-" + one.picture.sha256[:8]
    return Picture(
        path=f"{split}/{one.label}/{stem}{one.suffix}",
        label=one.label,
        split=split,
        part=one.part,
        sha256=one.picture.sha256,
        width=facts.width,
        height=facts.height,
        brightness=round(facts.brightness, 2),
        contrast=round(facts.contrast, 2),
        origin=one.picture.origin,
        mask=f"ground_truth/{one.label}/{stem}_mask.png" if one.mask else None,
    )


def _check_masks(chosen: Sequence[Candidate]) -> None:
    faults = []
    for one in chosen:
        if one.mask:
            assert isinstance(one.mask.facts, MaskFacts)
            assert isinstance(one.picture.facts, PictureFacts)
            fault = mask_fault(one.mask.facts, one.picture.facts)
            if fault:
                faults.append(f"{one.mask.origin} {fault}")
    if faults:
        shown = "; ".join(faults[:3])
        raise SourceError(f"{len(faults)} masks do not fit ({shown}); repair or remove them")


def _write(
    spark: SparkSession,
    files: DataFrame,
    placed: Sequence[tuple[Picture, Candidate]],
    manifest: Manifest,
    output: Path,
) -> None:
    """The folder, whole or not at all; raises SourceError when a file changed since it was measured."""
    wanted = {picture.origin: (picture.path, picture.sha256) for picture, _ in placed}
    wanted |= {one.mask.origin: (picture.mask, one.mask.sha256) for picture, one in placed if one.mask and picture.mask}
    chosen = spark.createDataFrame([(origin,) for origin in wanted], "origin string")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as temporary:
        folder = Path(temporary) / "set"
        for row in files.join(broadcast(chosen), "origin").select("origin", "data").toLocalIterator():
            path, sha256 = wanted.pop(row.origin)
            if hashlib.sha256(row.data).hexdigest() != sha256:
                raise SourceError(f"{row.origin} changed while it was read; ingest again when nobody writes there")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(row.data)
        if wanted:
            raise SourceError(f"{len(wanted)} files vanished while they were read, such as {next(iter(wanted))}")
        trainingset.write_manifest(manifest, folder)
        if output.exists():
            output.rmdir()
        shutil.move(folder, output)
        os.sync()
