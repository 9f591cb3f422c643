"""The compose file names only what exists: images, modules, their options, settings; and nothing beyond loopback."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from console.api.settings import ApiSettings
from infra.spark import SparkSettings
from sightline.metrics import MetricsSettings
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings, RegistrySettings

PROJECT = Path(__file__).resolve().parents[3]
COMPOSE = PROJECT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
BUILT = sorted(name for name, service in SERVICES.items() if "build" in service)
MODULES = sorted(name for name in BUILT if "entrypoint" not in SERVICES[name])


def _stages(dockerfile: Path) -> set[str]:
    return set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile.read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", BUILT)
def test_its_image_can_be_built_from_files_that_exist(name: str) -> None:
    build = SERVICES[name]["build"]
    dockerfile = PROJECT / build["context"] / build["dockerfile"]
    assert build["target"] in _stages(dockerfile)
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile.read_text(), re.MULTILINE)
    for source in " ".join(copied).split():
        if source != "README.md":
            assert (PROJECT / source).exists(), source


def test_images_get_no_package_without_its_hash() -> None:
    dockerfile = (PROJECT / "infra" / "images" / "Dockerfile").read_text().replace("\\\n", " ")
    steps = re.findall(r"\bpip (?:install|wheel) [^&\n]+", dockerfile)
    assert len(steps) > 1
    for step in steps:
        assert "--require-hashes" in step or {"--no-index", "--no-build-isolation"} & set(step.split()), step


def test_what_builds_the_wheel_is_pinned() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]
    pinned = (PROJECT / "requirements" / "build.txt").read_text()
    for wanted in project["build-system"]["requires"]:
        assert f"\n{re.split('[<>=]', wanted)[0]}==" in pinned


@pytest.mark.parametrize("name", MODULES)
def test_its_command_is_a_module_that_can_be_run(name: str) -> None:
    module = SERVICES[name]["command"][0]
    spec = find_spec(module)
    assert spec is not None
    if spec.submodule_search_locations:
        assert find_spec(f"{module}.__main__")


@pytest.mark.parametrize("name", [name for name in MODULES if name != "mlflow" and len(SERVICES[name]["command"]) > 1])
def test_its_options_are_ones_that_the_command_knows(name: str) -> None:
    room, command, *words = SERVICES[name]["command"]
    application = typer.main.get_command(import_module(f"{room}.commands").app)
    known = getattr(application, "commands", {command: application})
    known[command].make_context(command, words).close()


@pytest.mark.parametrize("name", BUILT)
def test_its_settings_are_keys_that_sightline_reads(name: str) -> None:
    sections = (ApiSettings, KafkaSettings, MetricsSettings, RegistrySettings, SparkSettings)
    known = {f"SIGHTLINE_{section.section}_{key}".upper() for section in sections for key in section.model_fields}
    given = {key for key in SERVICES[name].get("environment", {}) if key.startswith("SIGHTLINE_")}
    assert given <= known


def test_only_loopback_is_published() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_nothing_that_is_ours_runs_as_root() -> None:
    dockerfile = (PROJECT / "infra" / "images" / "Dockerfile").read_text()
    for target in {SERVICES[name]["build"]["target"] for name in BUILT}:
        stage = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)
        final = next(text for text in stage if re.match(rf"\S+ AS {target}\n", text))
        assert "\nUSER sightline\n" in final


def test_the_broker_takes_whole_frames() -> None:
    assert SERVICES["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"] == str(MAX_MESSAGE_BYTES)


def test_every_process_of_the_stream_has_a_service() -> None:
    commands = {SERVICES[name]["command"][0] for name in MODULES}
    assert {"producers", "streaming.score", "streaming.incidents", "streaming.history", "mlflow"} <= commands


def test_compose_itself_finds_the_file_valid() -> None:
    command = _compose()
    answer = subprocess.run(
        [*command, "--profile", "train", "--file", COMPOSE, "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


def _compose() -> list[str]:
    """The compose command of this machine; skips where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            answer = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
            if answer.returncode == 0 and not answer.stdout.startswith("1."):
                return command
    pytest.skip("neither `docker compose` nor `docker-compose` 2 or later is on the PATH")
