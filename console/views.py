"""Ready-made questions about the history, as views that every `sightline query` finds.

Each keeps `day` where it has one, so that a filter on it reads the files of those days only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """A named query over the tables in `needs`; it exists where all of them do."""

    name: str
    comment: str
    needs: frozenset[str]
    sql: str


def _view(name: str, comment: str, needs: str, sql: str) -> View:
    return View(name=name, comment=comment, needs=frozenset(needs.split()), sql=sql)


VIEWS: tuple[View, ...] = (
    _view(
        "defect_rate_by_hour",
        "Frames and share of defects, by hour, camera and product",
        "inspections",
        """
        SELECT date_trunc('hour', captured_at) AS hour, camera, product, count(*) AS inspected,
               count(*) FILTER (verdict = 'review') AS review,
               count(*) FILTER (verdict = 'defect') AS defects,
               round(100.0 * count(*) FILTER (verdict = 'defect') / count(*), 2) AS percent, line, day
        FROM inspections
        GROUP BY ALL
        ORDER BY hour, line, camera, product
        """,
    ),
    _view(
        "camera_health",
        "One row per camera: when it was last heard of, what became of its frames, how sharp and bright they are",
        "inspections camera_events dead_letters",
        """
        WITH judged AS (
            SELECT camera, count(*) AS inspected, max(captured_at) AS last_frame_at,
                   round(avg(quality.blur), 1) AS blur, round(avg(quality.exposure), 1) AS exposure
            FROM inspections GROUP BY camera
        ), told AS (
            SELECT camera, max("at") AS last_event_at, arg_max(kind, "at") AS last_event,
                   coalesce(sum(last_sequence - first_sequence + 1) FILTER (kind = 'dropped'), 0)::BIGINT AS dropped,
                   count(*) FILTER (kind = 'disconnected') AS disconnects
            FROM camera_events GROUP BY camera
        ), refused AS (
            SELECT camera, count(*) AS dead_letters FROM dead_letters WHERE camera IS NOT NULL GROUP BY camera
        )
        SELECT camera, last_event, last_event_at, last_frame_at, coalesce(inspected, 0) AS inspected,
               coalesce(dead_letters, 0) AS dead_letters, coalesce(dropped, 0) AS dropped,
               coalesce(disconnects, 0) AS disconnects, blur, exposure
        FROM judged FULL JOIN told USING (camera) FULL JOIN refused USING (camera)
        ORDER BY camera
        """,
    ),
    _view(
        "latency",
        "One row per inspection: what each stage of its way took, in milliseconds",
        "inspections",
        """
        SELECT captured_at, camera, sequence, verdict,
               (epoch_us(timings.ingested_at) - epoch_us(captured_at)) / 1000.0 AS captured_to_ingested,
               (epoch_us(timings.decoded_at) - epoch_us(timings.ingested_at)) / 1000.0 AS ingested_to_decoded,
               (epoch_us(timings.scored_at) - epoch_us(timings.decoded_at)) / 1000.0 AS decoded_to_scored,
               (epoch_us(timings.published_at) - epoch_us(timings.scored_at)) / 1000.0 AS scored_to_published,
               (epoch_us(timings.published_at) - epoch_us(captured_at)) / 1000.0 AS total, day
        FROM inspections
        """,
    ),
    _view(
        "latency_by_minute",
        "Capture to published verdict in milliseconds, by minute: median, 99th percentile, worst",
        "inspections",
        """
        WITH spans AS (
            SELECT day, date_trunc('minute', captured_at) AS minute,
                   (epoch_us(timings.published_at) - epoch_us(captured_at)) / 1000.0 AS total
            FROM inspections
        )
        SELECT minute, count(*) AS inspected, round(quantile_cont(total, 0.5), 1) AS p50,
               round(quantile_cont(total, 0.99), 1) AS p99, round(max(total), 1) AS worst, day
        FROM spans
        GROUP BY ALL
        ORDER BY minute
        """,
    ),
    _view(
        "latest_alerts",
        "Incidents, the newest first",
        "alerts",
        """
        SELECT opened_at, state, severity, camera, product, count AS frames, round(peak_score, 3) AS peak,
               round((epoch_us(updated_at) - epoch_us(opened_at)) / 1e6, 1) AS seconds,
               round(threshold, 3) AS threshold,
               detector.name || ' v' || detector.version AS detector, alert_id, day
        FROM alerts
        ORDER BY opened_at DESC, alert_id
        """,
    ),
    _view(
        "lost_frames",
        "Frames that never reached a detector, by camera and reason, dropped ones and dead letters alike",
        "camera_events dead_letters",
        """
        SELECT camera, kind || ': ' || reason AS reason, sum(frames)::BIGINT AS frames, day
        FROM (
            SELECT day, camera, kind, coalesce(reason, 'unknown') AS reason,
                   last_sequence - first_sequence + 1 AS frames
            FROM camera_events WHERE kind IN ('dropped', 'in-doubt', 'shed')
            UNION ALL
            SELECT day, coalesce(camera, '(unknown)'), 'dead letter', reason, 1 FROM dead_letters
        )
        GROUP BY ALL
        ORDER BY day, camera, reason
        """,
    ),
    _view(
        "detectors",
        "Which detector versions judged how many frames of which product, and when",
        "inspections",
        """
        SELECT product, detector.name AS detector, detector.version AS version, threshold,
               min(captured_at) AS first_used, max(captured_at) AS last_used, count(*) AS inspected,
               round(100.0 * count(*) FILTER (verdict = 'defect') / count(*), 2) AS defect_percent
        FROM inspections
        GROUP BY ALL
        ORDER BY product, first_used
        """,
    ),
)
