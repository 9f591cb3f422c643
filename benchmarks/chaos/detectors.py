"""New detectors that must not take over, one that must, and a registry that is away."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow.compute as pc
from deltalake import DeltaTable

from benchmarks.chaos.camera import PRODUCT
from benchmarks.chaos.fault import BrokenError, Fault, Inject, idle, insist, wait_for
from benchmarks.chaos.line import Line
from models.runtime.card import CARD_FILE, GRAPH_FILE
from sightline.settings import RegistrySettings
from streaming.detectors import CHAMPIONS

_TRIAL_SECONDS = 400.0
_REFUSAL = "refused, the last good one stays"
# what the score query says of a registry that is away, the last of it in MLflow's words
_UNFETCHED = "not fetched or not tried to the end"
_UNASKED = "not updated, the last ones stay"
_UNOPENED = "SQLAlchemy engine could not be created"
_MET_SECONDS = 120.0
_VERDICT_SECONDS = 60.0
_ODD = "odd-"
"""Cameras with wrong clocks (`benchmarks.chaos.records`)."""

Spoil = Callable[[Path, random.Random], None]
"""Makes a bad bundle of the good one in the folder."""


def corrupt(bundle: Path, rng: random.Random) -> None:
    """A part of the graph is overwritten."""
    graph = bundle / GRAPH_FILE
    content = bytearray(graph.read_bytes())
    start = rng.randrange(len(content) // 2)
    content[start : start + 200] = rng.randbytes(200)
    graph.write_bytes(bytes(content[: len(content) - rng.randrange(1, 100)]))


def giving_nan(bundle: Path, _rng: random.Random) -> None:
    """Every map is not a number."""
    _rewrite(bundle, lambda make: ([make.node("Mul", ["sound", "nan"], ["anomaly_map"])], {"nan": float("nan")}))


def giving_nan_for_bright_pictures(bundle: Path, _rng: random.Random) -> None:
    """A blank picture is judged well, which is all that a self-check with one would see."""
    _rewrite(
        bundle,
        lambda make: (
            [make.node("Sub", ["limit", "sound"], ["room"]), make.node("Log", ["room"], ["anomaly_map"])],
            {"limit": 220.0},
        ),
    )


def giving_other_scores(bundle: Path, _rng: random.Random) -> None:
    """Everything looks dark to it: each score is finite, and half of what it should be."""
    _rewrite(bundle, lambda make: ([make.node("Mul", ["sound", "half"], ["anomaly_map"])], {"half": 0.5}))


def of_wrong_shape(bundle: Path, _rng: random.Random) -> None:
    """The graph gives other maps than its card says."""
    card = bundle / CARD_FILE
    text = card.read_text()
    changed = text.replace('"map_rows":8', '"map_rows":4').replace('"map_rows": 8', '"map_rows": 4')
    if changed == text:
        raise AssertionError(f"{card} does not tell map_rows as 8")
    card.write_text(changed)


def too_slow(bundle: Path, _rng: random.Random) -> None:
    """Every picture costs some 10^12 multiplications that have no effect."""

    def slow(make: _Make) -> tuple[list[object], dict[str, float]]:
        nodes = [
            make.node("ReduceMax", ["float"], ["brightest"], keepdims=0),
            make.node("Mul", ["brightest", "little"], ["faint"]),
            make.node("Expand", ["faint", "wide"], ["work0"]),
        ]
        nodes += [make.node("MatMul", [f"work{n}", f"work{n}"], [f"work{n + 1}"]) for n in range(20)]
        nodes += [
            make.node("ReduceMax", ["work20"], ["nothing"], keepdims=0),
            make.node("Add", ["sound", "nothing"], ["anomaly_map"]),
        ]
        make.shape("wide", [2048, 2048])
        return nodes, {"little": 1e-12}

    _rewrite(bundle, slow)


def _refused(spoil: Spoil) -> Inject:
    def inject(line: Line, rng: random.Random) -> float:
        from models.registry import set_champion

        idle(rng)
        pointer = line.folder / "detectors" / CHAMPIONS
        before, said = pointer.read_bytes(), line.score.log_file.stat().st_size
        _register(line, spoil, rng)
        began = time.monotonic()
        insist(lambda: _REFUSAL in line.log_since(line.score, said), _TRIAL_SECONDS, "the new detector is refused")
        if pointer.read_bytes() != before:
            raise BrokenError("a bad detector took over")
        set_champion(PRODUCT, line.champion, RegistrySettings.load())
        return began

    return inject


def detector_swapped(line: Line, rng: random.Random) -> float:
    idle(rng)
    return _swap(line, rng)


def registry_away_at_swap(line: Line, rng: random.Random) -> float:
    """The next champion is named and cannot be fetched, then the registry cannot even be asked: the old one judges."""
    from models.registry import set_champion

    idle(rng)
    registry = line.folder / "mlflow"
    version = _register(line, _as_it_is, rng, alias=None)
    said = line.score.log_file.stat().st_size
    with away(registry / "artifacts"):
        # from here on none of the files of `version` can be had, however quickly it is asked for
        set_champion(PRODUCT, version, RegistrySettings.load())
        if rng.random() < 0.5:
            wait_for(lambda: _UNFETCHED in line.log_since(line.score, said), _MET_SECONDS, "the files are missed")
        with registry_away(registry / "mlflow.db"):
            since = datetime.now(UTC)
            # those that have it open wait 20 s for the lock
            time.sleep(rng.uniform(25, 35))
            insist(lambda: _judges(line, since).total() > 10 * line.rate, _VERDICT_SECONDS, "verdicts of the old one")
            met = partial(_says_any, line, said, (_UNFETCHED, _UNASKED, _UNOPENED))
            wait_for(met, _MET_SECONDS, "the score query misses its registry", every=0.1)
            if judges := _judges(line, since).keys() - {line.champion}:
                raise BrokenError(f"version {', '.join(judges)} judged, which could not be fetched")
    return _taken_over(line, version)


def registry_away_at_start(line: Line, rng: random.Random) -> float:
    """The score query is killed and starts without a registry."""
    idle(rng)
    with registry_away(line.folder / "mlflow" / "mlflow.db"):
        line.kill(line.score)
        killed = time.monotonic()
        if line.gauge.recovery(killed, 300) is None:
            raise BrokenError("without a registry the line did not start again")
    return killed


def _swap(line: Line, rng: random.Random) -> float:
    return _taken_over(line, _register(line, _as_it_is, rng))


def _taken_over(line: Line, version: str) -> float:
    """From when on the version is in force; it must judge."""
    pointer, since = line.folder / "detectors" / CHAMPIONS, datetime.now(UTC)
    insist(lambda: f'"version":"{version}"' in pointer.read_text(), _TRIAL_SECONDS, f"version {version} takes over")
    line.champion = version
    taken = time.monotonic()
    insist(lambda: version in _judges(line, since), _VERDICT_SECONDS, f"a verdict of version {version}")
    return taken


def _judges(line: Line, since: datetime) -> Counter[str]:
    """How many frames of the line's own cameras that were captured since then each version has judged."""
    recent = (pc.field("captured_at") >= since) & ~pc.starts_with(pc.field("camera"), _ODD)
    table = DeltaTable(str(line.tables / "inspections")).to_pyarrow_dataset()
    return Counter(
        one["version"] for one in table.to_table(columns=["detector"], filter=recent)["detector"].to_pylist()
    )


