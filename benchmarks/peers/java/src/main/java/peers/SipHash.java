package peers;

/** SipHash-2-4 (Aumasson and Bernstein, 2012). */
public final class SipHash implements Hash {
    private static final long serialVersionUID = 1;

    private final long k0;
    private final long k1;

    public SipHash(long k0, long k1) {
        this.k0 = k0;
        this.k1 = k1;
    }

    @Override
    public long of(long first, long second, int length) {
        if (length > 15) {
            throw new IllegalArgumentException("at most 15 bytes");
        }
        long hashed = length < 8
                ? hash(first | (long) length << 56)
                : hash(first, second | (long) length << 56);
        return hashed == 0 ? 1 : hashed;
    }

    @Override
    public Hash copy() {
        return this;
    }

    private long hash(long... words) {
        long v0 = k0 ^ 0x736f6d6570736575L;
        long v1 = k1 ^ 0x646f72616e646f6dL;
        long v2 = k0 ^ 0x6c7967656e657261L;
        long v3 = k1 ^ 0x7465646279746573L;
        for (int i = 0, rounds = 2; i <= words.length; i++) {
            if (i < words.length) {
                v3 ^= words[i];
            } else {
                v2 ^= 0xFF;
                rounds = 4;
            }
            for (int r = 0; r < rounds; r++) {
                v0 += v1;
                v1 = Long.rotateLeft(v1, 13) ^ v0;
                v0 = Long.rotateLeft(v0, 32);
                v2 += v3;
                v3 = Long.rotateLeft(v3, 16) ^ v2;
                v0 += v3;
                v3 = Long.rotateLeft(v3, 21) ^ v0;
                v2 += v1;
                v1 = Long.rotateLeft(v1, 17) ^ v2;
                v2 = Long.rotateLeft(v2, 32);
            }
            if (i < words.length) {
                v0 ^= words[i];
            }
        }
        return v0 ^ v1 ^ v2 ^ v3;
    }
}
