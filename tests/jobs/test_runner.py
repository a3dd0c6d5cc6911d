"""The runner: intervals, back-off, one slice never stops another, a graceful end."""

import asyncio

from storage_server.jobs.options import RunnerOptions
from storage_server.jobs.runner import Runner, Slice

OPTIONS = RunnerOptions(retry_first_s=1, retry_last_s=8, slice_s_max=5)


async def test_a_slice_with_more_to_do_runs_again_at_once() -> None:
    """True means at once, False means after the interval."""
    pauses: list[float] = []
    answers = iter([True, True, False, False])

    async def work() -> bool:
        answer = next(answers, None)
        if answer is None:
            runner.stop()
        return bool(answer)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    runner = Runner([Slice("work", 60, work)], OPTIONS, pause)
    await runner.run()
    assert pauses[:4] == [0, 0, 60, 60]


async def test_no_slice_rests_for_longer_than_it_may() -> None:
    """Who watches a test's server does not wait for minutes."""
    pauses: list[float] = []

    async def work() -> bool:
        return False

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            runner.stop()

    slices = [Slice("rare", 600, work), Slice("often", 0.5, work)]
    runner = Runner(slices, RunnerOptions(interval_s_max=2), pause)
    await runner.run()
    assert set(pauses) == {2, 0.5}


async def test_failures_back_off_and_do_not_stop_others() -> None:
    """A job that always fails waits longer and longer; its neighbour keeps its interval."""
    pauses: list[float] = []
    runs = 0

    async def broken() -> bool:
        raise RuntimeError("always")

    async def sound() -> bool:
        nonlocal runs
        runs += 1
        return False

    async def pause(seconds: float) -> None:
        if seconds != 30:
            pauses.append(seconds)
        if len(pauses) == 6:
            runner.stop()

    runner = Runner([Slice("broken", 60, broken), Slice("sound", 30, sound)], OPTIONS, pause)
    await runner.run()
    assert pauses[:6] == [1, 2, 4, 8, 8, 8]
    assert runs > 1


async def test_a_stop_waits_for_the_slice_under_way() -> None:
    """A slice is bounded, so it may end in peace."""
    started, may_end, ended = asyncio.Event(), asyncio.Event(), False

    async def work() -> bool:
        nonlocal ended
        started.set()
        await may_end.wait()
        ended = True
        return True

    runner = Runner([Slice("work", 60, work)], OPTIONS)
    running = asyncio.create_task(runner.run())
    await started.wait()
    runner.stop()
    may_end.set()
    await running
    assert ended
