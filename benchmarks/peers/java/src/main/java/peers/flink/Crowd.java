package peers.flink;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import peers.Panes;
import peers.PaneSums;
import peers.People;
import peers.Sightings;

/**
 * Counts the sightings of its shards: keyed state says where each subscriber was, the sums of the open panes are the
 * task's. A pane leaves when the watermark has passed its end. Checkpoints hold both; the sums in them leave as parts
 * of their panes after a restart.
 */
final class Crowd extends AbstractStreamOperator<String> implements OneInputStreamOperator<Sightings, String> {
    private static final long serialVersionUID = 1;

    private final boolean packed;
    private final long startMs;
    private final long paneMs;
    private transient Panes panes;
    private transient ValueState<People> shard;
    private transient ValueState<Long> where;
    private transient ListState<String> parts;

    /** {@code packed}: the state of a key is a table of a shard's subscribers, else that of one subscriber. */
    Crowd(boolean packed, long startMs, long paneMs) {
        this.packed = packed;
        this.startMs = startMs;
        this.paneMs = paneMs;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        panes = new Panes();
        if (packed) {
            shard = context.getKeyedStateStore()
                    .getState(new ValueStateDescriptor<>("shard", PeopleSerializer.INSTANCE));
        } else {
            where = context.getKeyedStateStore().getState(new ValueStateDescriptor<>("where", Types.LONG));
        }
        parts = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("panes", Types.STRING));
    }

    @Override
    public void open() throws Exception {
        super.open();
        for (String part : parts.get()) {
            emit(part);
        }
    }

    @Override
    public void processElement(StreamRecord<Sightings> element) throws Exception {
        Sightings sightings = element.getValue();
        People people = packed ? people() : null;
        long[] rows = sightings.rows;
        for (int i = 0; i < 2 * sightings.count; i += 2) {
            long now = rows[i + 1];
            if (rows[i] == Sightings.REJECTED) {
                panes.reject(Sightings.pane(now));
            } else {
                panes.count(packed ? people.move(rows[i], now) : move(now), now);
            }
        }
    }

    private People people() throws Exception {
        People people = shard.value();
        if (people == null) {
            people = new People();
            shard.update(people);
        }
        return people;
    }

    private long move(long now) throws Exception {
        Long before = where.value();
        where.update(now);
        return before == null ? People.NONE : before;
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        long passed = Math.floorDiv(Math.max(mark.getTimestamp(), startMs) + 1 - startMs, paneMs);
        panes.emitBefore((int) Math.min(passed, Integer.MAX_VALUE), this::emit);
        super.processWatermark(mark);
    }

    private void emit(String pane) {
        output.collect(new StreamRecord<>(pane));
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        List<String> sums = new ArrayList<>();
        for (PaneSums pane : panes.all()) {
            sums.add(pane.toJson());
        }
        parts.update(sums);
    }
}
