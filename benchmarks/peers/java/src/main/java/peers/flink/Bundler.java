package peers.flink;

import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import peers.Sightings;

/**
 * Gathers sightings by shard, so that Flink's cost of a record between tasks (serializing, choosing a channel, setting
 * the key) is that of a bundle: the mini-batch of Flink SQL, for the DataStream API. Whatever is gathered leaves before
 * a watermark or a checkpoint's barrier does, so neither time nor exactness suffers. A bundle of one is a record of
 * the plain API.
 */
final class Bundler extends AbstractStreamOperator<Sightings> implements OneInputStreamOperator<Sightings, Sightings> {
    private static final long serialVersionUID = 1;

    private final int size;
    private final int shards;
    private transient Sightings[] bundles;
    private transient StreamRecord<Sightings> element;

    /** {@code shards}: a power of two above 1, the job's number of key groups. */
    Bundler(int size, int shards) {
        this.size = size;
        this.shards = shards;
    }

    @Override
    public void open() throws Exception {
        super.open();
        bundles = new Sightings[shards];
        int[] keys = keys(shards);
        for (int i = 0; i < shards; i++) {
            bundles[i] = new Sightings(size);
            bundles[i].shard = keys[i];
        }
        element = new StreamRecord<>(null);
    }

    @Override
    public void processElement(StreamRecord<Sightings> read) {
        Sightings sightings = read.getValue();
        long[] rows = sightings.rows;
        int shift = Long.numberOfLeadingZeros(shards) + 1;
        for (int i = 0; i < 2 * sightings.count; i += 2) {
            Sightings bundle = bundles[(int) (rows[i] >>> shift)];
            bundle.add(rows[i], rows[i + 1]);
            if (bundle.count == size) {
                send(bundle);
            }
        }
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        sendAll();
        super.processWatermark(mark);
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) {
        sendAll();
    }

    @Override
    public void finish() throws Exception {
        sendAll();
        super.finish();
    }

    private void sendAll() {
        for (Sightings bundle : bundles) {
            if (bundle.count > 0) {
                send(bundle);
            }
        }
    }

    private void send(Sightings bundle) {
        output.collect(element.replace(bundle));
        bundle.clear();
    }

    /** For each key group the least key that falls into it, so that all tasks get as many shards. */
    static int[] keys(int groups) {
        int[] keys = new int[groups];
        boolean[] found = new boolean[groups];
        for (int key = 0, left = groups; left > 0; key++) {
            int group = KeyGroupRangeAssignment.assignToKeyGroup(key, groups);
            if (!found[group]) {
                found[group] = true;
                keys[group] = key;
                left--;
            }
        }
        return keys;
    }
}
