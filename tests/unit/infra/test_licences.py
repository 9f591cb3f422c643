"""Which licences pass, and how jars are listed."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from infra.licences import allowed, refused
from infra.sbom import with_jars


@pytest.mark.parametrize(
    ("licence", "passes"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MIT License; GNU Affero General Public License v3", False),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_every_part_of_a_licence_counts(licence: str, passes: bool) -> None:
    assert allowed(licence) is passes


def test_a_package_is_let_in_by_its_own_name_alone() -> None:
    def package(name: str, licence: str) -> dict[str, str]:
        return {"Name": name, "Version": "1", "License": licence}

    good = [package("huey", "UNKNOWN"), package("nvidia-cublas", "LicenseRef-NVIDIA-Proprietary")]
    bad = [package("other", "NVIDIA Proprietary Software"), package("nvidia-x", "GPL-3.0-only")]
    assert refused(good + bad) == ["other 1: NVIDIA Proprietary Software", "nvidia-x 1: GPL-3.0-only"]


def test_a_jar_is_listed_once_with_its_digest_and_its_group(tmp_path: Path) -> None:
    jar = tmp_path / "kafka-clients-4.3.1.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/maven/org.apache.kafka/kafka-clients/pom.properties", "")
    bill = with_jars({"bomFormat": "CycloneDX", "components": [{"name": "x"}]}, [jar, jar])
    assert bill["bomFormat"] == "CycloneDX"
    (_, found) = bill["components"]
    assert found["purl"] == "pkg:maven/org.apache.kafka/kafka-clients@4.3.1"
    assert found["hashes"][0]["content"] == hashlib.sha256(jar.read_bytes()).hexdigest()
