"""The arithmetic line behaves as a queue must, and its plants add up."""

from __future__ import annotations

import pytest

from benchmarks.line_model import Costs, Machines, Prices, drain, limits, plant, saturation, simulate

FREE = Costs(query_ms=0, broker_ms=0, fold_ms=0, camera_ms=0, batch_work_ms=0)
ONE = Machines(cores=8, slots=1, partitions=1, cameras_apart=True)


def test_a_lone_frame_waits_for_planning_and_judging_and_nothing_else() -> None:
    found = simulate(FREE, ONE, rate=0.5, cameras=1)
    assert found.latencies == pytest.approx(FREE.batch_ms + FREE.judge_ms)


def test_a_frame_that_comes_during_a_batch_waits_for_the_next() -> None:
    # batches of n frames follow each other without a pause and take 45 + 16.2 n ms: at 40 frames/s n is 5 on average
    found = simulate(FREE, ONE, rate=40, cameras=1)
    assert found.carried == pytest.approx(40, rel=0.02)
    assert found.percentile(50) > FREE.batch_ms + 2 * FREE.judge_ms


def test_more_than_the_slots_can_judge_is_not_carried() -> None:
    assert simulate(FREE, ONE, rate=100, cameras=1).carried == pytest.approx(1000 / FREE.judge_ms, rel=0.05)
    assert saturation(FREE, ONE) < 1000 / FREE.judge_ms


def test_a_second_slot_doubles_what_cores_allow() -> None:
    two = Machines(cores=8, slots=2, partitions=2, cameras_apart=True)
    assert drain(FREE, two) == pytest.approx(2 * drain(FREE, ONE))
    starved = Machines(cores=1, slots=2, partitions=2, cameras_apart=True)
    assert drain(FREE, starved) == pytest.approx(drain(FREE, ONE))


def test_cameras_in_one_partition_leave_slots_idle() -> None:
    spread = Machines(cores=8, slots=4, partitions=4, cameras_apart=True)
    together = Machines(cores=8, slots=4, partitions=1, cameras_apart=True)
    assert saturation(FREE, together) < 0.5 * saturation(FREE, spread)


def test_ten_times_the_cameras_need_ten_times_the_work() -> None:
    small, large = (plant(cameras, Costs(), Prices()) for cameras in (100, 1000))
    assert large.frames_s == 10 * small.frames_s
    assert large.judging_cores == pytest.approx(10 * small.judging_cores, rel=0.05)
    assert large.table_gb_day == pytest.approx(10 * small.table_gb_day)
    assert large.archive_gb_day == pytest.approx(10 * small.archive_gb_day)
    assert large.queries > small.queries
    assert plant(10, Costs(), Prices()).brokers == 3, "three copies need three brokers"


def test_a_plant_within_its_limits_needs_one_query_and_past_them_more() -> None:
    met = limits(Costs())
    assert [limit.cameras for limit in met] == sorted(limit.cameras for limit in met)
    (driver,) = (limit for limit in met if "driver" in limit.what)
    assert plant(driver.cameras - 10, Costs(), Prices()).queries == 1
    assert plant(driver.cameras + 10, Costs(), Prices()).queries == 2


def test_pictures_that_are_kept_are_stored_and_paid_for() -> None:
    few, many = (plant(100, Costs(), Prices(), defects=defects) for defects in (0.0, 0.1))
    # 500 frames/s of 205 kB, one good one in fifty
    assert few.archive_gb_day == pytest.approx(500 * 86_400 * 205e3 / 1e9 * 0.02)
    assert many.archive_gb_day == pytest.approx(5.9 * few.archive_gb_day)
    kept = 30 * (many.archive_gb_day - few.archive_gb_day)
    assert many.dollars_month - few.dollars_month == pytest.approx(kept * Prices().disk_gb_month)


def test_the_model_gives_what_was_measured_on_two_cores() -> None:
    """The points of docs/scaling.md; its tail is known to be too short, since it has no jitter."""
    small = Machines(cores=2, slots=2, partitions=2)
    held = simulate(Costs(), small, 61)
    assert drain(Costs(), small) == pytest.approx(109, rel=0.05)
    assert saturation(Costs(), small) == pytest.approx(87, rel=0.05)
    assert held.percentile(50) == pytest.approx(227, rel=0.1)
    assert held.percentile(99) < 391
