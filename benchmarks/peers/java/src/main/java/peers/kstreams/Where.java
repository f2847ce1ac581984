package peers.kstreams;

import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.state.KeyValueStore;
import peers.People;

/** Where a task's subscribers were heard last. */
interface Where {
    /** Note where a subscriber is, and tell where they were, or People.NONE. */
    long move(long pseudonym, long where);

    /** In one of Kafka Streams' own stores: 8 bytes to 8 bytes. */
    static Where in(KeyValueStore<Bytes, byte[]> store) {
        return (pseudonym, where) -> {
            Bytes key = Bytes.wrap(word(pseudonym));
            byte[] before = store.get(key);
            store.put(key, word(where));
            return before == null ? People.NONE : peers.Bytes.getLong(before, 0);
        };
    }

    private static byte[] word(long number) {
        byte[] bytes = new byte[8];
        peers.Bytes.putLong(bytes, 0, number);
        return bytes;
    }
}
