package peers;

import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The zone of each cell: an open-addressing table of cells as numbers, as {@code schemas/attach.py} packs them. */
public final class Cells implements Serializable {
    private static final long serialVersionUID = 1;

    public static final int UNKNOWN = -1;
    public static final long NOT_A_CELL = 0;

    private final long[] cells;
    private final int[] zones;

    /** Read {@code cell,zone} lines, the first of which may be a header. */
    public static Cells read(Path file) throws IOException {
        List<String> lines = Files.readAllLines(file, StandardCharsets.US_ASCII);
        Cells read = new Cells(lines.size());
        for (int i = 0; i < lines.size(); i++) {
            String[] columns = lines.get(i).trim().split(",");
            byte[] text = columns[0].getBytes(StandardCharsets.US_ASCII);
            long cell = pack(text, 0, text.length);
            if (cell != NOT_A_CELL && columns.length == 2) {
                read.put(cell, Integer.parseInt(columns[1].trim()));
            } else if (i > 0) {
                throw new IOException(file + ", line " + (i + 1) + ": expected cell,zone");
            }
        }
        return read;
    }

    private Cells(int count) {
        int slots = Integer.highestOneBit(Math.max(count, 4)) * 4;
        cells = new long[slots];
        zones = new int[slots];
    }

    private void put(long cell, int zone) {
        if (zone < 0 || zone >= Sightings.ZONES) {
            throw new IllegalArgumentException("a zone is a number from 0 to " + (Sightings.ZONES - 1));
        }
        int slot = slot(cell);
        cells[slot] = cell;
        zones[slot] = zone;
    }

    /** The zone of a packed cell, or UNKNOWN. */
    public int zone(long cell) {
        int slot = slot(cell);
        return cells[slot] == cell ? zones[slot] : UNKNOWN;
    }

    private int slot(long cell) {
        int mask = cells.length - 1;
        int slot = (int) (cell * 0x9E3779B97F4A7C15L >>> 32) & mask;
        while (cells[slot] != 0 && cells[slot] != cell) {
            slot = slot + 1 & mask;
        }
        return slot;
    }

    /**
     * A cell's text as a number, or NOT_A_CELL: {@code 1 << 62 | type << 58 | MCC << 48 | 3-digit MNC << 47 | MNC << 37
     * | identity}.
     */
    public static long pack(byte[] text, int from, int to) {
        int mcc = decimal(text, from, from + 3, to);
        int hyphen = from + 6 < to && text[from + 6] == '-' ? from + 6 : from + 7;
        int mnc = decimal(text, from + 4, hyphen, to);
        if (mcc < 0 || mnc < 0 || hyphen >= to || text[from + 3] != '-' || text[hyphen] != '-') {
            return NOT_A_CELL;
        }
        int length = to - hyphen - 1;
        boolean cgi = length == 9 && text[hyphen + 5] == '-';
        int type = cgi ? 0 : length == 7 ? 1 : length == 9 ? 2 : -1;
        if (type < 0) {
            return NOT_A_CELL;
        }
        long identity = 0;
        for (int i = hyphen + 1; i < to; i++) {
            if (cgi && i == hyphen + 5) {
                continue;
            }
            int digit = hexadecimal(text[i]);
            if (digit < 0) {
                return NOT_A_CELL;
            }
            identity = identity << 4 | digit;
        }
        long longMnc = hyphen == from + 7 ? 1 : 0;
        return 1L << 62 | (long) type << 58 | (long) mcc << 48 | longMnc << 47 | (long) mnc << 37 | identity;
    }

    private static int decimal(byte[] text, int from, int to, int end) {
        if (to > end) {
            return -1;
        }
        int number = 0;
        for (int i = from; i < to; i++) {
            int digit = text[i] - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            number = 10 * number + digit;
        }
        return number;
    }

    private static int hexadecimal(byte letter) {
        if (letter >= '0' && letter <= '9') {
            return letter - '0';
        }
        int lower = letter | 0x20;
        return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    }
}
