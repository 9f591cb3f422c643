"""Labels, parts and masks from paths; no Spark."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.runtime.picture import MaskFacts, PictureFacts
from sightline.contracts import ActionKind
from sightline.errors import SourceError
from streaming.ingest import Measured
from streaming.ingest_archive import frame_label
from streaming.ingest_folder import PartRule, label_files, read_parts


def files(*origins: str) -> list[Measured]:
    facts = {True: MaskFacts(30, 20, 9), False: PictureFacts(30, 20, 90, 40)}
    return [Measured(origin, "ab", facts["ground_truth/" in origin]) for origin in origins]


def labelled(
    *origins: str, parts: PartRule | None = None, good: tuple[str, ...] = ("good",)
) -> dict[str, tuple[str, str]]:
    found = label_files(files(*origins), parts or PartRule(), good, {})
    return {one.picture.origin: (one.label, one.part) for one in found.candidates}


def test_labels_are_folder_names_and_a_flat_folder_is_good() -> None:
    assert labelled("train/good/1.png", "test/dent/1.png") == {
        "train/good/1.png": ("good", "train/good/1.png"),
        "test/dent/1.png": ("dent", "test/dent/1.png"),
    }
    assert labelled("1.png", "2.png")["2.png"] == ("good", "2.png")
    assert labelled("ok/1.png", "dent/1.png", good=("ok",))["ok/1.png"][0] == "good"


def test_what_would_be_a_guess_is_refused() -> None:
    with pytest.raises(SourceError, match="no folder is named good; found cam1, cam2"):
        labelled("cam1/1.png", "cam2/1.png")
    with pytest.raises(SourceError, match="1 pictures lie beside the labelled folders"):
        labelled("good/1.png", "2.png")
    with pytest.raises(SourceError, match=r"1 pictures show no known part \(good/x\.png\)"):
        labelled("good/p1.png", "good/x.png", parts=PartRule(pattern="p[0-9]"))
    with pytest.raises(SourceError, match="1 masks fit no picture"):
        labelled("good/1.png", "dent/2.png", "ground_truth/dent/7_mask.png")
    with pytest.raises(SourceError, match="more than one way"):
        PartRule(pattern="x", by_folder=True)
    with pytest.raises(SourceError, match="no regular expression"):
        PartRule(pattern="(")


def test_parts_come_from_a_pattern_folders_or_a_table(tmp_path: Path) -> None:
    by_pattern = labelled("good/a7_1.png", "good/a7_2.png", parts=PartRule(pattern="/(a[0-9]+)_"))
    assert {part for _, part in by_pattern.values()} == {"a7"}
    by_folder = labelled("good/a7/1.png", "dent/a8/1.png", parts=PartRule(by_folder=True))
    assert by_folder == {"good/a7/1.png": ("good", "good/a7"), "dent/a8/1.png": ("dent", "dent/a8")}
    table = tmp_path / "parts.csv"
    table.write_text("path,part\ngood/1.png,a\ngood/2.png,a\n")
    assert {
        part for _, part in labelled("good/1.png", "good/2.png", parts=PartRule(table=read_parts(table))).values()
    } == {"a"}
    table.write_text("path,part\ngood/1.png,a\ngood/1.png,b\n")
    with pytest.raises(SourceError, match="two parts"):
        read_parts(table)


def test_a_mask_finds_its_picture() -> None:
    origins = ("train/good/1.png", "test/dent/1.png", "ground_truth/dent/1_mask.png")
    found = {one.picture.origin: one.mask for one in label_files(files(*origins), PartRule(), ("good",), {}).candidates}
    assert found["train/good/1.png"] is None
    mask = found["test/dent/1.png"]
    assert mask
    assert mask.origin == origins[2]


@pytest.mark.parametrize(
    ("answer", "defect_type", "truth", "verdict", "label"),
    [
        (ActionKind.CONFIRM, "Surface scratch!", "good", "defect", "surface_scratch"),
        (ActionKind.CONFIRM, None, None, "defect", "defect"),
        (ActionKind.CONFIRM, "good", None, "defect", "defect"),
        (ActionKind.FALSE_ALARM, None, "dent", "defect", "good"),
        (None, None, "dent", "ok", "dent"),
        (None, None, None, "ok", "good"),
        (None, None, None, "review", None),
        (None, None, None, "defect", None),
    ],
)
def test_the_label_of_an_archived_frame(
    answer: str | None, defect_type: str | None, truth: str | None, verdict: str, label: str | None
) -> None:
    assert frame_label(answer, defect_type, truth, verdict) == label
