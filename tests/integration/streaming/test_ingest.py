"""Real Spark makes training sets from a folder tree and from a real Delta archive with operators' answers."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pyspark.sql import SparkSession

from models.doubles import write_brightness_bundle
from sightline import samples
from sightline.contracts import ActionKind
from sightline.errors import SourceError, TableError
from sightline.settings import TableSettings
from sightline.trainingset import Fractions, read_manifest
from streaming.inference_udf import register_image_inference
from streaming.ingest import IngestOptions, ingest
from streaming.ingest_archive import ArchiveSource
from streaming.ingest_folder import FolderSource, PartRule
from streaming.picture_judge import plan_for
from streaming.score_images import by_python, by_spark
from streaming.tables import TABLES, create_table

START = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)
HALVES = Fractions(0.5, 0.0, 0.5)


def picture(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", noise)[1])


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_a_folder_tree_becomes_a_set_that_keeps_parts_together(spark: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "photos [line 1]"
    for part in range(30):
        for frame in range(2):
            put(root / "ok" / f"part{part:02}_{frame}.jpg", picture(2 * part + frame))
    put(root / "Crack" / "part90_0.JPG", picture(90))
    put(root / "ground_truth" / "Crack" / "part90_0_mask.png", bytes(cv2.imencode(".png", np.eye(48, 64))[1]))
    put(root / "ok" / "part00_9.jpg", picture(3)[:-200])
    put(root / "ok" / "part01_9.jpg", picture(2))
    put(root / "ok" / "part02_9.jpg", b"")
    put(root / "notes.txt", b"checked by hand")
    source = FolderSource(root, PartRule(pattern="(part[0-9]+)_"), ("ok",))
    output = tmp_path / "set"
    manifest = ingest(spark, source, IngestOptions("cap", output, HALVES))

    assert manifest == read_manifest(output)
    assert manifest.refused == {"duplicate": 1, "empty": 1, "other-file": 1, "truncated": 1}
    assert len(manifest.pictures) == 61
    splits: dict[str, set[str]] = {}
    for one in manifest.pictures:
        splits.setdefault(one.part, set()).add(one.split)
        content = (output / one.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one.sha256
        assert content == (root / one.origin).read_bytes()
    assert {len(found) for found in splits.values()} == {1}
    assert manifest.counts["train"]["good"] + manifest.counts["test"]["good"] == 60
    (crack,) = (one for one in manifest.pictures if one.label == "Crack")
    assert crack.split == "test"
    assert crack.mask
    assert (output / crack.mask).is_file()

    # more data: what was there stays where it was
    for part in range(40, 50):
        put(root / "ok" / f"part{part}_0.jpg", picture(1000 + part))
    larger = ingest(spark, source, IngestOptions("cap", tmp_path / "larger", HALVES))
    assert {one.path for one in manifest.pictures} < {one.path for one in larger.pictures}
    with pytest.raises(SourceError, match="already holds something"):
        ingest(spark, source, IngestOptions("cap", output, HALVES))


def test_a_refused_set_leaves_nothing_behind(spark: SparkSession, tmp_path: Path) -> None:
    black = bytes(cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1])
    for number in range(12):
        # a comment makes the files differ
        note = bytes([number])
        put(tmp_path / "black" / f"{number}.jpg", black[:2] + b"\xff\xfe\x00\x03" + note + black[2:])
    with pytest.raises(SourceError, match="12 pictures are black or plain all over"):
        ingest(spark, FolderSource(tmp_path / "black"), IngestOptions("cap", tmp_path / "set", Fractions(1, 0, 0)))
    assert [path.name for path in tmp_path.iterdir()] == ["black"]


def archive(spark: SparkSession, folder: Path) -> TableSettings:
    """Forty frames of one camera, 4 s apart by twos, with incidents over the sequences 10–13, 20–21 and 30–31."""
    tables = TableSettings(root=str(folder))
    defects = {10, 11, 13, 20, 21, 30, 31}
    frames = [
        {
            "inspection_id": f"i{number}",
            "line": "line-a",
            "camera": "cam-1",
            "sequence": number,
            "captured_at": START + timedelta(seconds=4 * (number // 2) + 0.1 * (number % 2)),
            "product": "cap" if number < 38 else "lid",
            "width": 64,
            "height": 48,
            "label": "dent" if number == 5 else None,
            "verdict": "review" if number == 36 else "defect" if number in defects else "ok",
            "jpeg": picture(number),
        }
        for number in range(40)
    ]
    alerts, actions = [], []
    answers = [
        ("a1", 10, 13, [(ActionKind.FALSE_ALARM, None), (ActionKind.CONFIRM, "Surface scratch!")]),
        ("a2", 20, 21, [(ActionKind.CONFIRM, "dent"), (ActionKind.FALSE_ALARM, None), (ActionKind.COMMENT, None)]),
        ("a3", 30, 31, [(ActionKind.ACKNOWLEDGE, None)]),
    ]
    for name, first, last, said in answers:
        alerts.append(
            asdict(
                replace(
                    samples.alert(),
                    alert_id=name,
                    camera="cam-1",
                    first_sequence=first,
                    last_sequence=last,
                    opened_at=frames[first]["captured_at"],
                    updated_at=frames[last]["captured_at"],
                )
            )
        )
        for minute, (kind, defect_type) in enumerate(said):
            actions.append(
                asdict(
                    replace(
                        samples.operator_action(),
                        action_id=f"{name}.{minute}",
                        alert_id=name,
                        kind=kind,
                        defect_type=defect_type,
                        at=START + timedelta(hours=1, minutes=minute),
                    )
                )
            )
    for name, rows in (("frame_archive", frames), ("alerts", alerts), ("operator_actions", actions)):
        save(spark, tables, name, rows)
    return tables


def save(spark: SparkSession, tables: TableSettings, name: str, rows: list[dict[str, Any]]) -> None:
    table = TABLES[name]
    path = create_table(spark, table, tables)
    full = [{field.name: row.get(field.name) for field in table.schema.fields} for row in rows]
    for row in full:
        row["day"] = row[table.event_time].date()
    spark.createDataFrame(full, table.schema).write.format("delta").mode("append").save(path)


def test_the_archive_becomes_a_set_with_what_operators_answered(spark: SparkSession, tmp_path: Path) -> None:
    tables = archive(spark, tmp_path / "tables")
    source = ArchiveSource(tables, "cap", gap_seconds=1.0)
    manifest = ingest(spark, source, IngestOptions("cap", tmp_path / "set", HALVES))
    labels = {one.origin: one.label for one in manifest.pictures}
    assert {labels[f"i{number}"] for number in (10, 11, 13)} == {"surface_scratch"}
    # in the incident, but judged ok
    assert labels["i12"] == "good"
    assert labels["i20"] == labels["i21"] == "good"
    assert labels["i5"] == "dent"
    assert not {"i30", "i31", "i36", "i38", "i39"} & set(labels)
    assert manifest.refused == {"unconfirmed": 3}
    assert sum(labels == "good" for labels in labels.values()) == 31

    parts = {one.origin: (one.part, one.split) for one in manifest.pictures}
    assert all(parts[f"i{number}"] == parts[f"i{number + 1}"] for number in range(0, 30, 2))
    assert len({part for part, _ in parts.values()}) == 18
    assert {one.split for one in manifest.pictures if one.label != "good"} == {"test"}

    # as one part, or of another day, there is nothing to learn from
    with pytest.raises(SourceError, match="35 pictures of 1 parts"):
        ingest(spark, replace(source, gap_seconds=60), IngestOptions("cap", tmp_path / "one", HALVES))
    later = replace(source, since=START + timedelta(days=1))
    with pytest.raises(SourceError, match="no usable picture"):
        ingest(spark, later, IngestOptions("cap", tmp_path / "none", HALVES))


def test_without_an_archive_the_remedy_is_named(spark: SparkSession, tmp_path: Path) -> None:
    source = ArchiveSource(TableSettings(root=str(tmp_path)), "cap")
    with pytest.raises(TableError, match=r"no table at .*sightline history"):
        ingest(spark, source, IngestOptions("cap", tmp_path / "set"))


def test_sql_judges_every_picture_once_by_path_and_by_bytes(spark: SparkSession, tmp_path: Path) -> None:
    write_brightness_bundle(tmp_path / "bundle")
    for place, level in enumerate((20, 170, 230)):
        plain = np.full((64, 64, 3), level, np.uint8)
        put(tmp_path / "parts" / f"{place} a.png", bytes(cv2.imencode(".png", plain)[1]))
    put(tmp_path / "parts" / "3.png", b"text")
    register_image_inference(spark, "openvino", detector=tmp_path / "bundle", anomaly_map=True)
    files = spark.read.format("binaryFile").load(str(tmp_path / "parts"))
    files.createOrReplaceTempView("parts")

    judged = spark.sql("SELECT path, inspect_image(path) AS seen, inspect_image(content) AS same FROM parts")
    *good, bad = judged.orderBy("path").collect()
    assert [row.seen["class"] for row in good] == ["ok", "review", "defect"]
    assert [len(row.seen.anomaly_map) * len(row.seen.anomaly_map[0]) for row in good] == [64] * 3
    assert max(map(max, good[2].seen.anomaly_map)) == pytest.approx(good[2].seen.score)
    assert all(row.seen == row.same for row in good)
    assert bad.seen.error.startswith("undecodable: ")
    assert (bad.seen["class"], bad.seen.score, bad.seen.anomaly_map) == (None, None, None)

    seen = "SELECT inspect_image(path) AS seen FROM parts"
    found = spark.sql(f"SELECT seen.score FROM ({seen}) WHERE seen.class = 'defect'")
    assert [row.score for row in found.collect()] == [good[2].seen.score]
    plan = found._jdf.queryExecution().executedPlan().toString()
    assert plan.count("ArrowEvalPython") == 1, "a filter must not judge every picture again"

    paths = [tmp_path / "parts" / name for name in ("3.png", "2 a.png", "0 a.png")]
    job = plan_for(tmp_path / "bundle", "onnx")
    assert by_spark(spark, job, paths) == [replace(one, anomaly_map=None) for one in by_python(job, paths)]
