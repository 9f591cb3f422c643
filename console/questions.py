"""Questions that engineers ask of the history, as DuckDB table macros: views with parameters.

`FROM worst_cameras(since := '2026-03-02', only_line := 'line-1')` in SQL, or `sightline query --view worst_cameras
--with since=2026-03-02`. Every parameter may be left out. `since` and `until` (excluded) are UTC dates or times: they
name the days as well, so files of other days stay unread. docs/questions.md says what each column means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sightline.errors import QueryError

RANGE = ("since", "until")
PLACE = (*RANGE, "only_line", "only_camera")


@dataclass(frozen=True, slots=True)
class Question:
    """A query over the tables in `needs`, which exists where all of them do; `sql` has `parameters` by name."""

    name: str
    comment: str
    needs: frozenset[str]
    parameters: tuple[str, ...]
    sql: str

    @property
    def macro(self) -> str:
        """The statement that makes it known to a connection."""
        parameters = ", ".join(f"{name} := NULL" for name in self.parameters)
        return f'CREATE TEMP MACRO "{self.name}"({parameters}) AS TABLE {self.sql}'

    def call(self, values: Mapping[str, str]) -> str:
        """`FROM name(parameter := 'value', …)`; raises QueryError for a parameter that it does not have."""
        for name in values:
            if name not in self.parameters:
                raise QueryError(f"{self.name} has no parameter {name!r}; it has {', '.join(self.parameters)}")
        return f"FROM {self.name}({', '.join(f'{name} := {_literal(value)}' for name, value in values.items())})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _between(column: str) -> str:
    """`since` and `until` on `column`, and on the partition, so that files of other days are not opened."""
    since, until = "coalesce(since::TIMESTAMPTZ, '-infinity')", "coalesce(until::TIMESTAMPTZ, 'infinity')"
    return (
        f"{column} >= {since} AND {column} < {until} "
        "AND day >= coalesce(since::TIMESTAMPTZ::DATE, DATE '0001-01-01') "
        "AND day <= coalesce((until::TIMESTAMPTZ - INTERVAL 1 MICROSECOND)::DATE, DATE '9999-12-31')"
    )


_HERE = "(only_line IS NULL OR line = only_line) AND (only_camera IS NULL OR camera = only_camera)"
_INSPECTED = f"{_between('captured_at')} AND {_HERE}"
_HOUR = "epoch_us(captured_at) // 3_600_000_000"
"""Hours since 1970. date_trunc asks the calendar of the time zone row by row, at ten times the cost."""
_ANSWERS = """
    SELECT alert_id, min("at") FILTER (kind = 'acknowledge') AS acknowledged_at,
           min("at") FILTER (kind IN ('confirm', 'false-alarm')) AS settled_at, min("at") AS answered_at,
           arg_max(kind, "at") FILTER (kind IN ('confirm', 'false-alarm')) AS answer,
           arg_max(defect_type, "at") FILTER (kind = 'confirm') AS defect_type
    FROM operator_actions
    WHERE day >= coalesce(since::TIMESTAMPTZ::DATE, DATE '0001-01-01')
    GROUP BY alert_id
