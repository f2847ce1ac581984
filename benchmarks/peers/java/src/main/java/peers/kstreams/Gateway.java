package peers.kstreams;

import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import peers.Bytes;
import peers.EventReader;
import peers.Sightings;

/**
 * Reads a record's events, and sends the sightings on by pseudonym: those of one record that go to the same partition
 * of the repartition topic travel together, 16 bytes each. The key is that partition.
 */
final class Gateway implements Processor<byte[], byte[], Integer, byte[]> {
    private final EventReader reader;
    private final Sightings read = new Sightings(128);
    private final Sightings[] parts;
    private ProcessorContext<Integer, byte[]> context;

    Gateway(EventReader reader, int partitions) {
        this.reader = reader;
        parts = new Sightings[partitions];
        for (int i = 0; i < partitions; i++) {
            parts[i] = new Sightings(128);
        }
    }

    @Override
    public void init(ProcessorContext<Integer, byte[]> context) {
        this.context = context;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        read.clear();
        reader.read(record.value(), read);
        for (int i = 0; i < 2 * read.count; i += 2) {
            parts[partition(read.rows[i])].add(read.rows[i], read.rows[i + 1]);
        }
        for (int i = 0; i < parts.length; i++) {
            if (parts[i].count > 0) {
                context.forward(new Record<>(i, pack(parts[i]), record.timestamp()));
                parts[i].clear();
            }
        }
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
