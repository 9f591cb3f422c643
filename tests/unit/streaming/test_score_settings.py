"""`[score.views]` from a file: what workers get, and what is said of a wrong one."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from sightline.errors import SettingsError
from sightline.settings import KafkaSettings
from streaming.score import ScoreSettings, plan, views


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_RUN", "run")
    return tmp_path


def load(folder: Path, text: str) -> ScoreSettings:
    (folder / "sightline.toml").write_text(text)
    return ScoreSettings.load()


def test_views_travel_to_the_workers_as_plain_values(folder: Path) -> None:
    settings = load(folder, '[score]\nshadow_fraction = 0.25\n[score.views."cam 1"]\nregion = [10, 20, 300, 200]\n')
    sent = plan(KafkaSettings.load(), settings)
    assert sent.shadow_fraction == 0.25
    ((camera, view),) = pickle.loads(pickle.dumps(sent)).views
    assert (camera, view.region) == ("cam 1", (10, 20, 300, 200))
    assert hash(sent) == hash(plan(KafkaSettings.load(), settings))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[score.views.cam-1]\nregion = [1, 2, 3]\n", r"\[score\] views.cam-1.region"),
        ("[score.views.cam-1]\nregoin = [1, 2, 30, 30]\n", r"\[score\] views.cam-1.regoin"),
        ("[score.views.cam-1]\n", r"\[score.views.cam-1\] has neither region nor mask"),
        ("[score.views.cam-1]\nregion = [0, 0, 4, 4]\n", r"\[score.views.cam-1\] region = \[0, 0, 4, 4\]"),
        ('[score.views.cam-1]\nmask = "no.png"\n', r"\[score.views.cam-1\] mask = 'no.png': No such file"),
        ("[score]\nshadow_fraction = 2\n", "shadow_fraction"),
    ],
)
def test_a_wrong_view_names_its_key(folder: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        views(load(folder, text))
