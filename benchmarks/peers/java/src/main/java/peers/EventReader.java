package peers;

import java.nio.charset.StandardCharsets;

/**
 * Attach events (schemas/attach.py) from the bytes of a Kafka record's value, one JSON object or an array of them, to
 * sightings: parsed, checked, hashed and placed in one pass without an object.
 *
 * <p>Fields may come in any order, unknown ones are skipped whatever they hold, and a broken element of an array leaves
 * its neighbours whole. Checked are JSON's structure and the fields that the job needs: event_id, imsi, ts and cell.
 * An escape in the text of one of these counts as a wrong value. Not for several threads at a time.
 */
public final class EventReader {
    private static final long EARLIEST_MS = 946_684_800_000L;
    private static final long LATEST_MS = 4_102_444_800_000L;

    private static final int EVENT_ID = 1;
    private static final int IMSI = 2;
    private static final int TS = 4;
    private static final int CELL = 8;
    private static final int ALL = EVENT_ID | IMSI | TS | CELL;
    private static final int KIND = 16;
    private static final int OTHER = 0;

    private static final long EVENT_ID_TEXT = word("event_id");
    private static final int IMSI_TEXT = (int) word("imsi");
    private static final int CELL_TEXT = (int) word("cell");
    private static final int KIND_TEXT = (int) word("kind");
    private static final int BEAT_TEXT = (int) word("beat");

    private static final int BROKEN = -1;
    private static final long EACH = 0x0101010101010101L; // times a byte: that byte eight times
    private static final long HIGH = 0x80 * EACH;

    private final Cells cells;
    private final Hash hash;
    private final long startMs;
    private final long paneMs;

    private byte[] value;
    private int end;
    // The element at hand: which fields it has, whether one is wrong, and their values.
    private int seen;
    private boolean wrong;
    private boolean beat;
    private boolean escaped;
    private long imsiFirst;
    private long imsiSecond;
    private int imsiLength;
    private long ts;
    private long cell;
    private int lastPane;

    public EventReader(Cells cells, Hash hash, long startMs, long paneMs) {
        this.cells = cells;
        this.hash = hash;
        this.startMs = startMs;
        this.paneMs = paneMs;
    }

    /** Append all events of a record's value, rejected ones included, to {@code out}. */
    public void read(byte[] record, Sightings out) {
        value = record;
        end = record == null ? 0 : record.length;
        int at = skipSpace(0);
        if (at < end && value[at] == '[') {
            readArray(at + 1, out);
            return;
        }
        begin();
        int next = at < end ? readElement(at) : BROKEN;
        finish(next != BROKEN && skipSpace(next) == end, out);
    }

    private void readArray(int from, Sightings out) {
        int at = skipSpace(from);
        boolean last = at < end && value[at] == ']'; // nothing in it: one reject
        while (at < end && !last) {
            begin();
            int next = readElement(at);
            next = next == BROKEN ? BROKEN : skipSpace(next);
            boolean whole = next != BROKEN && (next == end || value[next] == ',' || value[next] == ']');
            finish(whole, out);
            next = whole ? next : skipNested(at);
            while (next < end && value[next] == '}') {
                next = skipNested(next + 1);
            }
            if (next == end) {
                return; // it breaks off behind an element
            }
            last = value[next] == ']';
            at = skipSpace(next + 1);
        }
        if (!last || at < end) {
            begin();
            finish(false, out);
        }
    }

    private void begin() {
        seen = 0;
        wrong = false;
        beat = false;
        ts = Long.MIN_VALUE;
    }

    private void finish(boolean whole, Sightings out) {
        if (whole && beat) {
            return;
        }
        boolean timed = ts >= EARLIEST_MS && ts < LATEST_MS;
        int pane = timed ? (int) Math.floorDiv(ts - startMs, paneMs) : lastPane;
        lastPane = pane;
        int zone = whole && timed && !wrong && seen == ALL ? cells.zone(cell) : Cells.UNKNOWN;
        if (zone == Cells.UNKNOWN) {
            out.add(Sightings.REJECTED, Sightings.where(pane, 0));
            return;
        }
        out.latest = Math.max(out.latest, ts);
        out.add(hash.of(imsiFirst, imsiSecond, imsiLength), Sightings.where(pane, zone));
    }

    /** Read the object at {@code at}: the index behind it, or BROKEN. */
    private int readElement(int at) {
        if (value[at] != '{') {
            return BROKEN;
        }
        at = skipSpace(at + 1);
        if (at < end && value[at] == '}') {
            return at + 1;
        }
        while (at < end && value[at] == '"') {
            int close = closingQuote(at + 1);
            if (close == BROKEN) {
                return BROKEN;
            }
            int field = field(at + 1, close);
            at = skipSpace(close + 1);
            if (at >= end || value[at] != ':') {
                return BROKEN;
            }
            at = skipSpace(at + 1);
            at = at < end ? readValue(field, at) : BROKEN;
            if (at == BROKEN) {
                return BROKEN;
            }
            at = skipSpace(at);
            if (at >= end) {
                return BROKEN;
            }
            if (value[at] == '}') {
                return at + 1;
            }
            if (value[at] != ',') {
                return BROKEN;
            }
            at = skipSpace(at + 1);
        }
        return BROKEN;
    }

