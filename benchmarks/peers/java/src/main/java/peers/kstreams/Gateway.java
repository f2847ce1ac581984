package peers.kstreams;

import java.time.Duration;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import peers.Bytes;
import peers.EventReader;
import peers.Sightings;

/**
 * Reads a record's events, and sends the sightings on by pseudonym: those that go to the same partition of the
 * repartition topic travel together, 16 bytes each. The key is that partition.
 *
 * <p>A bundle leaves when it is full, each 200 ms, and when the task is closed. Its time is its first record's, so that
 * the crowd's stream time isn't ahead of what is in it. Nothing can leave before offsets are committed: what is
 * gathered in that moment would be lost by a crash, as the crowd's state would.
 */
final class Gateway implements Processor<byte[], byte[], Integer, byte[]> {
    static final Duration EACH = Duration.ofMillis(200);

    private final EventReader reader;
    private final int size;
    private final Sightings read = new Sightings(128);
    private final Sightings[] parts;
    private final long[] times; // of each part's first record, ms
    private ProcessorContext<Integer, byte[]> context;

    /** {@code size}: of a bundle, in sightings; 0: those of one record, however many. */
    Gateway(EventReader reader, int partitions, int size) {
        this.reader = reader;
        this.size = size;
        parts = new Sightings[partitions];
        times = new long[partitions];
        for (int i = 0; i < partitions; i++) {
            parts[i] = new Sightings(Math.max(size, 128));
        }
    }

    @Override
    public void init(ProcessorContext<Integer, byte[]> context) {
        this.context = context;
        if (size > 0) {
            context.schedule(EACH, PunctuationType.WALL_CLOCK_TIME, now -> sendAll());
        }
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        read.clear();
        reader.read(record.value(), read);
        for (int i = 0; i < 2 * read.count; i += 2) {
            int partition = partition(read.rows[i]);
            Sightings part = parts[partition];
            if (part.count == 0) {
                times[partition] = record.timestamp();
            }
            part.add(read.rows[i], read.rows[i + 1]);
            if (part.count == size) {
                send(partition);
            }
        }
        if (size == 0) {
            sendAll();
        }
    }

    @Override
    public void close() {
        sendAll();
    }

    private void sendAll() {
        for (int i = 0; i < parts.length; i++) {
            if (parts[i].count > 0) {
                send(i);
            }
        }
    }

    private void send(int partition) {
        context.forward(new Record<>(partition, pack(parts[partition]), times[partition]));
        parts[partition].clear();
    }

    /** The upper half of the pseudonym, scaled. */
    private int partition(long pseudonym) {
        return (int) ((pseudonym >>> 32) * parts.length >>> 32);
    }

    private static byte[] pack(Sightings part) {
        byte[] packed = new byte[part.count * Sightings.ROW_BYTES];
        for (int i = 0; i < 2 * part.count; i++) {
            Bytes.putLong(packed, 8 * i, part.rows[i]);
        }
        return packed;
    }
}
