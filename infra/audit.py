"""`make audit`: what Sightline is made of and under which licences, what is known against it, what a scanner finds.

The tools have an environment of their own (`requirements/audit.txt`), so that what they need is not part of what they
look at. Leaves with 1 for a finding, and with 3 when all is well but the advisories could not be had.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.jars import CONFIGURATIONS, jar_folder
from infra.licences import refused
from infra.sbom import with_jars
from sightline.errors import PrerequisiteError, SightlineError
from sightline.settings import run_folder

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.prefix) / "audit" / "bin"
ROOMS = ("sightline", "producers", "models", "streaming", "console", "infra", "benchmarks")
"""The packages of the wheel."""
UNREACHABLE = 3
_TOOL_SECONDS = 1800.0
_ADVISORY_SECONDS = 120.0
# what pip-audit says when neither of its services answers
_NO_ANSWER = ("ConnectionError", "NameResolutionError", "ServiceError", "timed out", "Max retries exceeded")


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part of the audit ended: `code` 0, 1 or UNREACHABLE, and what to say of it."""

    part: str
    code: int
    said: str


def main() -> int:
    """Run every part; its outputs lie in `run/audit`. Returns the exit code."""
    folder = run_folder().absolute() / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    parts: tuple[Callable[[Path], Finding], ...] = (bill_of_materials, licences, scanner, advisories)
    findings = []
    for part in parts:
        findings.append(part(folder))
        print(f"{findings[-1].part:<12} {findings[-1].said}", flush=True)  # noqa: T201 - a command of its own
    codes = {finding.code for finding in findings}
    return 1 if 1 in codes else max(codes)


def bill_of_materials(folder: Path) -> Finding:
    """Every Python package of this environment and every jar, in CycloneDX."""
    file = folder / "sbom.json"
    run("cyclonedx-py", "environment", sys.executable, "--of", "JSON", "-o", str(file), "--pyproject", "pyproject.toml")
    jars = [jar for name in CONFIGURATIONS for jar in (jar_folder() / name).glob("*.jar")]
    bill = with_jars(json.loads(file.read_text()), jars)
    file.write_text(json.dumps(bill, indent=1) + "\n")
    return Finding("materials", 0, f"{len(bill['components'])} components, {len(jars)} of them jars: {file}")


def licences(folder: Path) -> Finding:
    """Every licence is on the list, or its package is."""
    file = folder / "licences.json"
    run("pip-licenses", f"--python={sys.executable}", "--from=mixed", "--format=json", f"--output-file={file}")
    packages = json.loads(file.read_text())
    wrong = refused(packages)
    told = f"{len(packages)} packages, all under allowed licences: {file}"
    return Finding("licences", int(bool(wrong)), "\n  ".join(["not allowed:", *wrong]) if wrong else told)


def scanner(folder: Path) -> Finding:
    """No finding of high severity in what is installed."""
    file = folder / "bandit.json"
    run("bandit", "--quiet", "--exit-zero", "--recursive", *ROOMS, "--format", "json", "--output", str(file))
    results: list[dict[str, Any]] = json.loads(file.read_text())["results"]
    high = [result for result in results if result["issue_severity"] == "HIGH"]
    lines = [f"{result['filename']}:{result['line_number']} {result['issue_text']}" for result in high]
    said = f"{len(high)} high, {len(results)} findings in all: {file}"
    return Finding("bandit", int(bool(high)), "\n  ".join([said, *lines]))


def advisories(folder: Path) -> Finding:
    """No known vulnerability in a pinned package, as far as an advisory service can be asked."""
    known: list[str] = []
    silent: list[Path] = []
    asked: set[str] = set()
    skipped: set[str] = set()
    for pinned in sorted((PROJECT / "requirements").glob("*.txt")):
        file = folder / f"advisories-{pinned.stem}.json"
        file.unlink(missing_ok=True)
        words = ("--require-hashes", "--disable-pip", "--progress-spinner=off", "--timeout=10", "--format=json")
        answer = run("pip-audit", *words, "-r", str(pinned), "-o", str(file), check=False, seconds=_ADVISORY_SECONDS)
        if not file.is_file():
            silent.append(pinned)
            if answer is None or any(sign in answer.stderr for sign in _NO_ANSWER):
                break  # nor would the others be answered
            raise PrerequisiteError(f"pip-audit failed on {pinned}:\n{answer.stderr.strip()[-2000:]}")
        for package in json.loads(file.read_text())["dependencies"]:
            # pip-audit leaves with 0 where it could ask about nothing at all
            (skipped if "skip_reason" in package else asked).add(package["name"])
            faults = package.get("vulns", ())
            known += [
                f"{package['name']} {package['version']}: {fault['id']}, mended in {fault['fix_versions'] or '-'}"
                for fault in faults
            ]
    if known:
        return Finding("advisories", 1, "\n  ".join(["known vulnerabilities:", *sorted(set(known))]))
    if silent:
        return Finding("advisories", UNREACHABLE, "NOT CHECKED: no advisory service could be reached from here")
    if skipped:
        said = f"NOT CHECKED: the advisory service knew nothing of {len(skipped)} of {len(skipped | asked)} packages"
        return Finding("advisories", UNREACHABLE, said)
    return Finding("advisories", 0, f"none is known against {len(asked)} pinned packages")


def run(
    tool: str, *words: str, check: bool = True, seconds: float = _TOOL_SECONDS
) -> subprocess.CompletedProcess[str] | None:
    """Run a tool from its own environment; None when it took too long and `check` is off.

    Raises PrerequisiteError when it is not there, or fails and `check` is on.
    """
    try:
        answer = subprocess.run(
            [TOOLS / tool, *words], cwd=PROJECT, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        raise PrerequisiteError(f"{tool} is not in {TOOLS}; install it with `make audit`") from None
    except subprocess.TimeoutExpired:
        if check:
            raise PrerequisiteError(f"{tool} was not done after {seconds:g} s; run it again") from None
        return None
    if check and answer.returncode:
        raise PrerequisiteError(f"{tool} failed:\n{(answer.stderr or answer.stdout).strip()[-2000:]}")
    return answer


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SightlineError as error:
        sys.exit(f"error: {error}")