    private int field(int from, int to) {
        switch (to - from) {
            case 2:
                return value[from] == 't' && value[from + 1] == 's' ? TS : OTHER;
            case 4:
                int name = Bytes.getInt(value, from);
                return name == IMSI_TEXT ? IMSI : name == CELL_TEXT ? CELL : name == KIND_TEXT ? KIND : OTHER;
            case 8:
                return Bytes.getLong(value, from) == EVENT_ID_TEXT ? EVENT_ID : OTHER;
            default:
                return OTHER;
        }
    }

    private int readValue(int field, int at) {
        if (field == OTHER) {
            return skipValue(at);
        }
        wrong |= (seen & field) != 0; // it twice
        if (field == TS) {
            seen |= TS;
            return readTime(at);
        }
        if (value[at] != '"') {
            wrong |= field != KIND;
            return skipValue(at);
        }
        int from = at + 1;
        int close = closingQuote(from);
        if (close == BROKEN) {
            return BROKEN;
        }
        if (field == KIND) {
            beat = close - from == 4 && Bytes.getInt(value, from) == BEAT_TEXT;
            return close + 1;
        }
        seen |= field;
        if (field == IMSI) {
            wrong |= escaped || !readImsi(from, close - from);
        } else if (field == CELL) {
            cell = Cells.pack(value, from, close);
            wrong |= cell == Cells.NOT_A_CELL;
        } else {
            wrong |= close == from || close - from > 64 && !escaped && codePoints(from, close) > 64;
        }
        return close + 1;
    }

    /** 14 or 15 digits that begin with 001 or 2 to 7, as two little-endian words. */
    private boolean readImsi(int from, int length) {
        if (length < 14 || length > 15) {
            return false;
        }
        imsiFirst = Bytes.getLong(value, from);
        long tail = Bytes.getLong(value, from + length - 8);
        imsiSecond = tail >>> 8 * (16 - length);
        imsiLength = length;
        boolean test = value[from] == '0' && value[from + 1] == '0' && value[from + 2] == '1';
        return areDigits(imsiFirst) && areDigits(tail) && (test || value[from] >= '2' && value[from] <= '7');
    }

    private static boolean areDigits(long word) {
        return ((word + 0x46 * EACH | word - 0x30 * EACH) & HIGH) == 0;
    }

    private int readTime(int at) {
        int from = at;
        long number = 0;
        while (at < end && value[at] >= '0' && value[at] <= '9' && at - from < 18) {
            number = 10 * number + value[at] - '0';
            at++;
        }
        boolean ended = at < end && (value[at] == ',' || value[at] == '}' || isSpace(value[at]));
        if (at == from || !ended) {
            wrong = true;
            return skipValue(from);
        }
        ts = number;
        return at;
    }

    private int codePoints(int from, int to) {
        int count = 0;
        for (int i = from; i < to; i++) {
            count += (value[i] & 0xC0) != 0x80 ? 1 : 0;
        }
        return count;
    }

    // Skipping.

    private int skipSpace(int at) {
        while (at < end && isSpace(value[at])) {
            at++;
        }
        return at;
    }

    private static boolean isSpace(byte letter) {
        return letter == ' ' || letter == '\n' || letter == '\r' || letter == '\t';
    }

    /** The index of the quote that ends the text from {@code at} on, or BROKEN; notes whether it has escapes. */
    private int closingQuote(int at) {
        escaped = false;
        while (at < end) {
            if (at + 8 <= end) {
                long word = Bytes.getLong(value, at);
                long quote = word ^ '"' * EACH;
                long slash = word ^ '\\' * EACH;
                // The lowest marked byte is the first quote, backslash or control character.
                long marks = (quote - EACH & ~quote | slash - EACH & ~slash | word - 0x20 * EACH & ~word) & HIGH;
                if (marks == 0) {
                    at += 8;
                    continue;
                }
                at += Long.numberOfTrailingZeros(marks) >>> 3;
            }
            byte letter = value[at];
            if (letter == '"') {
                return at;
            }
            if (letter >= 0 && letter < 0x20) {
                return BROKEN;
            }
            escaped |= letter == '\\';
            at += letter == '\\' ? 2 : 1;
        }
        return BROKEN;
    }

    private int skipValue(int at) {
        byte letter = value[at];
        if (letter == '"') {
            int close = closingQuote(at + 1);
            return close == BROKEN ? BROKEN : close + 1;
        }
        if (letter == '{' || letter == '[') {
            int behind = skipNested(at);
            return behind < end ? behind : BROKEN;
        }
        int from = at;
        while (at < end && value[at] != ',' && value[at] != '}' && value[at] != ']' && !isSpace(value[at])) {
            at++;
        }
        return at > from ? at : BROKEN;
    }

    /** The first comma or closing bracket outside of texts and inner brackets, or the end. */
    private int skipNested(int at) {
        int depth = 0;
        while (at < end) {
            byte letter = value[at];
            if (letter == '"') {
                at++;
                while (at < end && value[at] != '"') {
                    at += value[at] == '\\' ? 2 : 1;
                }
            } else if (letter == '{' || letter == '[') {
                depth++;
            } else if (letter == '}' || letter == ']') {
                if (depth == 0) {
                    return at;
                }
                depth--;
            } else if (letter == ',' && depth == 0) {
                return at;
            }
            at++;
        }
        return end;
    }

    private static long word(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
        return Bytes.getTail(bytes, 0, bytes.length);
    }
}
