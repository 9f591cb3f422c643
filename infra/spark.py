"""The one way to a Spark session: with Delta, Kafka, bounded batches and nothing that listens beyond loopback.

The same settings serve `local[2,4]` and a `spark://` master, local tables and an object store; what such a store needs
goes into `[spark] conf`: for `s3a://` paths, `"spark.jars.packages" = "org.apache.hadoop:hadoop-aws:3.5.0"` (the Hadoop
that this pyspark brings) and the store's own `spark.hadoop.fs.s3a.*` keys.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from infra.jars import locate
from infra.java import SHARED_CORES, find_java, java_program
from infra.shared_classes import options
from sightline.errors import SettingsError
from sightline.settings import Section, run_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PROJECT = Path(__file__).resolve().parent.parent
_LOGGING = Path(__file__).with_name("spark-log4j2.properties")
_MIB = 1024 * 1024
_SECRET = re.compile(r"(?i)secret|password|passphrase|token|credential|access[.]?key|jaas|ssl[.](key|trust)store")
"""Keys whose values are never shown, nor given to Java where other accounts see them; understood by Python and Java."""
_REDACTED_TEXT = r'(?s)password="([^"\\]|\\.)*"|-----BEGIN [A-Z ]*PRIVATE KEY.*?END [A-Z ]*PRIVATE KEY-----'


class SparkSettings(Section):
    """Where Spark runs and how much it may take."""

    section: ClassVar[str] = "spark"

    master: str = "local[2,4]"
    """`local[N,F]` runs everything in this process's JVM with N task slots, a task up to F times: without F a Python
    worker that dies ends its whole query. `spark://host:7077` uses a cluster."""
    driver_memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*[mg]$")] = "1g"
    driver_host: str = "127.0.0.1"
    """Where the driver listens for its executors; with a cluster, a name that the workers can reach."""
    ui: bool = False
    """Spark's own web pages, on the driver's host, port 4040."""
    shuffle_partitions: Annotated[int, Field(ge=1)] = 2
    """As many as task slots: more of them cost a Delta write more than they bring at this size."""
    arrow_batch_rows: Annotated[int, Field(ge=1)] = 256
    arrow_batch_mb: Annotated[int, Field(ge=1)] = 16
    """Bounds of what one Python worker holds at a time: whichever of rows and bytes comes first."""
    python: str = sys.executable
    """The interpreter of the Python workers; on a cluster, the path of it on the workers' machines."""
    tasks_per_gpu: Annotated[int, Field(ge=0, le=64)] = 0
    """With a cluster whose workers announce GPUs: how many tasks share one. 0 asks for none."""
    folder: Path = Field(default_factory=lambda: run_folder() / "spark")
    conf: dict[str, str] = Field(default_factory=dict)
    """Further Spark keys, which win over all that is set here; jars are added to ours."""

    @property
    def local(self) -> bool:
        """Whether driver and executors are one process."""
        return self.master.startswith("local")


SMALL_BATCHES = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
"""Spark keys of jobs whose batches are small and many: making code for each took longer than running it."""


def build_session(app: str, settings: SparkSettings | None = None) -> SparkSession:
    """A session named `app`, or the running one of this process.

    Raises PrerequisiteError when Java or the jars are missing.
    """
    settings = settings or SparkSettings.load()
    find_java()
    conf = session_conf(settings)
    # read at the start of the JVM, from nowhere else: the workers' interpreter, and the address of Spark's web pages
    os.environ["PYSPARK_PYTHON"] = settings.python
    os.environ["SPARK_LOCAL_IP"] = settings.driver_host

    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(settings.master).appName(app)
    if SparkContext._active_spark_context is None:
        named = {"spark.master": settings.master, "spark.app.name": app} | conf
        _launch({key: value for key, value in named.items() if not _SECRET.search(key)})
    return builder.config(map=conf).getOrCreate()


def _launch(conf: Mapping[str, str]) -> None:
    """Start the JVM with these keys on its command line, which every account of the machine may read."""
    from pyspark import SparkConf, SparkContext

    public = SparkConf(loadDefaults=False)
    public.setAll(list(conf.items()))
    # what a session does first, with all of its keys
    SparkContext._ensure_initialized(conf=public)


def session_conf(settings: SparkSettings) -> dict[str, str]:
    """All Spark keys of a session, `settings.conf` included; raises PrerequisiteError when the jars are missing."""
    folder = settings.folder.absolute()
    return {
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.host": settings.driver_host,
        "spark.driver.bindAddress": settings.driver_host,
        "spark.driver.extraJavaOptions": (
            f"-Dlog4j2.configurationFile={_LOGGING.as_uri()} -Duser.timezone=UTC "
            f"-Dderby.system.home={folder / 'derby'} {' '.join((*SHARED_CORES, *_shared_classes(settings)))}"
        ),
        "spark.executor.extraJavaOptions": f"-Duser.timezone=UTC {' '.join(SHARED_CORES)}",
        "spark.ui.enabled": str(settings.ui).lower(),
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(settings.arrow_batch_rows),
        "spark.sql.execution.arrow.maxBytesPerBatch": str(settings.arrow_batch_mb * _MIB),
        "spark.sql.debug.maxToStringFields": "200",
        # plans, logs and web pages tell the options of sources and sinks: not those that let someone in
        "spark.redaction.regex": _SECRET.pattern,
        "spark.sql.redaction.options.regex": _SECRET.pattern,
        "spark.sql.redaction.string.regex": _REDACTED_TEXT,
        # a worker keeps its detector from one micro-batch to the next
        "spark.python.worker.reuse": "true",
        # workers import the rooms wherever the job was started from
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH")])),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # the 50 of the default make every commit of a small table replay its log in 50 tasks
        "spark.databricks.delta.snapshotPartitions": "2",
        **_gpus(settings),
        **settings.conf,
        **_jars(settings),
    }


def _jars(settings: SparkSettings) -> dict[str, str]:
    """Where Spark finds our jars: sent to executors, or on the class path where there is one JVM alone."""
    key, separator = ("spark.driver.extraClassPath", os.pathsep) if settings.local else ("spark.jars", ",")
    own = [settings.conf[key]] if key in settings.conf else []
    return {key: separator.join([*map(str, locate("spark")), *own])}


def _shared_classes(settings: SparkSettings) -> tuple[str, ...]:
    return options("spark", java_program()) if settings.local else ()


def _gpus(settings: SparkSettings) -> dict[str, str]:
    """One GPU an executor, shared by its tasks; Spark tells each task which one (spark.apache.org, "Configuration").

    Raises SettingsError for `local[N]`, which knows no such resources and would wait for ever.
    """
    if not settings.tasks_per_gpu:
        return {}
    if settings.local:
        raise SettingsError(
            f"[spark] tasks_per_gpu is {settings.tasks_per_gpu} and master is {settings.master!r}: GPUs are shared out "
            "by a cluster (spark://…); with local[N] leave it at 0, all N tasks use the first GPU"
        )
    return {
        "spark.executor.resource.gpu.amount": "1",
        "spark.executor.cores": str(settings.tasks_per_gpu),
        # rounded down: Spark counts how often the share fits into 1
        "spark.task.resource.gpu.amount": f"{math.floor(1e6 / settings.tasks_per_gpu) / 1e6:g}",
    }
