"""The jars as components of a CycloneDX bill of materials, which knows only Python packages by itself."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

_POM = re.compile(r"META-INF/maven/([^/]+)/([^/]+)/pom\.properties")


def with_jars(bill: dict[str, Any], jars: list[Path]) -> dict[str, Any]:
    """`bill` with one component more for each jar, its file hashed; a jar of both sets counts once."""
    known = {jar.name: jar for jar in jars}
    return {**bill, "components": [*bill.get("components", []), *(component(jar) for _, jar in sorted(known.items()))]}


def component(jar: Path) -> dict[str, Any]:
    """One jar: name and version from its file, its group where it brings its own Maven data."""
    name, version = _named(jar)
    group = _group(jar, name)
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": jar.name,
        "name": name,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(jar.read_bytes()).hexdigest()}],
    }
    if group:
        found |= {"group": group, "purl": f"pkg:maven/{group}/{name}@{version}"}
    return found


def _named(jar: Path) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?)-(\d[^/]*)", jar.stem)
    return (match[1], match[2]) if match else (jar.stem, "unknown")


def _group(jar: Path, name: str) -> str | None:
    with zipfile.ZipFile(jar) as archive:
        found = {match[2]: match[1] for entry in archive.namelist() if (match := _POM.fullmatch(entry))}
    return found.get(name)
