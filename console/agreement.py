"""Champion and challenger on the same frames: where they agree, and who was right, out of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from console.bookkeeping import rows
from console.quality import Scores, scores_of
from console.tables import History
from sightline.contracts import Verdict
from sightline.errors import SightlineError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

EXAMPLES = 20
"""Frames that are named of each kind of difference; beyond that they are counted."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions, and how many frames both were asked about."""

    champion: str
    challenger: str
    frames: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A frame that one of the two calls a defect; `truth` is `good`, a type of defect, or None where nobody knows."""

    camera: str
    sequence: int
    captured_at: datetime
    champion_score: float
    challenger_score: float
    truth: str | None


@dataclass(frozen=True, slots=True)
class Differences:
    """How many frames, and the first by the score of the one that calls them."""

    frames: int
    examples: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Failures:
    """Frames that the challenger failed on, and what it said, the most frequent first."""

    frames: int
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """How each did where the truth is known, in frames `by_label` and `by_operator`.

    Operators answer the champion's alerts alone, so their word is about frames that it called a defect.
    """

    by_label: int
    by_operator: int
    champion: Scores
    challenger: Scores


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two versions say of the same frames.

    `verdicts` counts frames by the champion's verdict, then the challenger's. `rank_correlation` is Spearman's,
    `correlation` Pearson's; None where a score does not vary. `milliseconds` is the median of what the challenger took
    for a frame. `others` are pairs of versions that are in the tables too.
    """

    product: str
    champion: str
    challenger: str
    frames: int
    agreed: int
    verdicts: dict[str, dict[str, int]]
    champion_only: Differences
    challenger_only: Differences
    failures: Failures
    rank_correlation: float | None
    correlation: float | None
    milliseconds: float | None
    truth: Truth | None
    others: tuple[Pair, ...]

    @property
    def agreement(self) -> float | None:
        """Share of the frames that got the same verdict from both."""
        return self.agreed / self.frames if self.frames else None


def compare(
    history: History,
    product: str,
    *,
    since: datetime | None = None,
    champion: str | None = None,
    challenger: str | None = None,
) -> Agreement:
    """Compare two versions of a product's detector, the pair that judged last unless versions are named.

    Raises TableError when a table is missing, and SightlineError when no frame was judged by both.
    """
    history.require("inspections", "shadow_inspections")
    connection = history.connection
    answered = {"alerts", "operator_actions"} <= history.tables.keys()
    both = _BOTH.format(answers=_ANSWERS if answered else _NO_ANSWERS)
    connection.execute(both, {"product": product, "since": since})
    pairs = [Pair(*row) for row in rows(connection, _PAIRS)]
    meant = [pair for pair in pairs if champion in (None, pair.champion) and challenger in (None, pair.challenger)]
    if not meant:
        raise SightlineError(_nothing(product, since, pairs))
    pair = meant[0]
    connection.execute(_CHOSEN, {"champion": pair.champion, "challenger": pair.challenger})
    verdicts = {one.value: {other.value: 0 for other in Verdict} for one in Verdict}
    for first, second, count in rows(connection, _VERDICTS):
        verdicts[first][second] = count
    errors = rows(connection, _ERRORS)
    columns = _columns(connection)
    return Agreement(
        product=product,
        champion=pair.champion,
        challenger=pair.challenger,
        frames=sum(count for row in verdicts.values() for count in row.values()),
        agreed=sum(verdicts[verdict.value][verdict.value] for verdict in Verdict),
        verdicts=verdicts,
        champion_only=_differences(connection, "champion", "challenger"),
        challenger_only=_differences(connection, "challenger", "champion"),
        failures=Failures(sum(count for _, count in errors), tuple(error for error, _ in errors[:EXAMPLES])),
        rank_correlation=_correlation(columns, ranks=True),
        correlation=_correlation(columns, ranks=False),
        milliseconds=rows(connection, "SELECT median(milliseconds) FROM chosen WHERE error IS NULL")[0][0],
        truth=_truth(columns),
        others=tuple(other for other in pairs if other != pair),
    )


_NO_ANSWERS = """
SELECT NULL::VARCHAR AS camera, NULL::BIGINT AS sequence, NULL::TIMESTAMPTZ AS captured_at, NULL::VARCHAR AS answer,
       NULL::VARCHAR AS defect_type WHERE false
"""

