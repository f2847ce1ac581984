package peers.flink;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import peers.People;

/** A shard's subscribers in a checkpoint. */
final class PeopleSerializer extends RowsSerializer<People> {
    static final PeopleSerializer INSTANCE = new PeopleSerializer();

    private static final long serialVersionUID = 1;

    @Override
    public People createInstance() {
        return new People();
    }

    @Override
    public People copy(People from) {
        return from.copy();
    }

    @Override
    public void serialize(People people, DataOutputView target) throws IOException {
        target.writeInt(people.size());
        for (long number : people.rows()) {
            target.writeLong(number);
        }
    }

    @Override
    public People deserialize(DataInputView source) throws IOException {
        People people = new People();
        for (int left = source.readInt(); left > 0; left--) {
            long pseudonym = source.readLong();
            people.move(pseudonym, source.readLong());
        }
        return people;
    }

    @Override
    public TypeSerializerSnapshot<People> snapshotConfiguration() {
        return new Snapshot();
    }

    /** Of this class, without settings. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<People> {
        public Snapshot() {
            super(() -> INSTANCE);
        }
    }
}
