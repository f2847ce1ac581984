"""The `audit` topic: every decision on what may be counted, each holding the hash of the one before. Kept for ever.

It is also where workers read what is in force: a change that is not in the audit log has no effect. A record's bytes
are canonical: the entry as JSON with sorted keys and without white space.
"""

from typing import Final, Literal

import msgspec

from schemas.policy import Rulebook

# What the first entry holds in place of the hash of the one before.
GENESIS: Final = "0" * 64
# Every release's entries have these names: by them an entry is told from what throng didn't write.
NAMED: Final = frozenset({"previous", "hash"})

Action = Literal["adopt", "suspend", "resume", "apply", "rotate"]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One decision.

    Attributes:
        at: when, by the clock of whoever decided, RFC 3339 in UTC. by: who.
        action: adopt: a new deployment's rules; suspend, resume: of `country`; apply: changed files; rotate: the
            running epoch's salt was destroyed, which the reason names; the rules stay.
        reason: why; never empty where something is loosened or destroyed.
        rules: all that holds after it.
        from_ms: of a rotation, the event time from which on a fresh salt holds; unset: from the next epoch on.
        previous: the log's hash before it. hash: SHA-256 of this entry without `hash`, in canonical form.
        signature: Ed25519, hexadecimal, by the operator's key, of this entry without `hash` and this; unset: none.
    """

    at: str
    by: str
    action: Action
    country: str
    reason: str
    rules: Rulebook
    previous: str
    hash: str = ""
    from_ms: int | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET
