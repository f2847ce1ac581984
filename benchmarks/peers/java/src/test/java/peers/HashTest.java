package peers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class HashTest {
    @Test
    void blake2bOfAbcIsThatOfRfc7693() {
        Blake2b hash = new Blake2b(new byte[0], 64, "");
        assertEquals(
                "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                        + "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
                hexadecimal(hash.digest(0x636261, 0, 3)));
    }

    @Test
    void keyedBlake2bOfThreeBytesIsThatOfTheReferenceVectors() {
        // blake2b-kat.txt: key 00..3f, input 000102.
        assertEquals(
                "33d0825dddf7ada99b0e7e307104ad07ca9cfd9692214f1561356315e784f3e5"
                        + "a17e364ae9dbb14cb2036df932b77f4b292761365fb328de7afdc6d8998f5fc1",
                hexadecimal(new Blake2b(counting(64), 64, "").digest(0x020100, 0, 3)));
    }

    @Test
    void pseudonymsAreThrongs() {
        // hashlib.blake2b(b"001010123456789", key=bytes(range(32)), digest_size=8, person=b"throng.imsi")
        assertEquals("765db02a03d4805b", pseudonym("001010123456789"));
        assertEquals("0dcf322ac439314c", pseudonym("26201012345678"));
    }

    @Test
    void sipHashOfFifteenBytesIsThatOfThePaper() {
        byte[] text = counting(15);
        SipHash hash = new SipHash(Bytes.getLong(counting(16), 0), Bytes.getLong(counting(16), 8));
        assertEquals(0xa129ca6149be45e5L, hash.of(Bytes.getLong(text, 0), Bytes.getTail(text, 8, 7), 15));
    }

    @Test
    void sipHashOfSevenBytesIsThatOfTheReferenceVectors() {
        SipHash hash = new SipHash(Bytes.getLong(counting(16), 0), Bytes.getLong(counting(16), 8));
        assertEquals(0xab0200f58b01d137L, hash.of(Bytes.getTail(counting(7), 0, 7), 0, 7));
    }

    @Test
    void anotherKeyGivesAnotherHash() {
        for (String name : new String[] {"blake2b", "siphash"}) {
            assertNotEquals(
                    Hash.named(name, counting(32)).of(1, 2, 15), Hash.named(name, new byte[32]).of(1, 2, 15));
        }
    }

    private static String pseudonym(String imsi) {
        byte[] text = imsi.getBytes(StandardCharsets.US_ASCII);
        long hash = Hash.named("blake2b", counting(32))
                .of(Bytes.getLong(text, 0), Bytes.getTail(text, 8, text.length - 8), text.length);
        return hexadecimal(new long[] {hash});
    }

    private static byte[] counting(int length) {
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; i++) {
            bytes[i] = (byte) i;
        }
        return bytes;
    }

    private static String hexadecimal(long[] words) {
        StringBuilder text = new StringBuilder();
        for (long word : words) {
            text.append(String.format("%016x", Long.reverseBytes(word)));
        }
        return text.toString();
    }
}
