package peers.flink;

import java.io.IOException;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import peers.Cells;
import peers.EventReader;
import peers.Hash;
import peers.Sightings;

/** Kafka records to sightings, all of a record in one object that is used again and again. */
final class EventDeserializer implements KafkaRecordDeserializationSchema<Sightings> {
    private static final long serialVersionUID = 1;

    private final Cells cells;
    private final Hash hash;
    private final long startMs;
    private final long paneMs;
    private transient EventReader reader;
    private transient Sightings sightings;

    EventDeserializer(Cells cells, Hash hash, long startMs, long paneMs) {
        this.cells = cells;
        this.hash = hash;
        this.startMs = startMs;
        this.paneMs = paneMs;
    }

    @Override
    public void open(DeserializationSchema.InitializationContext context) {
        reader = new EventReader(cells, hash, startMs, paneMs);
        sightings = new Sightings(128);
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Sightings> out) throws IOException {
        sightings.clear();
        reader.read(record.value(), sightings);
        out.collect(sightings);
    }

    @Override
    public TypeInformation<Sightings> getProducedType() {
        return SightingsSerializer.TYPE;
    }
}