# the frames that an answer is about, as for training sets (streaming/ingest_archive.py)
_ANSWERS = """
SELECT i.camera, i.sequence, i.captured_at, arg_max(o.kind, o."at") AS answer,
       arg_max(coalesce(o.defect_type, ''), o."at") AS defect_type
FROM operator_actions o JOIN alerts a USING (alert_id)
JOIN inspections i ON i.camera = a.camera AND i.sequence BETWEEN a.first_sequence AND a.last_sequence
    AND i.captured_at BETWEEN a.opened_at AND a.updated_at
WHERE o.kind IN ('confirm', 'false-alarm') AND i.verdict = 'defect' AND i.product = $product
GROUP BY ALL
"""

_BOTH = """
CREATE OR REPLACE TEMP TABLE both_judged AS
WITH answers AS ({answers})
SELECT camera, sequence, captured_at, i.product, i.detector.version AS champion, s.detector.version AS challenger,
       i.verdict AS champion_verdict, s.verdict AS challenger_verdict,
       i.score AS champion_score, s.score AS challenger_score, s.milliseconds, s.error, answer IS NOT NULL AS answered,
       CASE answer WHEN 'false-alarm' THEN 'good'
                   WHEN 'confirm' THEN CASE WHEN defect_type IN ('', 'good') THEN 'defect' ELSE defect_type END
                   ELSE i.label END AS truth
FROM inspections i JOIN shadow_inspections s USING (camera, sequence, captured_at)
LEFT JOIN answers USING (camera, sequence, captured_at)
WHERE i.product = $product AND ($since IS NULL OR (captured_at >= $since
    AND i.day >= ($since::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE
    AND s.day >= ($since::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE))
"""

_PAIRS = "SELECT champion, challenger, count(*) FROM both_judged GROUP BY 1, 2 ORDER BY max(captured_at) DESC"

_CHOSEN = """
CREATE OR REPLACE TEMP TABLE chosen AS
SELECT * FROM both_judged WHERE champion = $champion AND challenger = $challenger
"""

_VERDICTS = """
SELECT champion_verdict, challenger_verdict, count(*) FROM chosen WHERE challenger_verdict IS NOT NULL GROUP BY 1, 2
"""

_ERRORS = "SELECT error, count(*) FROM chosen WHERE error IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"


def _differences(connection: DuckDBPyConnection, one: str, other: str) -> Differences:
    """Frames that `one` calls a defect and `other` does not."""
    found = rows(
        connection,
        f"""
        SELECT camera, sequence, captured_at, champion_score, challenger_score, truth, count(*) OVER ()
        FROM chosen WHERE {one}_verdict = 'defect' AND {other}_verdict <> 'defect'
        ORDER BY {one}_score DESC, camera, sequence LIMIT {EXAMPLES}
        """,
    )
    return Differences(int(found[0][-1]) if found else 0, tuple(Difference(*row[:-1]) for row in found))


def _columns(connection: DuckDBPyConnection) -> dict[str, NDArray[Any]]:
    table = connection.query(
        "SELECT champion_score, challenger_score, champion_verdict, challenger_verdict, product, truth, answered "
        "FROM chosen WHERE challenger_verdict IS NOT NULL"
    ).to_arrow_table()
    return {name: table[name].to_numpy() for name in table.column_names}


def _correlation(columns: dict[str, NDArray[Any]], *, ranks: bool) -> float | None:
    from scipy.stats import pearsonr, spearmanr

    one, other = columns["champion_score"], columns["challenger_score"]
    if len(one) < 3 or one.min() == one.max() or other.min() == other.max():
        return None
    return float((spearmanr if ranks else pearsonr)(one, other).statistic)


def _truth(columns: dict[str, NDArray[Any]]) -> Truth | None:
    known = columns["truth"] != None  # noqa: E711 - an array is compared item by item
    if not known.any():
        return None
    found = {name: values[known] for name, values in columns.items()}
    answered = int(found["answered"].sum())

    def of(who: str) -> Scores:
        return scores_of(
            who,
            {
                "label": found["truth"],
                "verdict": found[f"{who}_verdict"],
                "score": found[f"{who}_score"],
                "product": found["product"],
            },
        )

    return Truth(int(known.sum()) - answered, answered, of("champion"), of("challenger"))


def _nothing(product: str, since: datetime | None, pairs: list[Pair]) -> str:
    if pairs:
        known = ", ".join(f"champion {pair.champion} with challenger {pair.challenger}" for pair in pairs)
        return f"these versions of {product!r} never judged the same frames; there is {known}"
    when = f" since {since.isoformat()}" if since else ""
    return (
        f"no frame of {product!r} was judged by champion and challenger{when}: set [score] shadow_fraction above 0, "
        "and give a version the alias challenger (`sightline train --no-promote`)"
    )
