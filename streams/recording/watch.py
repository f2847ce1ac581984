"""The sightings that a deployment counted, read from its log as its crowds take them: each once, by the chain."""

from schemas.sightings import GENESIS, REGISTRY_SOURCE, Control, Foreign, decode_frame
from schemas.topics import SIGHTINGS
from streams.core.crowd.chain import Link, link
from streams.recording.sightings import Seen
from streams.settings import Settings
from streams.stores.log import TailReader


async def read_sightings(settings: Settings) -> Seen:
    """All that is in `sightings` now.

    Raises:
        ThrongError: `topics` if there is no such topic.
    """
    seen = Seen()
    following: dict[int, dict[int, int]] = {}
    reader = TailReader(settings.kafka, settings.topic(SIGHTINGS))
    await reader.start()
    try:
        async for records in reader.read_to_end():
            for record in records:
                _take(seen, following.setdefault(record.partition, {}), record.value)
    finally:
        await reader.stop()
    return seen


def _take(seen: Seen, following: dict[int, int], value: bytes | None) -> None:
    try:
        frame = decode_frame(value or b"")
    except Foreign:
        return  # as a crowd does
    if isinstance(frame, Control):
        return
    for section in frame:
        what, first = link(following, section.source, section.from_, section.to, bool(section.flags & GENESIS))
        if what is Link.TAKEN:
            following[section.source] = section.to
            if section.source < REGISTRY_SOURCE:  # opt-outs and opt-ins are no sightings
                seen.add_section(section, first)
