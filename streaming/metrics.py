"""The metrics of `score`, `incidents` and `history`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from sightline.contracts import Alert, Inspection
from sightline.metrics import WORK_BUCKETS, Bounded, Definition, MetricsSettings
from streaming.tally import Tally

QUERY_RUNNING = Definition("sightline_query_running", "gauge", "1 while the Spark query runs", ("query",))
QUERY_STARTS = Definition(
    "sightline_query_starts_total", "counter", "Starts of the query; each after the first follows a failure", ("query",)
)
QUERY_LAG = Definition(
    "sightline_query_lag_records",
    "gauge",
    "Records of its topic that the query had not read at its last progress",
    ("query",),
)
QUERY_PROGRESS = Definition(
    "sightline_query_progress_timestamp_seconds",
    "gauge",
    "When the query last told of its progress, Unix time",
    ("query",),
)
QUERY_STAGE = Definition(
    "sightline_query_batch_seconds",
    "histogram",
    "What the stages of a micro-batch took in Spark; of one micro-batch every five seconds",
    ("query", "stage"),
    WORK_BUCKETS,
)
QUERY_LOST = Definition(
    "sightline_query_lost_records_total",
    "counter",
    "Records that retention removed before the query had read them",
    ("query",),
)
QUERIES = (QUERY_RUNNING, QUERY_STARTS, QUERY_LAG, QUERY_PROGRESS, QUERY_STAGE, QUERY_LOST)

FRAMES_IN = Definition("sightline_frames_read_total", "counter", "Frames that workers took from the topic")
SHED = Definition("sightline_frames_shed_total", "counter", "Frames that were left out under overload")
SCORED = Definition("sightline_frames_scored_total", "counter", "Frames that got a verdict", ("camera", "verdict"))
DEAD = Definition("sightline_frames_dead_lettered_total", "counter", "Frames that could not be judged", ("reason",))
ARCHIVED = Definition("sightline_frames_archived_total", "counter", "Frames that were kept as pictures")
SHADOWED = Definition("sightline_frames_shadowed_total", "counter", "Frames that challengers looked at too")
WORK = Definition(
    "sightline_score_work_seconds",
    "histogram",
    "What a worker took for one batch of frames: open (read, decode), detect, answer",
    ("stage",),
    WORK_BUCKETS,
)
DETECTOR = Definition(
    "sightline_detector_info", "gauge", "1, with the detector in force", ("product", "alias", "version", "digest")
)
REFUSED = Definition(
    "sightline_detectors_refused_total", "counter", "Versions with an alias that did not pass their trial", ("alias",)
)
SCORE = (FRAMES_IN, SCORED, DEAD, SHED, ARCHIVED, SHADOWED, WORK, DETECTOR, REFUSED)

LATENCY = Definition(
    "sightline_verdict_latency_seconds", "histogram", "From capture to the verdict on its topic", ("camera",)
)
STAGE = Definition(
    "sightline_frame_stage_seconds",
    "histogram",
    "A frame's way by stage: arrive (capture to broker), wait (broker to decoded), detect, publish (scored to broker)",
    ("stage",),
)
FOLDED = Definition(
    "sightline_inspections_folded_total", "counter", "Inspections that were folded into incidents", ("verdict",)
)
ALERTS = Definition("sightline_alerts_total", "counter", "Changes of incidents that were told", ("state", "severity"))
OPEN = Definition("sightline_incidents_open", "gauge", "Incidents that are open", ("severity",))
COMMIT = Definition(
    "sightline_incident_commit_seconds", "histogram", "Transactions of alerts, states and offsets", (), WORK_BUCKETS
)
FOLD_LAG = Definition("sightline_incident_lag_records", "gauge", "Inspections that are not folded yet", ("partition",))
SESSIONS = Definition(
    "sightline_incident_sessions_total", "counter", "Sessions with the broker; each after the first follows a fault"
)
INCIDENTS = (LATENCY, STAGE, FOLDED, ALERTS, OPEN, COMMIT, FOLD_LAG, SESSIONS)

ROWS = Definition("sightline_table_rows_total", "counter", "Records that were merged into a table", ("table",))
MALFORMED = Definition(
    "sightline_table_malformed_total", "counter", "Records that are not in their contract", ("table",)
)
TABLE_COMMIT = Definition(
    "sightline_table_commit_seconds",
    "histogram",
    "What writing one batch into a table took",
    ("table",),
    (0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300),
)
TABLE_WRITTEN = Definition(
    "sightline_table_commit_timestamp_seconds", "gauge", "When a batch was last written, Unix time", ("table",)
)
HISTORY = (ROWS, MALFORMED, TABLE_COMMIT, TABLE_WRITTEN)

DEFINITIONS = (*QUERIES, *SCORE, *INCIDENTS, *HISTORY)


class ScoreMetrics(Collector):
    """What the workers' tallies add up to, and which detectors are in force, read when Prometheus asks."""

    def __init__(
        self,
        registry: CollectorRegistry,
        tally: Callable[[], Tally],
        detectors: Callable[[], Iterable[tuple[str, str, str, str]]],
        refused: Callable[[], Mapping[str, int]],
    ) -> None:
        """`detectors` gives product, alias, version and digest of each; `refused` how many by alias since the start."""
        self._tally, self._detectors, self._refused = tally, detectors, refused
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        tally = self._tally()
        frames, scored, dead, shed = FRAMES_IN.counts(), SCORED.counts(), DEAD.counts(), SHED.counts()
        frames.add_metric([], tally.frames)
        shed.add_metric([], tally.frames - tally.scored.total() - tally.dead.total())
        for labels, count in tally.scored.items():
            scored.add_metric(labels, count)
        for reason, count in tally.dead.items():
            dead.add_metric([reason], count)
        archived, shadowed, work = ARCHIVED.counts(), SHADOWED.counts(), WORK.buckets_of()
        archived.add_metric([], tally.archived)
        shadowed.add_metric([], tally.shadowed)
        for stage, durations in tally.stages.items():
            work.add_metric([stage], list(durations.cumulative()), durations.total)
        detector, refused = DETECTOR.values(), REFUSED.counts()
        for facts in self._detectors():
            detector.add_metric(facts, 1)
        for alias, count in self._refused().items():
            refused.add_metric([alias], count)
        yield from (frames, scored, dead, shed, archived, shadowed, work, detector, refused)


