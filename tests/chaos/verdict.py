"""The verdict on a run: what came through against the oracle and the ledger."""

from typing import NamedTuple

from schemas.topics import REJECTS
from tests.chaos.cluster import Cluster
from tests.chaos.completion import Complete
from tests.chaos.judge import (
    differing_panes,
    differing_repeats,
    releases,
    wrong_coverage,
    wrong_publications,
    wrong_rejects,
    wrong_releases,
)
from tests.chaos.oracle import Answer
from tests.support.panes import summed


class Verdict(NamedTuple):
    """What is wrong, a line a finding, by what it concerns."""

    answer: Answer
    panes: list[str]
    releases: list[str]
    rejects: list[str]
    others: list[str]


async def verdict(cluster: Cluster, answer: Answer, done: Complete) -> Verdict:
    """Compare everything."""
    firsts = {(pane.epoch, pane.partition, pane.number): pane for pane in reversed(done.panes)}
    drawn = releases(done.ledger)
    told = []
    for record in await cluster.read(REJECTS):
        said = {name: value.decode() for name, value in record.headers}
        told.append(((int(said["partition"]), int(said["offset"]), int(said["index"])), said["reason"]))
    others = [*done.lost.wrong, *wrong_coverage(firsts.values(), drawn, done.lost.ranges)]
    if answer.until != done.until:
        others.append(f"the gateways' watermark ends at {done.until}, the log's at {answer.until}")
    if not answer.panes or not drawn or not done.published:
        others.append("nothing came through: there is nothing to compare")
    return Verdict(
        answer,
        differing_panes(summed(firsts.values()), answer.panes) + differing_repeats(done.panes),
        wrong_releases(drawn, answer.panes) + wrong_publications(drawn, done.published),
        wrong_rejects(told, answer.rejects),
        others,
    )
