"""The guard between an adapter and its provider."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Invalid, NothingHappened, RateLimited, Unavailable
from kernel.providers import (
    Backoff,
    Breaker,
    ProviderBusyError,
    ProviderGuard,
    ProviderNotReachedError,
    ProviderRestingError,
    ProviderUnavailable,
    is_fault,
    provider_snapshots,
)

REQUEST = httpx.Request("GET", "https://provider.example/")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Provider:
    """A provider that plays a script: errors are raised, the rest is answered, the last for ever."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.calls = 0

    async def answer(self) -> Any:
        self.calls += 1
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        return step


class SlowProvider:
    """A provider that answers only once it is let go, and counts who waits."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.waiting = 0
        self.most_waiting = 0

    async def answer(self) -> str:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await self.go.wait()
        self.waiting -= 1
        return "late"


def a_guard(**overrides: Any) -> ProviderGuard:
    options: dict[str, Any] = {"timeout": 5.0, "breaker_rest": 0.03}
    return ProviderGuard("test", **options | overrides)


def a_breaker(**overrides: Any) -> Breaker:
    options: dict[str, Any] = {"faults": 3, "window": 60.0, "rest": 0.03}
    return Breaker("test", **options | overrides)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(ConnectionError(), is_trial=breaker.admit())


async def fail_call(guard: ProviderGuard, times: int) -> None:
    for _ in range(times):
        with suppress(ProviderUnavailable):
            await guard.call(Provider(ConnectionError()).answer)


async def test_an_answer_is_handed_through() -> None:
    guard = a_guard()

    answer = await guard.call(Provider("yes").answer)

    assert answer == "yes"
    assert guard.snapshot().calls == 1
    assert guard.snapshot().failures == 0


async def test_arguments_are_handed_on() -> None:
    async def add(left: int, right: int) -> int:
        return left + right

    assert await a_guard().call(add, 2, 3) == 5


async def test_a_lost_connection_becomes_provider_unavailable() -> None:
    guard = a_guard()

    with pytest.raises(ProviderUnavailable) as refused:
        await guard.call(Provider(ConnectionResetError("10.0.0.7:25")).answer)

    assert refused.value.to_wire().code == "kernel.provider_unavailable"
    assert refused.value.retryable
    assert refused.value.retry_after
    assert "10.0.0.7" not in refused.value.message


@pytest.mark.parametrize("error", [ConnectionRefusedError(), httpx.ConnectError("no route")])
async def test_a_call_without_a_connection_has_not_happened(error: Exception) -> None:
    with pytest.raises(ProviderNotReachedError) as refused:
        await a_guard().call(Provider(error).answer)

    assert isinstance(refused.value, NothingHappened)


@pytest.mark.parametrize("error", [ConnectionResetError(), httpx.ReadTimeout("slow")])
async def test_of_a_call_that_broke_off_it_is_not_known_whether_it_happened(
    error: Exception,
) -> None:
    with pytest.raises(ProviderUnavailable) as refused:
        await a_guard().call(Provider(error).answer)

    assert not isinstance(refused.value, NothingHappened)


async def test_a_call_that_takes_too_long_is_given_up() -> None:
    guard = a_guard(timeout=0.01)

    with pytest.raises(ProviderUnavailable, match="TimeoutError"):
        await guard.call(SlowProvider().answer)

    assert guard.snapshot().failures == 1
    assert guard.snapshot().in_flight == 0


async def test_one_call_may_have_a_shorter_time_out() -> None:
    with pytest.raises(ProviderUnavailable):
        await a_guard(timeout=60.0).call(SlowProvider().answer, timeout=0.01)


async def test_a_refusal_by_the_provider_is_its_answer_and_no_fault() -> None:
    guard = a_guard(breaker_faults=1)

    with pytest.raises(Invalid):
        await guard.call(Provider(Invalid("no such thing")).answer)

    assert guard.snapshot().failures == 0
    assert guard.breaker.state == "closed"


async def test_a_retryable_error_of_an_adapter_keeps_its_own_code() -> None:
    class Throttled(RateLimited):
        code = "test.throttled"

    with pytest.raises(Throttled):
        await a_guard().call(Provider(Throttled()).answer)


async def test_a_call_that_is_not_repeatable_is_never_sent_twice() -> None:
    provider = Provider(ConnectionError(), "yes")

    with pytest.raises(ProviderUnavailable):
        await a_guard(retries=3).call(provider.answer)

    assert provider.calls == 1


async def test_a_repeatable_call_is_tried_again() -> None:
    guard = a_guard(retries=3)
    provider = Provider(ConnectionError(), ConnectionError(), "yes")

    with stamina.set_testing(True, attempts=9, cap=True):
        answer = await guard.call(provider.answer, is_repeatable=True)

    assert answer == "yes"
    assert guard.snapshot().retries == 2
    assert guard.snapshot().calls == 3


async def test_retries_end() -> None:
    provider = Provider(ConnectionError())

    with stamina.set_testing(True, attempts=9, cap=True), pytest.raises(ProviderUnavailable):
        await a_guard(retries=2).call(provider.answer, is_repeatable=True)

    assert provider.calls == 3


async def test_an_answered_refusal_is_not_tried_again() -> None:
    provider = Provider(Invalid(), "yes")

    with stamina.set_testing(True, attempts=9, cap=True), pytest.raises(Invalid):
        await a_guard(retries=3).call(provider.answer, is_repeatable=True)

    assert provider.calls == 1


async def test_an_open_circuit_is_not_worth_a_retry() -> None:
    provider = Provider(ConnectionError())

    with stamina.set_testing(True, attempts=9, cap=True), pytest.raises(ProviderUnavailable):
        await a_guard(retries=8, breaker_faults=2, breaker_rest=60.0).call(
            provider.answer, is_repeatable=True
        )

    assert provider.calls == 2


async def test_no_more_calls_are_under_way_at_once_than_allowed() -> None:
    guard = a_guard(concurrency=2, waiting=10)
    provider = SlowProvider()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(guard.call(provider.answer)) for _ in range(6)]
        await asyncio.sleep(0.01)
        assert guard.snapshot().in_flight == 2
        provider.go.set()

    assert [task.result() for task in tasks] == ["late"] * 6
    assert provider.most_waiting == 2


async def test_a_call_beyond_the_queue_is_refused_at_once() -> None:
    guard = a_guard(concurrency=1, waiting=0)
    provider = SlowProvider()

    async with asyncio.TaskGroup() as group:
        group.create_task(guard.call(provider.answer))
        await asyncio.sleep(0.01)
        with pytest.raises(ProviderBusyError):
            await guard.call(provider.answer)
        provider.go.set()

    assert guard.snapshot().refusals == 1


async def test_a_call_does_not_wait_for_a_place_for_ever() -> None:
    guard = a_guard(concurrency=1, waiting=5)
    provider = SlowProvider()

    async with asyncio.TaskGroup() as group:
        group.create_task(guard.call(provider.answer))
        await asyncio.sleep(0.01)
        with pytest.raises(ProviderBusyError):
            await guard.call(provider.answer, timeout=0.01)
        provider.go.set()

    assert await guard.call(provider.answer) == "late"


async def test_five_faults_open_the_circuit_and_nothing_is_sent_then() -> None:
    guard = a_guard(breaker_rest=60.0)
    await fail_call(guard, 5)
    provider = Provider("yes")

    with pytest.raises(ProviderRestingError) as refused:
        await guard.call(provider.answer)

    assert isinstance(refused.value, NothingHappened)
    assert provider.calls == 0
    assert guard.snapshot().breaker == "open"
    assert guard.snapshot().refusals == 1
    assert refused.value.retry_after == pytest.approx(60.0, abs=1.0)


async def test_a_good_trial_closes_the_circuit() -> None:
    guard = a_guard(breaker_faults=1)
    await fail_call(guard, 1)
    await asyncio.sleep(0.05)

    answer = await guard.call(Provider("yes").answer)

    assert answer == "yes"
    assert guard.snapshot().breaker == "closed"


async def test_a_failed_trial_opens_the_circuit_again() -> None:
    guard = a_guard(breaker_faults=1)
    await fail_call(guard, 1)
    await asyncio.sleep(0.05)

    await fail_call(guard, 1)

    assert guard.snapshot().breaker == "open"
    assert guard.snapshot().calls == 2


async def test_only_one_call_at_a_time_is_a_trial() -> None:
    guard = a_guard(breaker_faults=1)
    await fail_call(guard, 1)
    await asyncio.sleep(0.05)
    provider = SlowProvider()

    async with asyncio.TaskGroup() as group:
        trial = group.create_task(guard.call(provider.answer))
        await asyncio.sleep(0.01)
        with pytest.raises(ProviderUnavailable):
            await guard.call(provider.answer)
        provider.go.set()

    assert trial.result() == "late"
    assert provider.most_waiting == 1


async def test_a_cancelled_trial_decides_nothing_and_makes_room_for_the_next() -> None:
    guard = a_guard(breaker_faults=1)
    await fail_call(guard, 1)
    await asyncio.sleep(0.05)
    trial = asyncio.create_task(guard.call(SlowProvider().answer))
    await asyncio.sleep(0.01)

    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial

    assert guard.snapshot().breaker == "half_open"
    assert await guard.call(Provider("yes").answer) == "yes"


async def test_a_cancelled_call_is_no_fault_of_the_provider() -> None:
    guard = a_guard(breaker_faults=1)
    call = asyncio.create_task(guard.call(SlowProvider().answer))
    await asyncio.sleep(0.01)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert guard.snapshot().breaker == "closed"
    assert guard.snapshot().failures == 0
    assert guard.snapshot().in_flight == 0


def test_successes_between_do_not_hide_the_faults_of_a_window() -> None:
    breaker = a_breaker(clock=Clock())
    fail(breaker, 2)

    breaker.succeeded(is_trial=breaker.admit())
    fail(breaker)

    assert breaker.state == "open"


def test_faults_outside_the_window_are_forgotten() -> None:
    clock = Clock()
    breaker = a_breaker(clock=clock)
    fail(breaker, 2)

    clock.seconds += 61
    fail(breaker, 2)

    assert breaker.state == "closed"


@pytest.mark.parametrize(("later", "expected"), [(19.0, "open"), (21.0, "closed")])
def test_the_window_rolls_rather_than_starting_anew(later: float, expected: str) -> None:
    clock = Clock()
    breaker = a_breaker(clock=clock)
    fail(breaker)
    clock.seconds += 40
    fail(breaker)

    clock.seconds += later
    fail(breaker)

    assert breaker.state == expected


async def test_a_call_from_before_the_circuit_opened_does_not_close_it() -> None:
    breaker = a_breaker(faults=1)
    is_early_trial = breaker.admit()
    fail(breaker)

    breaker.succeeded(is_trial=is_early_trial)

    assert breaker.state == "open"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (httpx.ConnectTimeout("slow"), True),
        (httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(503)), True),
        (httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(429)), True),
        (httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(400)), False),
        (Unavailable(), True),
        (Invalid(), False),
        (ValueError(), False),
    ],
)
def test_a_fault_is_told_from_an_answer(error: Exception, *, expected: bool) -> None:
    assert is_fault(error) is expected


@given(st.integers(1, 12), st.floats(0.01, 2.0), st.floats(0.0, 1.0))
def test_pauses_double_up_to_a_limit_and_jitter_over_their_whole_length(
    tries: int, first: float, luck: float
) -> None:
    backoff = Backoff(first, 5.0, lambda low, high: low + (high - low) * luck)

    pauses = [backoff.after(Unavailable()) for _ in range(tries)]

    assert pauses == pytest.approx([min(first * 2**n, 5.0) * luck for n in range(tries)])


@pytest.mark.parametrize(("asked", "expected"), [(3.0, 3.0), (900.0, False)])
def test_a_pause_that_the_provider_asks_for_is_kept_or_the_call_is_given_up(
    asked: float, expected: object
) -> None:
    backoff = Backoff(0.1, 5.0)

    assert backoff.after(RateLimited(retry_after=asked)) == expected


def test_a_guard_is_listed_while_it_lives() -> None:
    guard = ProviderGuard("listed-while-it-lives")

    listed: Callable[[], list[str]] = lambda: [s.provider for s in provider_snapshots()]  # noqa: E731  read twice
    assert guard.name in listed()
    del guard

    assert "listed-while-it-lives" not in listed()
