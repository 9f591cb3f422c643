from __future__ import annotations

import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from models.judging import plots
from models.judging.judge import METRICS_FILE, judge, write
from models.judging.judgement import Judgement
from models.judging.metrics import KindCount
from models.judging.thresholds import Costs, by_cost, by_f1
from models.runtime.card import GRAPH_FILE, bundle_digest
from models.runtime.scores import Scores
from sightline.errors import SourceError

HOSTILE_KIND = "<b>dent & $x_{"


class Page(HTMLParser):
    """What a browser would make of a page: its tags, where they load from, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(figure: Figure) -> bool:
    """True when the figure can be rendered and is not blank."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=50)
    return float(np.frombuffer(buffer.getvalue(), np.uint8).std()) > 5


@pytest.fixture(scope="module")
def report(judged: Judgement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(judged, tmp_path_factory.mktemp("report"))


def test_a_judgement_says_what_each_frame_was_called(judged: Judgement) -> None:
    assert judged.kinds == {
        HOSTILE_KIND: KindCount(frames=1, found=0, review=0, missed=1),
        "good": KindCount(frames=4, found=0, review=1, missed=3),
        "spot": KindCount(frames=3, found=2, review=1, missed=0),
    }
    # of 16 pairs, only the defect of 140 lies below a good frame, that of 160
    assert judged.metrics["image_auroc"] == pytest.approx(15 / 16)
    assert judged.metrics["aupro_30"] > 0.9
    assert judged.thresholds.threshold == judged.card.threshold == 200.0


def test_speed_and_size_are_those_of_the_bundle(judged: Judgement, bright: Path) -> None:
    assert [speed.batch for speed in judged.speeds] == [1, 16]
    for speed in judged.speeds:
        assert speed.frames_per_second == pytest.approx(1000 / speed.ms_per_frame)
    assert judged.sizes == {GRAPH_FILE: (bright / GRAPH_FILE).stat().st_size}
    assert judged.digest == bundle_digest(bright)


def test_another_threshold_changes_what_is_called_but_not_how_well_frames_are_ranked(judged: Judgement) -> None:
    other = judged.under(by_f1(judged.scores.scores, judged.defect))
    assert other.metrics["f1"] == pytest.approx(other.metrics["f1_max"])
    assert other.metrics["f1"] > judged.metrics["f1"]
    assert other.kinds["spot"].found == 3
    for name in ("image_auroc", "pixel_auroc", "aupro_30"):
        assert other.metrics[name] == judged.metrics[name]
    assert other.new_card.threshold == other.thresholds.threshold
    assert other.new_card.calibration["method"] == "f1-optimal"
    assert other.new_card.metrics["f1"] == other.metrics["f1"]


def test_the_report_loads_nothing_and_runs_nothing(report: Path) -> None:
    page = Page(report.read_text())
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & page.tags
    assert HOSTILE_KIND in page.text
    assert HOSTILE_KIND not in report.read_text()


def test_the_report_shows_the_numbers_that_the_json_has(report: Path, judged: Judgement) -> None:
    numbers = json.loads((report.parent / METRICS_FILE).read_text())
    text = Page(report.read_text()).text
    assert numbers["metrics"] == dict(judged.metrics)
    assert numbers["kinds"]["spot"] == {"frames": 3, "found": 2, "review": 1, "missed": 0}
    for name in ("image_auroc", "image_pr_auc", "pixel_auroc", "aupro_30", "aupro_05"):
        assert f"{numbers['metrics'][name]:.3f}" in text
    assert judged.command in text


def test_every_plot_is_a_picture_that_can_be_seen(report: Path) -> None:
    pictures = {path.stem: cv2.imread(str(path)) for path in report.parent.glob("*.png")}
    assert set(pictures) == {
        "confusion",
        "false_alarms",
        "histogram",
        "misses",
        "overlays",
        "precision_recall",
        "roc",
    }
    assert all(picture is not None and picture.std() > 5 for picture in pictures.values())


def test_plots_show_what_the_labels_allow(judged: Judgement) -> None:
    good = [index for index, sample in enumerate(judged.samples) if sample.kind == "good"][:3]
    scores = Scores(judged.scores.maps[good], judged.scores.scores[good])
    alone = replace(judged, samples=[judged.samples[index] for index in good], scores=scores, metrics={})
    assert set(plots.draw(alone)) == {"histogram", "confusion"}


def test_the_same_score_for_all_frames_is_drawn_as_well(judged: Judgement) -> None:
    count = len(judged.samples)
    flat = Scores(np.full_like(judged.scores.maps, 200.0), np.full(count, 200.0, np.float32))
    same = replace(judged, scores=flat).under(judged.thresholds)
    assert same.metrics["image_auroc"] == 0.5
    assert seen(plots.histogram(same))
    assert seen(plots.roc(same))


def test_a_threshold_that_calls_nothing_is_drawn_as_well(judged: Judgement) -> None:
    silent = judged.under(by_cost(judged.scores.scores, judged.defect, Costs(miss=0, false_alarm=1), review_rate=0))
    assert silent.kinds["good"].found == 0
    assert seen(plots.precision_recall(silent))
    assert seen(plots.confusion(silent))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain-01.jpg", "plain-01.jpg"),
        ("two\nlines.jpg", "two�lines.jpg"),
        ("漢.jpg", "�.jpg"),
        ("camera-three-shift-two-000123.jpg", "camera-three-s…two-000123.jpg"),
    ],
)
def test_file_names_are_shortened_to_what_the_font_can_draw(name: str, shown: str) -> None:
    assert plots.drawable(name, 29) == shown


def test_a_folder_without_labels_is_named(bright: Path, parts: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no labelled pictures: put good ones in .*test/good"):
        judge(bright, parts / "train" / "good")
