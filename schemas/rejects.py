"""The `rejects` topic: what was refused, with its raw bytes, position and reason. Internal: values carry identifiers.

The record's value is the bytes of the event (an element of an array), of the whole record or of a batch; headers, as
ASCII text: `reason` (a name of `Reason`), `topic`, `partition`, `offset`, `index` (place in the array, from 0).
"""

from enum import IntEnum


class Reason(IntEnum):
    """Why an event was refused. The names are the contract; docs/reference/rejects.md says what each means."""

    OK = 0
    BEAT = 1
    not_json = 2
    encoding = 3
    not_an_object = 4
    empty = 5
    null_value = 6
    oversized = 7
    missing_field = 8
    wrong_type = 9
    duplicate_key = 10
    out_of_range = 11
    bad_imsi = 12
    bad_msisdn = 13
    bad_tac = 14
    bad_cell = 15
    bad_kind = 16
    bad_rat = 17
    bad_time = 18
    bad_event_id = 19
    unknown_cell = 20
    too_late = 21
    clock_error = 22
    salt_gone = 23
    malformed = 24


MEANING: dict[Reason, str] = {
    Reason.not_json: "not JSON, or cut off",
    Reason.encoding: "bytes that are not UTF-8",
    Reason.not_an_object: "JSON, but neither an object nor an array of objects",
    Reason.empty: "no bytes, or an empty array",
    Reason.null_value: "a record without a value",
    Reason.oversized: "a record longer than gateway.max_record_bytes",
    Reason.missing_field: "event_id, imsi, ts or cell is missing",
    Reason.wrong_type: "a field of the wrong JSON type",
    Reason.duplicate_key: "a known field is there twice",
    Reason.out_of_range: "ts before 2000 or after 2099",
    Reason.bad_imsi: "imsi is not 14 or 15 digits with the MCC 001 or 200 to 799",
    Reason.bad_msisdn: "msisdn is not 5 to 15 digits, with or without a plus",
    Reason.bad_tac: "tac is not 8 digits",
    Reason.bad_cell: "cell is not the text form of a CGI, ECGI or NCGI",
    Reason.bad_kind: "kind is none of update, attach, handover, service, detach, beat",
    Reason.bad_rat: "rat is none of gsm, umts, lte, nr",
    Reason.bad_time: "ts is text, but not a time by RFC 3339",
    Reason.bad_event_id: "event_id is empty or longer than 64 characters",
    Reason.unknown_cell: "the zone plan doesn't know the cell",
    Reason.too_late: "older than the source's latest record time less the lateness",
    Reason.clock_error: "more than 60 s after its own record's time",
    Reason.salt_gone: "its epoch's salt has been destroyed",
    Reason.malformed: "a batch of records whose lengths don't fit its bytes, whole",
}
