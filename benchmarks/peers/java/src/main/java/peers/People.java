package peers;

/**
 * Where each subscriber was heard last: an open-addressing table from pseudonym to {@code pane << 16 | zone}, key and
 * value side by side, so that a look-up costs one cache miss. At most three quarters full; it grows by doubling.
 */
public final class People {
    public static final long NONE = Long.MIN_VALUE;

    private static final int LEAST_SLOTS = 64;

    private long[] slots;
    private int size;

    public People() {
        this(LEAST_SLOTS);
    }

    private People(int count) {
        slots = new long[2 * count];
    }

    /** Note where a subscriber is, and tell where they were: NONE if they were never heard. */
    public long move(long pseudonym, long where) {
        int slot = slot(slots, pseudonym);
        if (slots[slot] == pseudonym) {
            long before = slots[slot + 1];
            slots[slot + 1] = where;
            return before;
        }
        slots[slot] = pseudonym;
        slots[slot + 1] = where;
        if (++size > slots.length / 8 * 3) {
            grow();
        }
        return NONE;
    }

    public int size() {
        return size;
    }

    /** Key and value of each subscriber, one after the other. */
    public long[] rows() {
        long[] rows = new long[2 * size];
        int at = 0;
        for (int slot = 0; slot < slots.length; slot += 2) {
            if (slots[slot] != 0) {
                rows[at++] = slots[slot];
                rows[at++] = slots[slot + 1];
            }
        }
        return rows;
    }

    public People copy() {
        People copied = new People(0);
        copied.slots = slots.clone();
        copied.size = size;
        return copied;
    }

    private void grow() {
        long[] larger = new long[2 * slots.length];
        for (int from = 0; from < slots.length; from += 2) {
            if (slots[from] != 0) {
                int to = slot(larger, slots[from]);
                larger[to] = slots[from];
                larger[to + 1] = slots[from + 1];
            }
        }
        slots = larger;
    }

    /** Where a pseudonym is or belongs. Pseudonyms are evenly spread as they are. */
    private static int slot(long[] slots, long pseudonym) {
        int mask = slots.length - 2;
        int slot = (int) (pseudonym << 1) & mask;
        while (slots[slot] != 0 && slots[slot] != pseudonym) {
            slot = slot + 2 & mask;
        }
        return slot;
    }
}
