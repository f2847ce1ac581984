"""Event notifications of a 5G core's AMF (3GPP TS 29.518, Namf_EventExposure): `AmfEventNotification.reportList[]`.

In: a notification a line, or an array of them; a small .json file may be one value over many lines. Out: a draft a
report. What a report's type says of the kind:
    LOCATION_REPORT            update
    REGISTRATION_STATE_REPORT  attach if it is registered, detach if it isn't (`rmInfoList`)
    CONNECTIVITY_STATE_REPORT  service if it is connected (`cmInfoList`); idle says nothing new
    REACHABILITY_REPORT        service if it is reachable
    LOSS_OF_CONNECTIVITY       detach if it deregistered or was purged; a mere silence is left to the rule of silence
A detach names no place and needs none.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from streams.importing.drafts import Draft, Unusable
from streams.importing.mapping import TAC_DIGITS, time_ms
from streams.importing.reading import UNREADABLE, lines_of, unreadable, value_of, whole_of

GONE: Final = ("DEREGISTERED", "PURGED")
# What a core written in Go sends where it has no time.
NO_TIME: Final = "0001-01-01T00:00:00Z"
_UTC: Final = ZoneInfo("UTC")
_IMSI: Final = re.compile(r"imsi-[0-9]{5,15}")  # TS 29.571, Supi


def drafts_of(path: Path) -> Iterator[tuple[str, Draft | Unusable]]:
    """Each report's draft, or why it makes none, with where it stands."""
    try:
        for number, notifications in _values(path):
            where = f"{path.name}:{number}"
            if notifications is None:
                yield where, Unusable("no JSON on one line")
                continue
            for notification in notifications if isinstance(notifications, list) else [notifications]:
                yield from _reports(where, notification)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """Lines with their numbers, or the file as a whole if it is one JSON value; None where a line is none."""
    if (whole := whole_of(path)) is not None:
        yield 1, whole
        return
    yield from ((number, value_of(line)) for number, line in lines_of(path))


def _reports(where: str, notification: Any) -> Iterator[tuple[str, Draft | Unusable]]:
    reports = notification.get("reportList") if isinstance(notification, Mapping) else None
    if not isinstance(reports, list) or not reports:
        yield where, Unusable("no reportList")
        return
    for index, report in enumerate(reports, 1):
        each = f"{where}.{index}"
        try:
            yield each, _draft(each, report)
        except Unusable as unusable:
            yield each, unusable


def _draft(where: str, report: Any) -> Draft:
    if not isinstance(report, Mapping):
        raise Unusable("a report that is no object")
    supi = report.get("supi")
    if not isinstance(supi, str) or not _IMSI.fullmatch(supi):
        raise Unusable("no supi that is an IMSI")
    kind = _kind(report)
    cell, rat, seen = _cell(report.get("location"))
    if not cell and kind != "detach":
        raise Unusable("no cell in the location")
    # A location may be older than the report: an update is of when the phone was seen there.
    stamp = seen if kind == "update" and seen else report.get("timeStamp")
    if not isinstance(stamp, str):
        raise Unusable("no time")
    pei = str(report.get("pei") or "")
    tac = pei.partition("-")[2][:TAC_DIGITS] if pei.startswith(("imei-", "imeisv-")) else ""
    tac = tac if len(tac) == TAC_DIGITS and tac.isdigit() else ""
    return Draft(
        where, supi.removeprefix("imsi-"), time_ms(stamp, "auto", _UTC), cell, math.nan, math.nan, kind, tac, rat
    )


def _kind(report: Mapping[str, Any]) -> str:
    kind = str(report.get("type"))
    if kind == "LOCATION_REPORT":
        return "update"
    if kind == "REGISTRATION_STATE_REPORT":
        states = _states(report, "rmInfoList", "rmState")
        return "attach" if "REGISTERED" in states else _only("detach", "DEREGISTERED" in states)
    if kind == "CONNECTIVITY_STATE_REPORT":
        return _only("service", "CONNECTED" in _states(report, "cmInfoList", "cmState"))
    if kind == "REACHABILITY_REPORT":
        return _only("service", report.get("reachability") == "REACHABLE")
    if kind == "LOSS_OF_CONNECTIVITY":
        return _only("detach", report.get("lossOfConnectReason") in GONE)
    raise Unusable("a type of report that tells of no place")


def _only(kind: str, holds: bool) -> str:
    if not holds:
        raise Unusable("a state that is no event: idle, unreachable or silent")
    return kind


def _states(report: Mapping[str, Any], name: str, state: str) -> set[str]:
    listed = report.get(name)
    return {str(each.get(state)) for each in listed if isinstance(each, Mapping)} if isinstance(listed, list) else set()


def _cell(location: Any) -> tuple[str, str, str]:
    """(cell, rat, when it was seen there), '' where it isn't told: `UserLocation` of TS 29.571."""
    if not isinstance(location, Mapping):
        return "", "", ""
    for part, name, identity, rat, digits in (
        ("nrLocation", "ncgi", "nrCellId", "nr", 9),
        ("eutraLocation", "ecgi", "eutraCellId", "lte", 7),
    ):
        inner = location.get(part)
        of = inner.get(name) if isinstance(inner, Mapping) else None
        plmn = of.get("plmnId") if isinstance(of, Mapping) else None
        if isinstance(inner, Mapping) and isinstance(of, Mapping) and isinstance(plmn, Mapping):
            cell = f"{plmn.get('mcc')}-{plmn.get('mnc')}-{str(of.get(identity)).zfill(digits).upper()}"
            seen = str(inner.get("ueLocationTimestamp") or "")
            return cell, rat, seen if seen != NO_TIME else ""
    return "", "", ""
