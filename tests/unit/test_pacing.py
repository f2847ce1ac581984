"""Which sources are held because they are ahead of the slowest."""

from streams.agents.pacing import too_far_ahead


def test_only_own_sources_beyond_the_limit_are_held() -> None:
    marks = {0: 100_000, 1: 30_000, 2: 89_999, 3: 90_001}
    assert too_far_ahead(marks, {0, 1, 2}, 60_000) == {0}
    assert too_far_ahead(marks, {0, 3}, 60_000) == {0, 3}


def test_the_slowest_is_never_held() -> None:
    assert too_far_ahead({5: 10}, {5}, 0) == set()
    assert too_far_ahead({}, set(), 60_000) == set()
    assert too_far_ahead({0: 10, 1: 10}, {0, 1}, 0) == set()


def test_a_source_that_nobody_has_heard_of_holds_nobody() -> None:
    assert too_far_ahead({0: 1_000_000}, {0, 7}, 60_000) == set()
