"""Nothing in the rooms turns data into code: no pickles, no eval, no shell, no page that does not escape."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import audit

PROJECT = Path(__file__).resolve().parents[2]
WHEEL = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
ROOMS = sorted({package.split(".")[0] for package in WHEEL})
FILES = sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pd.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _given(call: ast.Call, key: str) -> object:
    values = {word.arg: word.value for word in call.keywords}
    value = values.get(key)
    return value.value if isinstance(value, ast.Constant) else value


def _faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        name = _dotted(node.func)
        if name in CALLS:
            yield f"calls {name}"
        if _given(node, "shell") not in (None, False):
            yield f"calls {name} with a shell"
        if name in ("np.load", "numpy.load") and _given(node, "allow_pickle") is not False:
            yield f"calls {name}, which may run pickles, without allow_pickle=False"
        if name == "torch.load" and _given(node, "weights_only") is not True:
            yield "calls torch.load, which runs pickles, without weights_only=True"
        if name.split(".")[-1] == "Environment" and _given(node, "autoescape") is not True:
            yield "makes pages that do not escape"
        if name.split(".")[-1] in ("Markup", "mark_safe"):
            yield f"calls {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_module_runs_data(path: Path) -> None:
    assert not list(_faults(ast.parse(path.read_text())))


@pytest.mark.parametrize(
    "code", ["import pickle", "eval(x)", "run(x, shell=True)", "torch.load(x)", "np.load(x)", "Environment()"]
)
def test_the_rule_sees_what_it_is_for(code: str) -> None:
    assert list(_faults(ast.parse(code)))


def test_the_audit_scans_every_package_of_the_wheel() -> None:
    assert sorted(audit.ROOMS) == ROOMS


def test_templates_and_scripts_escape() -> None:
    pages = [path for room in ROOMS for end in ("*.j2", "*.js") for path in (PROJECT / room).rglob(end)]
    unsafe = re.compile(
        r"\|\s*safe\b|autoescape\s+false|\.innerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function\("
    )
    own = [path for path in pages if ".min." not in path.name]
    assert [str(path.relative_to(PROJECT)) for path in own if unsafe.search(path.read_text())] == []