def _says_any(line: Line, said: int, texts: Iterable[str]) -> bool:
    log = line.log_since(line.score, said)
    return any(text in log for text in texts)


def _as_it_is(_bundle: Path, _rng: random.Random) -> None:
    """The good one."""


def _register(line: Line, spoil: Spoil, rng: random.Random, alias: str | None = "champion") -> str:
    from models.doubles import write_brightness_bundle
    from models.registry import register_bundle

    bundle = line.folder / "bundles" / f"{rng.getrandbits(32):08x}"
    # another threshold for another digest; the cameras' pictures are far from all of them
    write_brightness_bundle(bundle, product=PRODUCT, threshold=rng.uniform(160, 210))
    spoil(bundle, rng)
    version = register_bundle(bundle, RegistrySettings.load(), alias=alias).version
    shutil.rmtree(bundle)
    return version


@contextmanager
def away(folder: Path) -> Iterator[None]:
    aside = folder.with_suffix(".aside")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)


@contextmanager
def registry_away(base: Path) -> Iterator[None]:
    """The registry's database cannot be opened, and does not answer those that have it open already."""
    aside = base.with_suffix(".aside")
    lock = sqlite3.connect(base, isolation_level=None, timeout=60)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        base.rename(aside)
        base.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(base)
            aside.rename(base)
    finally:
        lock.close()


class _Make:
    """Nodes and constants of a graph, made with onnx."""

    def __init__(self) -> None:
        self.shapes: dict[str, list[int]] = {}

    def node(self, kind: str, inputs: list[str], outputs: list[str], **more: int) -> object:
        from onnx import helper

        return helper.make_node(kind, inputs, outputs, **more)

    def shape(self, name: str, sizes: list[int]) -> None:
        self.shapes[name] = sizes


def _rewrite(bundle: Path, make: Callable[[_Make], tuple[list[object], dict[str, float]]]) -> None:
    """Put nodes between the map as it was, now called `sound`, and `anomaly_map`, of which the score is the highest."""
    import onnx
    from onnx import TensorProto, helper

    file, maker = bundle / GRAPH_FILE, _Make()
    model = onnx.load(str(file))
    nodes, numbers = make(maker)
    before = list(model.graph.node)
    place = next(number for number, node in enumerate(before) if "anomaly_map" in node.output)
    before[place].output[0] = "sound"
    del model.graph.node[:]
    model.graph.node.extend([*before[: place + 1], *nodes, *before[place + 1 :]])
    for name, number in numbers.items():
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [number]))
    for name, sizes in maker.shapes.items():
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(sizes)], sizes))
    onnx.save(model, str(file))


FAULTS = (
    Fault("detector-corrupt", _refused(corrupt), 4),
    Fault("detector-giving-nan", _refused(giving_nan), 4),
    Fault("detector-giving-nan-for-some", _refused(giving_nan_for_bright_pictures), 4),
    Fault("detector-giving-other-scores", _refused(giving_other_scores), 4),
    Fault("detector-of-wrong-shape", _refused(of_wrong_shape), 4),
    Fault("detector-too-slow", _refused(too_slow), 2),
    Fault("detector-swapped", detector_swapped, 8),
    Fault("registry-away-at-swap", registry_away_at_swap, 4),
    Fault("registry-away-at-start", registry_away_at_start, 3),
)
