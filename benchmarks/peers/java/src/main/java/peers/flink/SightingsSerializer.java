package peers.flink;

import java.io.IOException;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import peers.Sightings;

/** Sightings between tasks: their shard, their number, their rows. */
final class SightingsSerializer extends RowsSerializer<Sightings> {
    static final SightingsSerializer INSTANCE = new SightingsSerializer();
    static final TypeInformation<Sightings> TYPE = new PlainType<>(Sightings.class, INSTANCE);

    private static final long serialVersionUID = 1;

    @Override
    public Sightings createInstance() {
        return new Sightings(1);
    }

    @Override
    public Sightings copy(Sightings from) {
        Sightings copied = new Sightings(from.count);
        System.arraycopy(from.rows, 0, copied.rows, 0, 2 * from.count);
        copied.count = from.count;
        copied.shard = from.shard;
        copied.latest = from.latest;
        return copied;
    }

    @Override
    public void serialize(Sightings sightings, DataOutputView target) throws IOException {
        target.writeInt(sightings.shard);
        target.writeInt(sightings.count);
        long[] rows = sightings.rows;
        for (int i = 0; i < 2 * sightings.count; i++) {
            target.writeLong(rows[i]);
        }
    }

    @Override
    public Sightings deserialize(DataInputView source) throws IOException {
        int shard = source.readInt();
        int count = source.readInt();
        Sightings sightings = new Sightings(count);
        long[] rows = sightings.rows;
        for (int i = 0; i < 2 * count; i++) {
            rows[i] = source.readLong();
        }
        sightings.count = count;
        sightings.shard = shard;
        return sightings;
    }

    @Override
    public TypeSerializerSnapshot<Sightings> snapshotConfiguration() {
        return new Snapshot();
    }

    /** Of this class, without settings. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<Sightings> {
        public Snapshot() {
            super(() -> INSTANCE);
        }
    }
}
