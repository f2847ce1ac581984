package peers.kstreams;

import java.time.Duration;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import peers.Panes;
import peers.People;
import peers.Sightings;

/**
 * Counts a task's sightings. Stream time is no watermark (it is the latest of all that was read, so slower input
 * partitions are behind it): each second the panes that it has passed leave, and what comes for them later leaves as
 * another part. When nothing has come for a second all leave.
 */
final class Crowd implements Processor<Integer, byte[], byte[], String> {
    static final String STORE = "people";

    private static final Duration EACH = Duration.ofSeconds(1);
    private static final long LATENESS_MS = 10_000;

    private final boolean packed;
    private final long startMs;
    private final long paneMs;
    private final Panes panes = new Panes();
    private ProcessorContext<byte[], String> context;
    private Where where;
    private boolean heard;

    /** {@code packed}: people are in a table of ours, else in the store. */
    Crowd(boolean packed, long startMs, long paneMs) {
        this.packed = packed;
        this.startMs = startMs;
        this.paneMs = paneMs;
    }

    @Override
    public void init(ProcessorContext<byte[], String> context) {
        this.context = context;
        if (packed) {
            where = new People()::move;
        } else {
            KeyValueStore<Bytes, byte[]> store = context.getStateStore(STORE);
            where = Where.in(store);
        }
        context.schedule(EACH, PunctuationType.WALL_CLOCK_TIME, now -> emit());
    }

    @Override
    public void process(Record<Integer, byte[]> record) {
        heard = true;
        byte[] rows = record.value();
        for (int at = 0; at < rows.length; at += Sightings.ROW_BYTES) {
            long pseudonym = peers.Bytes.getLong(rows, at);
            long now = peers.Bytes.getLong(rows, at + 8);
            if (pseudonym == Sightings.REJECTED) {
                panes.reject(Sightings.pane(now));
            } else {
                panes.count(where.move(pseudonym, now), now);
            }
        }
    }

    private void emit() {
        long passed = Math.floorDiv(context.currentStreamTimeMs() - LATENESS_MS - startMs, paneMs);
        panes.emitBefore(heard ? (int) passed : Integer.MAX_VALUE, pane -> context.forward(
                new Record<>(null, pane, context.currentSystemTimeMs())));
        heard = false;
    }
}
