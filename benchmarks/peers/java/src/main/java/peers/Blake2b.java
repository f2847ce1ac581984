package peers;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * BLAKE2b (RFC 7693) of short texts. The key fills the first block, so its compression is done once, and a text costs
 * one more. Not for several threads at a time.
 */
public final class Blake2b implements Hash {
    private static final long serialVersionUID = 1;
    private static final int BLOCK = 128;
    private static final int ROUNDS = 12;
    private static final long[] IV = {
        0x6A09E667F3BCC908L, 0xBB67AE8584CAA73BL, 0x3C6EF372FE94F82BL, 0xA54FF53A5F1D36F1L,
        0x510E527FADE682D1L, 0x9B05688C2B3E6C1FL, 0x1F83D9ABFB41BD6BL, 0x5BE0CD19137E2179L,
    };
    private static final byte[][] SIGMA = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
        {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
        {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
        {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
        {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    };
    /** Where message words 0 and 1 enter, round after round: all that a text of 16 bytes has. */
    private static final int[] FIRST = positions(0);
    private static final int[] SECOND = positions(1);

    private final long[] start = new long[8];
    private final long keyed; // bytes before the text
    private final long[] schedule = new long[ROUNDS * 16];
    private final long[] out = new long[8];

    /** A hash of {@code size} bytes with a key of up to 64 (or none) and a personalisation of up to 16. */
    public Blake2b(byte[] key, int size, String person) {
        byte[] personal = new byte[16];
        byte[] text = person.getBytes(StandardCharsets.US_ASCII);
        System.arraycopy(text, 0, personal, 0, text.length);
        System.arraycopy(IV, 0, start, 0, 8);
        start[0] ^= size | key.length << 8 | 1 << 16 | 1 << 24;
        start[6] ^= Bytes.getLong(personal, 0);
        start[7] ^= Bytes.getLong(personal, 8);
        keyed = key.length > 0 ? BLOCK : 0;
        if (keyed > 0) {
            byte[] block = new byte[BLOCK];
            System.arraycopy(key, 0, block, 0, key.length);
            for (int r = 0; r < ROUNDS; r++) {
                for (int i = 0; i < 16; i++) {
                    schedule[16 * r + i] = Bytes.getLong(block, 8 * SIGMA[r][i]);
                }
            }
            compress(BLOCK, 0);
            System.arraycopy(out, 0, start, 0, 8);
            Arrays.fill(schedule, 0);
        }
    }

    private Blake2b(Blake2b other) {
        System.arraycopy(other.start, 0, start, 0, 8);
        keyed = other.keyed;
    }

    @Override
    public long of(long first, long second, int length) {
        digest(first, second, length);
        return out[0] == 0 ? 1 : out[0];
    }

    @Override
    public Hash copy() {
        return new Blake2b(this);
    }

    /** All eight words of a text's hash, valid until the next call. */
    long[] digest(long first, long second, int length) {
        for (int r = 0; r < ROUNDS; r++) {
            schedule[FIRST[r]] = first;
            schedule[SECOND[r]] = second;
        }
        compress(keyed + length, -1);
        return out;
    }

    private static int[] positions(int word) {
        int[] found = new int[ROUNDS];
        for (int r = 0; r < ROUNDS; r++) {
            for (int i = 0; i < 16; i++) {
                if (SIGMA[r][i] == word) {
                    found[r] = 16 * r + i;
                }
            }
        }
        return found;
    }

    /** The function F (3.2) of the message words in {@code schedule}, the mixing function G (3.1) written out. */
    private void compress(long counter, long last) {
        final long[] m = schedule;
        long v0 = start[0], v1 = start[1], v2 = start[2], v3 = start[3];
        long v4 = start[4], v5 = start[5], v6 = start[6], v7 = start[7];
        long v8 = IV[0], v9 = IV[1], v10 = IV[2], v11 = IV[3];
        long v12 = IV[4] ^ counter, v13 = IV[5], v14 = IV[6] ^ last, v15 = IV[7];
        for (int i = 0; i < ROUNDS * 16; i += 16) {
            v0 += v4 + m[i];
            v12 = Long.rotateRight(v12 ^ v0, 32);
            v8 += v12;
            v4 = Long.rotateRight(v4 ^ v8, 24);
            v0 += v4 + m[i + 1];
            v12 = Long.rotateRight(v12 ^ v0, 16);
            v8 += v12;
            v4 = Long.rotateRight(v4 ^ v8, 63);

            v1 += v5 + m[i + 2];
            v13 = Long.rotateRight(v13 ^ v1, 32);
            v9 += v13;
            v5 = Long.rotateRight(v5 ^ v9, 24);
            v1 += v5 + m[i + 3];
            v13 = Long.rotateRight(v13 ^ v1, 16);
            v9 += v13;
            v5 = Long.rotateRight(v5 ^ v9, 63);

            v2 += v6 + m[i + 4];
            v14 = Long.rotateRight(v14 ^ v2, 32);
            v10 += v14;
            v6 = Long.rotateRight(v6 ^ v10, 24);
            v2 += v6 + m[i + 5];
            v14 = Long.rotateRight(v14 ^ v2, 16);
            v10 += v14;
            v6 = Long.rotateRight(v6 ^ v10, 63);

            v3 += v7 + m[i + 6];
            v15 = Long.rotateRight(v15 ^ v3, 32);
            v11 += v15;
            v7 = Long.rotateRight(v7 ^ v11, 24);
            v3 += v7 + m[i + 7];
            v15 = Long.rotateRight(v15 ^ v3, 16);
            v11 += v15;
            v7 = Long.rotateRight(v7 ^ v11, 63);

            v0 += v5 + m[i + 8];
            v15 = Long.rotateRight(v15 ^ v0, 32);
            v10 += v15;
            v5 = Long.rotateRight(v5 ^ v10, 24);
            v0 += v5 + m[i + 9];
            v15 = Long.rotateRight(v15 ^ v0, 16);
            v10 += v15;
            v5 = Long.rotateRight(v5 ^ v10, 63);

            v1 += v6 + m[i + 10];
            v12 = Long.rotateRight(v12 ^ v1, 32);
            v11 += v12;
            v6 = Long.rotateRight(v6 ^ v11, 24);
            v1 += v6 + m[i + 11];
            v12 = Long.rotateRight(v12 ^ v1, 16);
            v11 += v12;
            v6 = Long.rotateRight(v6 ^ v11, 63);

            v2 += v7 + m[i + 12];
            v13 = Long.rotateRight(v13 ^ v2, 32);
            v8 += v13;
            v7 = Long.rotateRight(v7 ^ v8, 24);
            v2 += v7 + m[i + 13];
            v13 = Long.rotateRight(v13 ^ v2, 16);
            v8 += v13;
            v7 = Long.rotateRight(v7 ^ v8, 63);

            v3 += v4 + m[i + 14];
            v14 = Long.rotateRight(v14 ^ v3, 32);
            v9 += v14;
            v4 = Long.rotateRight(v4 ^ v9, 24);
            v3 += v4 + m[i + 15];
            v14 = Long.rotateRight(v14 ^ v3, 16);
            v9 += v14;
            v4 = Long.rotateRight(v4 ^ v9, 63);
        }
        out[0] = start[0] ^ v0 ^ v8;
        out[1] = start[1] ^ v1 ^ v9;
        out[2] = start[2] ^ v2 ^ v10;
        out[3] = start[3] ^ v3 ^ v11;
        out[4] = start[4] ^ v4 ^ v12;
        out[5] = start[5] ^ v5 ^ v13;
        out[6] = start[6] ^ v6 ^ v14;
        out[7] = start[7] ^ v7 ^ v15;
    }
}