"""
"""One row per alert; the last answer counts. Nobody answers an alert before it opened."""


def _question(name: str, comment: str, needs: str, parameters: tuple[str, ...], sql: str) -> Question:
    return Question(name=name, comment=comment, needs=frozenset(needs.split()), parameters=parameters, sql=sql)


QUESTIONS: tuple[Question, ...] = (
    _question(
        "defect_rate",
        "How many parts were defective, by hour and line?",
        "inspections",
        PLACE,
        f"""
        WITH hours AS (
            SELECT {_HOUR} AS hours, line, count(*) AS inspected, count(*) FILTER (verdict = 'review') AS review,
                   count(*) FILTER (verdict = 'defect') AS defects
            FROM inspections WHERE {_INSPECTED} GROUP BY ALL
        )
        SELECT to_timestamp(hours * 3600) AS hour, line, inspected, review, defects,
               round(100.0 * defects / inspected, 3) AS percent
        FROM hours ORDER BY hour, line
        """,
    ),
    _question(
        "defect_types",
        "Which types of defect, as operators confirmed them, make up most incidents?",
        "alerts operator_actions",
        PLACE,
        f"""
        WITH answers AS ({_ANSWERS}), types AS (
            SELECT coalesce(defect_type, '(none given)') AS defect_type, count(*) AS incidents,
                   sum(count)::BIGINT AS frames, count(DISTINCT camera) AS cameras
            FROM alerts JOIN answers USING (alert_id)
            WHERE answer = 'confirm' AND {_between("opened_at")} AND {_HERE}
            GROUP BY ALL
        )
        SELECT *, round(100.0 * incidents / sum(incidents) OVER (), 1) AS percent,
               round(100.0 * sum(incidents) OVER ranked / sum(incidents) OVER (), 1) AS cumulative_percent
        FROM types WINDOW ranked AS (ORDER BY incidents DESC, defect_type ROWS UNBOUNDED PRECEDING)
        ORDER BY incidents DESC, defect_type
        """,
    ),
    _question(
        "worst_cameras",
        "Which cameras see the largest share of defects?",
        "inspections alerts",
        PLACE,
        f"""
        WITH judged AS (
            SELECT line, camera, count(*) AS inspected, count(*) FILTER (verdict = 'defect') AS defects,
                   max(score / threshold) AS worst
            FROM inspections WHERE {_INSPECTED} GROUP BY ALL
        ), told AS (
            SELECT camera, count(*) AS incidents, count(*) FILTER (severity = 'critical') AS critical
            FROM alerts WHERE {_between("opened_at")} AND {_HERE} GROUP BY ALL
        )
        SELECT line, camera, inspected, defects, round(100.0 * defects / inspected, 3) AS percent,
               coalesce(incidents, 0) AS incidents, coalesce(critical, 0) AS critical,
               round(worst, 2) AS worst_score_over_threshold
        FROM judged LEFT JOIN told USING (camera)
        ORDER BY percent DESC, camera
        """,
    ),
    _question(
        "throughput",
        "How many frames does each camera deliver, and how late are their verdicts?",
        "inspections",
        PLACE,
        f"""
        WITH seen AS (
            SELECT line, camera, {_HOUR} AS hour, captured_at, timings.published_at AS published_at
            FROM inspections WHERE {_INSPECTED}
        ), active AS (
            SELECT camera, count(*) AS hours FROM (SELECT DISTINCT camera, hour FROM seen) GROUP BY camera
        ), histogram AS (
            SELECT line, camera, (epoch_us(published_at) - epoch_us(captured_at)) // 1000 AS ms, count(*) AS frames
            FROM seen GROUP BY ALL
        ), summed AS (
            SELECT *, sum(frames) OVER (PARTITION BY line, camera ORDER BY ms) / sum(frames) OVER (
                       PARTITION BY line, camera) AS share
            FROM histogram WHERE ms IS NOT NULL
        )
        SELECT line, camera, sum(frames)::BIGINT AS frames, round(sum(frames) / any_value(hours), 1) AS frames_per_hour,
               min(ms) FILTER (share >= 0.5) AS p50_ms, min(ms) FILTER (share >= 0.9) AS p90_ms,
               min(ms) FILTER (share >= 0.99) AS p99_ms, max(ms) AS worst_ms
        FROM summed JOIN active USING (camera)
        GROUP BY line, camera ORDER BY p99_ms DESC, camera
        """,
    ),
    _question(
        "false_alarms",
        "How often was an alert a false alarm, by camera, product and severity?",
        "alerts operator_actions",
        PLACE,
        f"""
        WITH answers AS ({_ANSWERS})
        SELECT line, camera, product, severity, count(*) AS incidents,
               count(answer) AS answered, count(*) FILTER (answer = 'confirm') AS confirmed,
               count(*) FILTER (answer = 'false-alarm') AS false_alarms,
               round(100.0 * count(*) FILTER (answer = 'false-alarm') / nullif(count(answer), 0), 1) AS false_percent
        FROM alerts LEFT JOIN answers USING (alert_id)
        WHERE {_between("opened_at")} AND {_HERE}
        GROUP BY ALL ORDER BY false_percent DESC NULLS LAST, camera, product, severity
        """,
    ),
    _question(
        "score_drift",
        "Do scores, sharpness or brightness move away from what they were on a camera's first day?",
        "inspections",
        PLACE,
        f"""
        WITH daily AS (
            SELECT day, camera, product, count(*) AS frames, avg(score) AS score, stddev_samp(score) AS spread,
                   avg(quality.blur) AS blur, avg(quality.exposure) AS exposure
            FROM inspections WHERE {_INSPECTED} AND verdict = 'ok'
            GROUP BY ALL
        )
        SELECT day, camera, product, frames, round(score, 4) AS score, round(spread, 4) AS spread,
               round((score - first(score) OVER history) / nullif(first(spread) OVER history, 0), 2) AS moved,
               round(blur, 1) AS blur, round(exposure, 1) AS exposure
        FROM daily WINDOW history AS (PARTITION BY camera, product ORDER BY day)
        ORDER BY day, camera, product
        """,
    ),
    _question(
        "trace",
        "What became of one part: frame, verdict, alert, what operators did?",
        "inspections alerts operator_actions camera_events dead_letters frame_archive",
        ("only_camera", "only_sequence", *RANGE),
        f"""
        WITH frame AS (
            SELECT captured_at, day, timings.scored_at AS scored_at, timings.published_at AS published_at, score,
                   threshold, verdict, detector.name || ' v' || detector.version AS detector, inspection_id
            FROM inspections
            WHERE camera = only_camera AND sequence = only_sequence::BIGINT AND {_between("captured_at")}
        ), incident AS (
            SELECT alert_id, opened_at, updated_at, severity, state, count, defect_frames
            FROM (
                SELECT *, last_sequence - first_sequence + 1 AS defect_frames FROM alerts
                WHERE camera = only_camera AND only_sequence::BIGINT BETWEEN first_sequence AND last_sequence
                  AND {_between("opened_at")}
            )
        )
        SELECT captured_at AS "at", 'captured' AS what, inspection_id AS id, NULL AS detail, NULL AS who FROM frame
        UNION ALL
        SELECT coalesce(published_at, scored_at), 'inspected: ' || verdict, inspection_id,
               'score ' || round(score, 3) || ', threshold ' || round(threshold, 3), detector FROM frame
        UNION ALL
        SELECT captured_at, 'picture kept', inspection_id, octet_length(jpeg) || ' bytes', NULL FROM frame_archive
        WHERE camera = only_camera AND sequence = only_sequence::BIGINT AND {_between("captured_at")}
        UNION ALL
        SELECT opened_at, 'alert: ' || severity, alert_id, count || ' defects in ' || defect_frames || ' frames, '
               || state, NULL FROM incident
        UNION ALL
        SELECT "at", kind, alert_id, concat_ws(', ', defect_type, comment), actor
        FROM operator_actions WHERE alert_id IN (SELECT alert_id FROM incident)
        UNION ALL
        SELECT "at", kind, event_id, reason, NULL FROM camera_events
        WHERE camera = only_camera AND kind IN ('dropped', 'in-doubt', 'shed') AND {_between('"at"')}
          AND only_sequence::BIGINT BETWEEN first_sequence AND last_sequence
        UNION ALL
        SELECT ingested_at, 'dead letter: ' || reason, dead_letter_id, message, stage FROM dead_letters
        WHERE camera = only_camera AND sequence = only_sequence::BIGINT AND {_between("ingested_at")}
        ORDER BY "at", what
        """,
    ),
    _question(
        "champions",
        "How do the scores of one detector version, over its threshold, differ from those of the next?",
        "inspections",
        (*PLACE, "only_product"),
        f"""
        WITH histogram AS (
            SELECT product, detector.name AS detector, detector.version AS version, verdict,
                   round(score / threshold, 3) AS ratio, count(*) AS frames,
                   min(captured_at) AS first_used, max(captured_at) AS last_used
            FROM inspections WHERE {_INSPECTED} AND (only_product IS NULL OR product = only_product)
            GROUP BY ALL
        ), summed AS (
            SELECT *, sum(frames) OVER (PARTITION BY product, detector, version ORDER BY ratio)
                       / sum(frames) OVER (PARTITION BY product, detector, version) AS share
            FROM histogram
        )
        SELECT product, detector, version, min(first_used) AS first_used, max(last_used) AS last_used,
               sum(frames)::BIGINT AS inspected, round(sum(ratio * frames) / sum(frames), 3) AS mean,
               min(ratio) FILTER (share >= 0.1) AS p10, min(ratio) FILTER (share >= 0.5) AS p50,
               min(ratio) FILTER (share >= 0.9) AS p90, min(ratio) FILTER (share >= 0.99) AS p99,
               round(100.0 * coalesce(sum(frames) FILTER (verdict = 'review'), 0) / sum(frames), 3) AS review_percent,
               round(100.0 * coalesce(sum(frames) FILTER (verdict = 'defect'), 0) / sum(frames), 3) AS defect_percent
        FROM summed
        GROUP BY product, detector, version ORDER BY product, first_used
        """,
    ),
    _question(
        "losses",
        "Which frames were dropped or refused, where and why?",
        "camera_events dead_letters",
        RANGE,
        f"""
        SELECT what, reason, camera, sum(frames)::BIGINT AS frames, count(*) AS times, min("at") AS first_time,
               max("at") AS last_time
        FROM (
            SELECT kind AS what, coalesce(reason, 'unknown') AS reason, camera,
                   last_sequence - first_sequence + 1 AS frames, "at"
            FROM camera_events WHERE kind IN ('dropped', 'in-doubt', 'shed') AND {_between('"at"')}
            UNION ALL
            SELECT 'dead letter', reason, coalesce(camera, '(unknown)'), 1, ingested_at
            FROM dead_letters WHERE {_between("ingested_at")}
        )
        GROUP BY what, reason, camera ORDER BY frames DESC, camera, reason
        """,
    ),
    _question(
        "response_times",
        "How long do incidents last, and how long do operators take?",
        "alerts operator_actions",
        PLACE,
        f"""
        WITH answers AS ({_ANSWERS}), timed AS (
            SELECT line, severity, state, answered_at, (epoch_us(updated_at) - epoch_us(opened_at)) / 1e6 AS lasted,
                   (epoch_us(answered_at) - epoch_us(opened_at)) / 1e6 AS answered,
                   (epoch_us(settled_at) - epoch_us(opened_at)) / 1e6 AS settled
            FROM alerts LEFT JOIN answers USING (alert_id) WHERE {_between("opened_at")} AND {_HERE}
        )
        SELECT line, severity, count(*) AS incidents, count(*) FILTER (state <> 'closed') AS open_now,
               count(*) FILTER (answered_at IS NULL) AS unanswered, round(median(lasted), 1) AS median_lasted_s,
               round(median(answered), 1) AS median_to_answer_s,
               round(quantile_cont(answered, 0.9), 1) AS p90_to_answer_s,
               round(median(settled), 1) AS median_to_settle_s
        FROM timed GROUP BY ALL ORDER BY line, severity
        """,
    ),
    _question(
        "inspection_list",
        "Which inspections fit: line, camera, verdict, time, score? Newest first, in pages",
        "inspections",
        (*PLACE, "only_verdict", "least_score", "most_score", "rows"),
        f"""
        SELECT captured_at, line, camera, sequence, product, verdict, score, threshold,
               detector.version AS version, len(regions) AS regions, inspection_id
        FROM inspections
        WHERE {_INSPECTED} AND (only_verdict IS NULL OR verdict = only_verdict)
          AND (least_score IS NULL OR score >= least_score::DOUBLE)
          AND (most_score IS NULL OR score <= most_score::DOUBLE)
        ORDER BY captured_at DESC, camera LIMIT coalesce(rows::BIGINT, 50)
        """,
    ),
)


def sql_of(name: str, given: Iterable[str] = ()) -> str:
    """The statement that asks a question with parameters such as `"since=2026-03-02"`, or that reads a view.

    Raises QueryError for a parameter without `=`, or one that is not the question's.
    """
    values = {}
    for one in given:
        parameter, equals, value = one.partition("=")
        if not equals:
            raise QueryError(f"{one!r} is no parameter; write NAME=VALUE, for example since=2026-03-02")
        values[parameter.strip()] = value
    found = next((question for question in QUESTIONS if question.name == name), None)
    if found is not None:
        return found.call(values)
    if values:
        raise QueryError(f"{name!r} is no question with parameters; `sightline tables` lists what there is")
    return 'FROM "' + name.replace('"', '""') + '"'
