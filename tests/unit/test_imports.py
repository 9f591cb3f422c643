"""The rooms' import directions, and that the vocabulary and the command line stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "sightline": (),
    "producers": ("sightline",),
    "models": ("sightline",),
    "streaming": ("sightline", "models.runtime", "models.registry", "models.registry_reader", "infra.spark"),
    "console": ("sightline", "models.runtime", "models.registry", "models.registry_reader", "models.run_files"),
    "infra": ("sightline",),
}
HEAVY = {"pyspark", "torch", "mlflow", "kafka", "confluent_kafka", "cv2", "numpy"}


def _modules(room: str) -> list[Path]:
    return sorted((PROJECT / room).rglob("*.py"))


def _imported(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported anywhere below `tree`: `from a import b` gives `a.b`, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a module can be run as a script"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_module_level(node: ast.AST) -> Iterator[str]:
    """What importing the module imports: not what stands in functions or under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from _imported(child)
        yield from _at_module_level(child)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_that_it_may(room: str) -> None:
    wrong = [
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in _modules(room)
        for name in _imported(ast.parse(path.read_text()))
        if name.split(".")[0] in MAY_IMPORT
        and not any(name == allowed or name.startswith(allowed + ".") for allowed in (room, *MAY_IMPORT[room]))
    ]
    assert not wrong


def test_the_vocabulary_imports_no_heavy_library() -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in _modules("sightline")
        for name in _at_module_level(ast.parse(path.read_text()))
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong


def test_help_is_shown_without_loading_a_heavy_library() -> None:
    program = "import sys; from sightline.cli import load_rooms; load_rooms(); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not HEAVY & set(answer.stdout.split())
