package peers;

import java.util.Arrays;

/**
 * Sightings as packed rows of two longs: the subscriber's pseudonym (0 for a rejected event), and {@code pane << 16 |
 * zone}. Sixteen bytes each, and no object.
 */
public final class Sightings {
    public static final int ZONES = 1000;
    public static final long REJECTED = 0;
    public static final int ROW_BYTES = 16;

    private static final int ZONE_BITS = 16;

    public long[] rows;
    public int count;
    /** The latest event time among them (ms), or Long.MIN_VALUE. */
    public long latest = Long.MIN_VALUE;
    /** Whom they are for: the same for all whose pseudonyms begin alike (Flink's key). */
    public int shard;

    public Sightings(int capacity) {
        rows = new long[2 * capacity];
    }

    public void clear() {
        count = 0;
        latest = Long.MIN_VALUE;
    }

    public void add(long pseudonym, long where) {
        if (2 * count == rows.length) {
            rows = Arrays.copyOf(rows, 2 * rows.length);
        }
        rows[2 * count] = pseudonym;
        rows[2 * count + 1] = where;
        count++;
    }

    public static long where(int pane, int zone) {
        return (long) pane << ZONE_BITS | zone;
    }

    public static int pane(long where) {
        return (int) (where >> ZONE_BITS);
    }

    public static int zone(long where) {
        return (int) where & (1 << ZONE_BITS) - 1;
    }
}
