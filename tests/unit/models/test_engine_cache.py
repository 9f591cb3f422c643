from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from models.runtime.engine_cache import EngineCache, EngineKey
from sightline.errors import PrerequisiteError

KEY = EngineKey(gpu="H100", capability="9.0", tensorrt="11.2.1", precision="fp32", graph="ab" * 32, max_batch=16)


def builder(engine: bytes, calls: list[bytes]) -> Callable[[], bytes]:
    def build() -> bytes:
        calls.append(engine)
        return engine

    return build


def test_an_engine_is_built_once_and_then_read(tmp_path: Path) -> None:
    calls: list[bytes] = []
    for _ in range(3):
        assert (
            EngineCache(tmp_path / "engines").get(KEY, builder(b"engine\nwith a line", calls)) == b"engine\nwith a line"
        )
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpu", "L4"),
        ("capability", "8.9"),
        ("tensorrt", "11.3.0"),
        ("precision", "fp16"),
        ("graph", "cd" * 32),
        ("max_batch", 32),
    ],
)
def test_another_gpu_version_precision_graph_or_batch_needs_an_engine_of_its_own(
    tmp_path: Path, field: str, value: object
) -> None:
    cache = EngineCache(tmp_path)
    other = msgspec.structs.replace(KEY, **{field: value})
    cache.get(KEY, lambda: b"first")
    assert cache.get(other, lambda: b"second") == b"second"
    assert cache.get(KEY, lambda: b"never") == b"first"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:-1] + b"?",
        lambda data: b"",
        lambda data: b"\xff\xfe no header\n" + data,
        lambda data: data.replace(b"9.0", b"8.0"),
    ],
    ids=["cut", "changed", "empty", "foreign", "of another GPU"],
)
def test_a_damaged_engine_is_built_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache = EngineCache(tmp_path)
    cache.get(KEY, lambda: b"engine")
    (path,) = tmp_path.glob("*.engine")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(KEY, lambda: b"fresh") == b"fresh"
    assert cache.get(KEY, lambda: b"never") == b"fresh"


def test_the_least_recently_used_engines_go_first(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, max_engines=2)
    keys = [msgspec.structs.replace(KEY, graph=f"{number:064}") for number in range(3)]
    for age, key in ((200, keys[0]), (100, keys[1])):
        cache.get(key, lambda: b"engine")
        stamp = (tmp_path / key.file_name).stat().st_mtime - age
        os.utime(tmp_path / key.file_name, (stamp, stamp))
    cache.get(keys[0], lambda: b"never")
    cache.get(keys[2], lambda: b"engine")
    assert {path.name for path in tmp_path.glob("*.engine")} == {keys[0].file_name, keys[2].file_name}


def test_bytes_are_bounded_but_the_newest_engine_stays(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, max_bytes=1000)
    for number in range(3):
        cache.get(msgspec.structs.replace(KEY, graph=f"{number:064}"), lambda: bytes(2000))
    assert [path.name for path in tmp_path.glob("*.engine")] == [
        msgspec.structs.replace(KEY, graph=f"{2:064}").file_name
    ]


def test_of_two_that_want_the_same_engine_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()
    calls: list[bytes] = []

    def slow() -> bytes:
        entered.set()
        assert go_on.wait(20)
        return builder(b"engine", calls)()

    threads = [threading.Thread(target=lambda: EngineCache(tmp_path).get(KEY, slow)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert calls == [b"engine"]


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> bytes:
        raise RuntimeError("out of memory")

    cache = EngineCache(tmp_path)
    with pytest.raises(RuntimeError):
        cache.get(KEY, failing)
    assert not list(tmp_path.glob("*.engine")) + list(tmp_path.glob("*.part"))
    assert cache.get(KEY, lambda: b"engine") == b"engine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PrerequisiteError, match=r"engines cannot be kept in .*file/engines.*SIGHTLINE_RUN"):
        EngineCache(tmp_path / "file" / "engines").get(KEY, lambda: b"engine")
