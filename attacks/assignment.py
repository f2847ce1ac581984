"""Who goes where at the least cost: the assignment problem, for persons one by one and for crowds of equals.

`assign` is the Hungarian method by shortest augmenting paths (Jonker and Volgenant 1987), `transport` the same for
groups with supplies and places with room, whose solution is that of the persons' problem. Both are exact.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def assign(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of each row, all different, at the least cost f64[n, m], n <= m."""
    n, m = cost.shape
    row_price, price = np.zeros(n + 1), np.zeros(m + 1)
    owner, came = np.zeros(m + 1, np.int64), np.zeros(m + 1, np.int64)
    for row in range(1, n + 1):
        owner[0] = row
        at = 0
        least = np.full(m + 1, np.inf)
        done = np.zeros(m + 1, np.bool_)
        while True:
            done[at] = True
            i = owner[at]
            step, nearest = np.inf, 0
            for j in range(1, m + 1):
                if not done[j]:
                    reduced = cost[i - 1, j - 1] - row_price[i] - price[j]
                    if reduced < least[j]:
                        least[j], came[j] = reduced, at
                    if least[j] < step:
                        step, nearest = least[j], j
            for j in range(m + 1):
                if done[j]:
                    row_price[owner[j]] += step
                    price[j] -= step
                else:
                    least[j] -= step
            at = nearest
            if owner[at] == 0:
                break
        while at:
            owner[at] = owner[came[at]]
            at = came[at]
    column = np.empty(n, np.int64)
    for j in range(1, m + 1):
        if owner[j]:
            column[owner[j] - 1] = j - 1
    return column


@njit(cache=True, nogil=True)
def transport(supply: NDArray[np.int64], room: NDArray[np.int64], cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of each group go to each place, i64[groups, places], at the least cost; the sums must be equal.

    Groups are sent one after another along cheapest paths: into a place with room, or into one from which others are
    pushed on. `push[a, b]` is what it costs to push somebody from a to b.
    """
    groups, places = cost.shape
    flow = np.zeros((groups, places), np.int64)
    left = room.copy()
    for group in range(groups):
        waiting = supply[group]
        while waiting > 0:
            push = np.full((places, places), np.inf)
            pushed = np.full((places, places), -1, np.int64)
            for g in range(groups):
                for a in range(places):
                    if flow[g, a] > 0:
                        for b in range(places):
                            if cost[g, b] - cost[g, a] < push[a, b]:
                                push[a, b], pushed[a, b] = cost[g, b] - cost[g, a], g
            best = cost[group].copy()
            came = np.full(places, -1, np.int64)
            for _ in range(places):
                changed = False
                for a in range(places):
                    for b in range(places):
                        if a != b and best[a] + push[a, b] < best[b] - 1e-9:
                            best[b], came[b], changed = best[a] + push[a, b], a, True
                if not changed:
                    break
            goal = -1
            for b in range(places):
                if left[b] > 0 and (goal < 0 or best[b] < best[goal]):
                    goal = b
            amount, b = min(waiting, left[goal]), goal
            while came[b] >= 0:
                amount = min(amount, flow[pushed[came[b], b], came[b]])
                b = came[b]
            left[goal] -= amount
            b = goal
            while came[b] >= 0:
                g = pushed[came[b], b]
                flow[g, came[b]] -= amount
                flow[g, b] += amount
                b = came[b]
            flow[group, b] += amount
            waiting -= amount
    return flow
