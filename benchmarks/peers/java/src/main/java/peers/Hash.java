package peers;

import java.io.Serializable;

/** A keyed 64-bit hash of an IMSI's text; never 0, which means an empty slot to {@link People}. */
public interface Hash extends Serializable {
    /** The hash of a text of up to 16 bytes, given as two little-endian words with zeros behind its end. */
    long of(long first, long second, int length);

    /** The same for another thread. */
    Hash copy();

    /** The hash called {@code blake2b} (as throng's) or {@code siphash}, under a key of 32 bytes. */
    static Hash named(String name, byte[] key) {
        switch (name) {
            case "blake2b":
                return new Blake2b(key, 8, "throng.imsi");
            case "siphash":
                return new SipHash(Bytes.getLong(key, 0), Bytes.getLong(key, 8));
            default:
                throw new IllegalArgumentException("--hash: expected blake2b or siphash");
        }
    }
}
