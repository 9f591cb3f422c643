"""What another threshold would have made of the frames of some time: counted in the table, never row by row."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from console.api.histories import records
from console.api.problems import Problem, not_found
from console.engineering.selection import Selection, require_known
from console.engineering.shapes import Bar, Changed, ThresholdEffect, Verdicts
from console.tables import History
from sightline.contracts import ActionKind

BARS = 120
"""Bars of the histogram; what lies above its end is in the last."""

PER_FRAME = (
    "Verdicts are counted frame by frame. Alerts follow from several defects in a row, so their number is only told "
    "for a higher threshold, as those whose highest score still reaches it; some would open later or not at all."
)


def threshold_effect(
    history: History, chosen: Selection, product: str, threshold: float | None = None, review: float | None = None
) -> ThresholdEffect:
    """The effect of `threshold`, and of `review` from which frames go to review; by default those that were used.

    One detector version is looked at: that of the selection, or the one that judged most frames of the time, since
    each version has its own unit of score. The truth is what operators answered to the frame's incident, or its label.
    Raises Problem 404 for an unknown product or version, 422 for a review threshold above the other.
    """
    chosen = replace(chosen, product=product).settled(history)
    versions = _versions(history, chosen)
    if not versions:
        require_known(history, chosen)
        raise not_found("frame of", product, "none was inspected in this time with these filters; choose others")
    judged = versions[0]
    chosen = replace(chosen, detector_version=judged["version"])
    used, used_review = judged["threshold"], judged["review"]
    threshold = used if threshold is None else threshold
    lowest = min(used_review if used_review is not None else used, threshold)
    review = lowest if review is None else review
    if review > threshold:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"the review threshold {review:g} is above the threshold {threshold:g}; choose one at or below it",
        )
    bars = _histogram(history, chosen, max(judged["top"], used, threshold), threshold, review)
    sums = _sums(bars)
    alerts, left = _alerts(history, chosen, threshold)
    known, by_operators = (sum(bar[name] for bar in bars) for name in ("known", "answered"))
    return ThresholdEffect(
        **chosen.ends,
        product=product,
        detector_version=judged["version"],
        frames=judged["frames"],
        known=known,
        known_by_operators=by_operators,
        used_threshold=used,
        used_review=used_review,
        threshold=threshold,
        review=review,
        then=Verdicts(**sums["then"]),
        now=Verdicts(**sums["now"]),
        no_longer=Changed(**sums["no_longer"]),
        newly=Changed(**sums["newly"]),
        alerts=alerts,
        alerts_left=left if threshold >= used else None,
        histogram=_bars(bars, judged["top"], max(judged["top"], used, threshold)),
        others=[one["version"] for one in versions[1:]],
        notes=_notes(judged, known),
    )


def _versions(history: History, chosen: Selection) -> list[dict[str, Any]]:
    where, values = chosen.where(history)
    return records(
        history,
        f"""
        SELECT detector.version AS version, count(*) AS frames, arg_max(threshold, captured_at) AS threshold,
               min(score) FILTER (verdict = 'review') AS review, max(score) AS top,
               count(DISTINCT threshold) AS thresholds
        FROM inspections WHERE {where} GROUP BY 1 ORDER BY frames DESC, version DESC
        """,
        values,
    )


def _histogram(
    history: History, chosen: Selection, top: float, threshold: float, review: float
) -> list[dict[str, Any]]:
    """Frames by bar, verdict then, verdict now and truth."""
    where, values = chosen.where(history)
    answers = _ANSWERS.format(during=chosen.during("captured_at")) if _answered(history) else _NO_ANSWERS
    return records(
        history,
        f"""
        WITH answers AS ({answers}), judged AS (
            SELECT least(greatest(floor(score / $top * {BARS})::INT, 0), {BARS - 1}) AS bar, verdict AS was,
                   CASE WHEN score >= $threshold THEN 'defect' WHEN score >= $review THEN 'review'
                        ELSE 'ok' END AS is_now, answer, label
            FROM inspections LEFT JOIN answers USING (camera, sequence, captured_at) WHERE {where}
        )
        SELECT bar, was, is_now,
               CASE WHEN answer = '{ActionKind.FALSE_ALARM}' THEN 'good'
                    WHEN answer = '{ActionKind.CONFIRM}' THEN 'defective'
                    WHEN label = 'good' THEN 'good' WHEN label IS NOT NULL THEN 'defective' ELSE 'unknown' END AS truth,
               count(*) AS frames, count(*) FILTER (answer IS NOT NULL OR label IS NOT NULL) AS known,
               count(answer) AS answered
        FROM judged GROUP BY ALL
        """,
        values | {"top": top or 1.0, "threshold": threshold, "review": review}
        | ({} if "product" in values else {"product": chosen.product}),
    )  # fmt: skip


def _sums(bars: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {
        "then": dict.fromkeys(("ok", "review", "defect"), 0),
        "now": dict.fromkeys(("ok", "review", "defect"), 0),
        "no_longer": dict.fromkeys(("good", "defective", "unknown"), 0),
        "newly": dict.fromkeys(("good", "defective", "unknown"), 0),
    }
    for one in bars:
        found["then"][one["was"]] += one["frames"]
        found["now"][one["is_now"]] += one["frames"]
        if one["was"] == "defect" != one["is_now"]:
            found["no_longer"][one["truth"]] += one["frames"]
        if one["was"] != "defect" == one["is_now"]:
            found["newly"][one["truth"]] += one["frames"]
    return found


def _bars(bars: list[dict[str, Any]], top: float, end: float) -> list[Bar]:
    width = (end or 1.0) / BARS
    counts = [dict.fromkeys(("good", "defective", "unknown"), 0) for _ in range(BARS)]
    for one in bars:
        counts[one["bar"]][one["truth"]] += one["frames"]
    return [Bar(low=at * width, high=max((at + 1) * width, top if at == BARS - 1 else 0), **found)
            for at, found in enumerate(counts)]  # fmt: skip


def _alerts(history: History, chosen: Selection, threshold: float) -> tuple[int, int]:
    if "alerts" not in history.tables:
        return 0, 0
    place, values = chosen.place()
    found = records(
        history,
        f"""
        SELECT count(*) AS alerts, count(*) FILTER (peak_score >= $threshold) AS left_over FROM alerts
        WHERE {place} AND detector.version = $version AND {chosen.during("opened_at")}
        """,
        values | {"threshold": threshold, "version": chosen.detector_version},
    )[0]
    return found["alerts"], found["left_over"]


def _notes(judged: dict[str, Any], known: int) -> list[str]:
    notes = [PER_FRAME]
    if known < judged["frames"]:
        unknown = judged["frames"] - known
        notes.append(
            f"Of {judged['frames']:,} frames {known:,} have a truth, from operators' answers or labels; what the other "
            f"{unknown:,} would mean is not known. Operators answer alerts alone, so missed defects are mostly unknown."
        )
    if judged["thresholds"] > 1:
        notes.append("The threshold changed within this time; the last one is shown as the one that was used.")
    return notes


def _answered(history: History) -> bool:
    return {"alerts", "operator_actions"} <= history.tables.keys()


# the frames that an answer is about, as for training sets (streaming/ingest_archive.py)
_ANSWERS = """
SELECT i.camera, i.sequence, i.captured_at, arg_max(o.kind, o."at") AS answer
FROM operator_actions o JOIN alerts a USING (alert_id)
JOIN (SELECT camera, sequence, captured_at FROM inspections
      WHERE verdict = 'defect' AND product = $product AND {during}) i
    ON i.camera = a.camera AND i.sequence BETWEEN a.first_sequence AND a.last_sequence
    AND i.captured_at BETWEEN a.opened_at AND a.updated_at
WHERE o.kind IN ('confirm', 'false-alarm')
GROUP BY ALL
"""
_NO_ANSWERS = """
SELECT NULL::VARCHAR AS camera, NULL::BIGINT AS sequence, NULL::TIMESTAMPTZ AS captured_at, NULL::VARCHAR AS answer
WHERE false
"""
