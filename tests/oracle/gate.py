"""From raw records to sightings, rejects and drops, one event at a time, as docs/reference/semantics.md says."""

import json
import re
from bisect import bisect_right
from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.oracle.counting import DETACH, Sighting

KINDS = ["update", "attach", "handover", "service", "detach"]
RATS = {"gsm", "umts", "lte", "nr", "GSM", "UMTS", "LTE", "NR"}
KNOWN = {"event_id", "imsi", "ts", "cell", "kind", "msisdn", "tac", "rat"}
BANDS = [18, 25, 35, 45, 55, 65]
GENDERS = ["unknown", "female", "male", "other"]
LIMIT = 262_144
# What is between commas: texts whole, and objects without others in them, so that what is in these is no mark.
TEXT = rb'"(?:[^"\\]++|\\.)*+"'
MARKS = re.compile(rb"\{(?:[^][{}\"]++|%b)*+\}|%b?|[][{},]" % (TEXT, TEXT), re.DOTALL)
DECODER = json.JSONDecoder(object_pairs_hook=lambda pairs: ("object", pairs), parse_constant=int)
HEX = r"[0-9A-Fa-f]"
IMSI = re.compile(r"(001|[2-7]\d\d)\d{11,12}", re.ASCII)
CELL = re.compile(rf"\d{{3}}-\d{{2,3}}-({HEX}{{4}}-{HEX}{{4}}|{HEX}{{7}}|{HEX}{{9}})", re.ASCII)

MSISDN = re.compile(r"\+?\d{5,15}", re.ASCII)
TAC = re.compile(r"\d{8}", re.ASCII)


class Bad(Exception):  # noqa: N818
    pass


class Gate(NamedTuple):
    """`rejects`: (partition, offset, index) -> reason; `until`: the watermark in the end."""

    sightings: list
    rejects: dict
    drops: Counter
    events: int
    until: int


def screen(log, registry, policy, plan, epochs, lateness_ms, machines=()):
    """`log`: (partition, offset, record time, value or None) in each partition's order.

    `policy`: dict of `mcc`, `home`, `minimum_age`, `purpose`, `excluded`, `suspended` (MCCs). `machines`: TACs.
    """
    zones = {zone["id"]: number for number, zone in enumerate(plan["zones"])}
    kinds = [zone.get("kind", "") for zone in plan["zones"]]
    cells = {cell["cell"].upper(): zones.get(cell["zone"]) for cell in plan["cells"]}
    newest, sightings, rejects, drops, events = {}, [], {}, Counter(), 0
    for partition, offset, time, value in log:
        newest[partition] = max(newest.get(partition, time), time)
        for index, read in enumerate(read_record(value)):
            if read == "beat":
                continue
            events += 1
            if isinstance(read, str):
                rejects[partition, offset, index] = read
                continue
            imsi, ts, cell, kind, tac = read
            verdict = judge(imsi, ts, cell, time, newest[partition] - lateness_ms, registry, policy, cells, epochs)
            if verdict in ("clock_error", "too_late", "unknown_cell"):
                rejects[partition, offset, index] = verdict
            elif isinstance(verdict, str):
                drops[verdict] += 1
            elif tac in machines:
                drops["machine"] += 1
            else:
                zone = cells[cell.upper()]
                if zone is None or kinds[zone] in policy["excluded"]:
                    zone, kind = 0, DETACH
                sightings.append(Sighting(ts, partition, offset, index, imsi, zone, verdict, kind))
    return Gate(sightings, rejects, drops, events, min(newest.values()) - lateness_ms)


def judge(imsi, ts, cell, time, complete, registry, policy, cells, epochs):
    """The cohort of a good event, or why it is refused or dropped."""
    if imsi[:3] in policy["suspended"]:
        return "suspended"
    if ts > time + 60_000:
        return "clock_error"
    if ts < complete or ts < epochs[0]["opens_ms"]:
        return "too_late"
    if cell.upper() not in cells:
        return "unknown_cell"
    if imsi[:3] != policy["mcc"] or imsi[:5] != policy["home"]:
        return "roamer"
    person = registry.get(imsi)
    if person is None:
        return "no_record"
    if person["opted_out"]:
        return "opted_out"
    epoch = next(e for e in epochs if e["start_ms"] <= ts < e["end_ms"])
    age = epoch["epoch"] // 10_000 - person["birth_year"] if person["birth_year"] else 0
    if age < policy["minimum_age"]:
        return "under_age"
    if person["consent"].get(policy["purpose"]) != "granted":
        return "no_consent"
    if person.get("machine"):
        return "registered_machine"
    return bisect_right(BANDS, age) * 4 + GENDERS.index(person["gender"] or "unknown")