class QueryMetrics:
    """How Spark's queries get on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._running = QUERY_RUNNING.gauge(registry)
        self._starts = QUERY_STARTS.counter(registry)
        self._lag = QUERY_LAG.gauge(registry)
        self._progress = QUERY_PROGRESS.gauge(registry)
        self._stage = QUERY_STAGE.histogram(registry)
        self._lost = QUERY_LOST.counter(registry)

    def started(self, query: str) -> None:
        """The query was started, or started again."""
        self._starts.labels(query).inc()
        self._running.labels(query).set(1)

    def running(self, query: str, active: bool) -> None:
        """Whether it runs now."""
        self._running.labels(query).set(active)

    def lost(self, query: str, records: int) -> None:
        """Records that it did not find any more."""
        self._lost.labels(query).inc(records)

    def progress(self, query: str, at: datetime, lag: int, milliseconds: Mapping[str, int]) -> None:
        """What the query told of a micro-batch."""
        self._progress.labels(query).set(at.timestamp())
        self._lag.labels(query).set(lag)
        for stage, duration in milliseconds.items():
            self._stage.labels(query, stage).observe(duration / 1000)


class IncidentMetrics:
    """What the incident process sees of every frame, and what it tells."""

    def __init__(self, registry: CollectorRegistry, settings: MetricsSettings) -> None:
        self._latency = LATENCY.histogram(registry)
        stages = STAGE.histogram(registry)
        self._stages = [stages.labels(stage) for stage in ("arrive", "wait", "detect", "publish")]
        self._folded = FOLDED.counter(registry)
        self._alerts = ALERTS.counter(registry)
        self._open = OPEN.gauge(registry)
        self._commit = COMMIT.histogram(registry)
        self._lag = FOLD_LAG.gauge(registry)
        self._sessions = SESSIONS.counter(registry)
        self._camera = Bounded(settings.cameras)

    def session(self) -> None:
        """A session with the broker begins."""
        self._sessions.inc()
        self._lag.clear()

    def inspection(self, inspection: Inspection, published_at: datetime) -> None:
        """A verdict was read; `published_at` is the broker's stamp."""
        self._folded.labels(inspection.verdict.value).inc()
        taken, times = inspection.captured_at, inspection.timings
        self._latency.labels(self._camera(inspection.camera)).observe((published_at - taken).total_seconds())
        for stage, reached in zip(
            self._stages, (times.ingested_at, times.decoded_at, times.scored_at, published_at), strict=True
        ):
            # clocks of several hosts: what seems to end before it begins took no time that could be told
            stage.observe(max(0.0, (reached - taken).total_seconds()))
            taken = reached

    def committed(self, seconds: float, alerts: Iterable[Alert], severities: Iterable[str]) -> None:
        """A transaction is through; `severities` are those of all incidents that are open now."""
        self._commit.observe(seconds)
        for alert in alerts:
            self._alerts.labels(alert.state.value, alert.severity.value).inc()
        still_open = Counter(severities)
        for severity in ("warning", "critical"):
            self._open.labels(severity).set(still_open[severity])

    def lag(self, partition: int, records: int) -> None:
        """Inspections of a partition that wait."""
        self._lag.labels(str(partition)).set(records)

    def left(self, partition: int) -> None:
        """Another member has the partition now."""
        self._lag.remove_by_labels({"partition": str(partition)})


def unseen() -> IncidentMetrics:
    """Metrics that nobody reads, for whoever runs a session without serving any."""
    return IncidentMetrics(CollectorRegistry(), MetricsSettings())


class HistoryMetrics:
    """What is written into the tables."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = ROWS.counter(registry)
        self._malformed = MALFORMED.counter(registry)
        self._commit = TABLE_COMMIT.histogram(registry)
        self._written = TABLE_WRITTEN.gauge(registry)

    def batch(self, table: str, rows: int, malformed: int, seconds: float) -> None:
        """A batch that was not empty is written."""
        self._rows.labels(table).inc(rows)
        self._malformed.labels(table).inc(malformed)
        self._commit.labels(table).observe(seconds)
        self._written.labels(table).set_to_current_time()
