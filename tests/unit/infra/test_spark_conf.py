"""The keys of a Spark session, without starting one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from infra.spark import SparkSettings, session_conf
from sightline.errors import SettingsError


def test_everything_that_spark_writes_lies_in_its_folder(tmp_path: Path) -> None:
    conf = session_conf(SparkSettings.load(folder=tmp_path))
    for key in ("spark.local.dir", "spark.sql.warehouse.dir"):
        assert Path(conf[key]).is_relative_to(tmp_path)


def test_nothing_listens_beyond_loopback_and_no_web_page_is_served() -> None:
    conf = session_conf(SparkSettings.load())
    assert conf["spark.driver.host"] == conf["spark.driver.bindAddress"] == "127.0.0.1"
    assert conf["spark.ui.enabled"] == "false"


def test_the_owners_keys_win() -> None:
    settings = SparkSettings.load(
        master="spark://cluster:7077",
        driver_host="driver.example.com",
        conf={"spark.hadoop.fs.s3a.endpoint": "store:9000", "spark.sql.shuffle.partitions": "64"},
    )
    conf = session_conf(settings)
    assert conf["spark.hadoop.fs.s3a.endpoint"] == "store:9000"
    assert conf["spark.sql.shuffle.partitions"] == "64"
    assert conf["spark.driver.bindAddress"] == "driver.example.com"


@pytest.mark.parametrize(
    ("master", "key", "own"),
    [
        ("local[2]", "spark.driver.extraClassPath", "/opt/own.jar:/opt/more.jar"),
        ("spark://cluster:7077", "spark.jars", "/opt/own.jar,/opt/more.jar"),
    ],
)
def test_the_owners_jars_come_beside_ours(master: str, key: str, own: str) -> None:
    ours = session_conf(SparkSettings(master=master))[key]
    assert "delta" in ours
    both = session_conf(SparkSettings(master=master, conf={key: own}))[key]
    assert both == f"{ours}{own[len('/opt/own.jar')]}{own}"


def test_keys_come_from_the_configuration_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[spark]\nmaster = "local[8]"\n[spark.conf]\n"spark.hadoop.fs.s3a.path.style.access" = "true"\n')
    monkeypatch.setenv("SIGHTLINE_CONFIG", str(file))
    settings = SparkSettings.load()
    assert settings.master == "local[8]"
    assert session_conf(settings)["spark.hadoop.fs.s3a.path.style.access"] == "true"


def test_workers_run_this_python_and_find_the_rooms() -> None:
    settings = SparkSettings.load()
    assert settings.python == sys.executable
    path = session_conf(settings)["spark.executorEnv.PYTHONPATH"].split(":")[0]
    assert (Path(path) / "sightline" / "contracts.py").is_file()


def test_tasks_share_a_gpu_and_never_ask_for_more_than_one() -> None:
    conf = session_conf(SparkSettings(master="spark://host:7077", tasks_per_gpu=3))
    assert conf["spark.executor.resource.gpu.amount"] == "1"
    assert conf["spark.executor.cores"] == "3"
    assert 0 < 3 * float(conf["spark.task.resource.gpu.amount"]) <= 1
    assert not any("gpu" in key for key in session_conf(SparkSettings()))


def test_local_mode_refuses_to_wait_for_a_gpu_that_it_cannot_share_out() -> None:
    with pytest.raises(SettingsError, match=r"tasks_per_gpu is 2 and master is 'local\[2,4\]'"):
        session_conf(SparkSettings(tasks_per_gpu=2))


def test_a_wrong_amount_of_memory_names_its_key() -> None:
    with pytest.raises(SettingsError, match=r"\[spark\] driver_memory = 'much'"):
        SparkSettings.load(driver_memory="much")