def read_record(value):
    """For each event of a record: "beat", a reason, or (imsi, ts, cell, kind, tac)."""
    if value is None:
        return ["null_value"]
    if len(value) > LIMIT:
        return ["oversized"]
    if not value.strip(b" \t\r\n"):
        return ["empty"]
    if not value.lstrip(b" \t\r\n").startswith(b"["):
        return [read_event(value)]
    return [read_event(part) for part in elements(value)] or ["empty"]


def elements(value):
    """The pieces between an array's own commas."""
    start = value.index(b"[") + 1
    parts, depth, closed = [], 0, False
    for mark in MARKS.finditer(value, start):
        if mark[0] in (b"{", b"["):
            depth += 1
        elif mark[0] in (b"}", b"]") and depth:
            depth -= 1
        elif mark[0] in (b",", b"]") and not depth:
            parts.append(value[start : mark.start()])
            start = mark.end()
            closed = mark[0] == b"]"
        if closed:
            break
    if not closed:
        return [*parts, value[start:]]
    if len(parts) == 1 and not parts[0].strip(b" \t\r\n"):
        parts = []
    rest = value[start:].strip(b" \t\r\n")
    return [*parts, b"]" + rest] if rest else parts


def read_event(raw):
    try:
        return check_event(raw)
    except Bad as bad:
        return str(bad)


def check_event(raw):
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Bad("encoding") from None
    try:
        pairs = DECODER.decode(text)
    except (ValueError, RecursionError):
        raise Bad("not_json") from None
    if not isinstance(pairs, tuple):
        raise Bad("not_an_object")
    pairs = [(name, value) for name, value in pairs[1] if name in KNOWN]
    event = dict(pairs)
    if len(event) < len(pairs):
        raise Bad("duplicate_key")
    event = {name: value for name, value in event.items() if value is not None}
    if event.get("kind") == "beat":
        return "beat"
    if not {"event_id", "imsi", "ts", "cell"} <= event.keys():
        raise Bad("missing_field")
    for name, value in event.items():
        if type(value) not in ((int, str) if name == "ts" else (str,)):
            raise Bad("wrong_type")
    if not 1 <= len(event["event_id"]) <= 64:
        raise Bad("bad_event_id")
    if not IMSI.fullmatch(event["imsi"]):
        raise Bad("bad_imsi")
    ts = event["ts"] if isinstance(event["ts"], int) else rfc3339(event["ts"])
    if not 946684800000 <= ts < 4102444800000:
        raise Bad("out_of_range")
    if not CELL.fullmatch(event["cell"]):
        raise Bad("bad_cell")
    if event.get("kind", "update") not in KINDS:
        raise Bad("bad_kind")
    if not MSISDN.fullmatch(event.get("msisdn", "12345")):
        raise Bad("bad_msisdn")
    if not TAC.fullmatch(event.get("tac", "12345678")):
        raise Bad("bad_tac")
    if event.get("rat", "lte") not in RATS:
        raise Bad("bad_rat")
    return event["imsi"], ts, event["cell"], KINDS.index(event.get("kind", "update")), event.get("tac")


def rfc3339(text):
    form = r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)"
    found = re.fullmatch(form, text, re.ASCII)
    if not found:
        raise Bad("bad_time")
    day, minute, second, fraction, zone = found.groups()
    if second == "60":
        second, fraction = "59", ".999"
    try:
        if zone not in "Zz" and (int(zone[1:3]) > 23 or int(zone[4:]) > 59):
            raise ValueError
        moment = datetime.fromisoformat(f"{day}T{minute}:{second}{'+00:00' if zone in 'Zz' else zone}")
        moment = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    except (ValueError, OverflowError):
        raise Bad("bad_time") from None
    return moment // timedelta(milliseconds=1) + int(((fraction or ".0")[1:4]).ljust(3, "0"))
