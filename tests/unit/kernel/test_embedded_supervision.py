"""How soon and how often a child is started again."""

from collections import deque
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from kernel.embedded.supervision import RestartHistory, RestartPolicy

POLICY = RestartPolicy(restarts=3, seconds=10, first_pause=1, longest_pause=3)


def test_pauses_grow_up_to_the_longest() -> None:
    history = RestartHistory(POLICY)

    pauses = [history.next_pause(0), history.next_pause(1), history.next_pause(2)]

    assert pauses == [1, 2, 3]


def test_one_restart_too_many_is_refused() -> None:
    history = RestartHistory(POLICY, deque([0.0, 1.0, 2.0]))

    assert history.next_pause(3) is None


def test_old_restarts_no_longer_count() -> None:
    history = RestartHistory(POLICY, deque([0.0, 1.0, 2.0]))

    assert history.next_pause(60) == 1


@given(st.lists(st.floats(min_value=0, max_value=5), min_size=1, max_size=50))
def test_no_stretch_of_time_holds_more_restarts_than_allowed(gaps: list[float]) -> None:
    moments = list(accumulate(gaps))
    history = RestartHistory(POLICY)

    granted = [moment for moment in moments if history.next_pause(moment) is not None]

    assert all(
        later - first > POLICY.seconds
        for first, later in zip(granted, granted[POLICY.restarts :], strict=False)
    )
