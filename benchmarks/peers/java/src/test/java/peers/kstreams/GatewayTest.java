package peers.kstreams;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import peers.Cells;
import peers.EventReader;
import peers.Hash;
import peers.Sightings;

class GatewayTest {
    private static final long START = 1_772_427_600_000L;

    @TempDir
    Path folder;

    private TopologyTestDriver driver;
    private TestInputTopic<byte[], byte[]> events;
    private TestOutputTopic<Integer, byte[]> sightings;

    @AfterEach
    void tearDown() {
        close();
    }

    @Test
    void sightingsOfManyRecordsLeaveTogetherAtTheFirstOnesTime() throws IOException {
        start(1, 3);
        for (int second = 0; second < 7; second++) {
            send(START + 1_000 * second, event(second));
        }
        List<TestRecord<Integer, byte[]>> left = sightings.readRecordsToList();
        assertEquals(List.of(3, 3), counts(left));
        assertEquals(List.of(START, START + 3_000), left.stream().map(TestRecord::timestamp).toList());
    }

    @Test
    void theRestLeavesAfter200Milliseconds() throws IOException {
        start(1, 64);
        send(START, event(1));
        send(START + 1, event(2));
        driver.advanceWallClockTime(Duration.ofMillis(199));
        assertTrue(sightings.isEmpty());
        driver.advanceWallClockTime(Duration.ofMillis(1));
        assertEquals(List.of(2), counts(sightings.readRecordsToList()));
        driver.advanceWallClockTime(Duration.ofSeconds(1));
        assertTrue(sightings.isEmpty());
    }

    @Test
    void theRestLeavesWhenTheTaskIsClosed() throws IOException {
        start(1, 64);
        send(START, event(1));
        close();
        assertEquals(List.of(1), counts(sightings.readRecordsToList()));
    }

    @Test
    void aBundleIsOfOnePartition() throws IOException {
        start(4, 16);
        for (int who = 0; who < 1_000; who++) {
            send(START, event(who));
        }
        driver.advanceWallClockTime(Duration.ofMillis(200));
        List<TestRecord<Integer, byte[]>> left = sightings.readRecordsToList();
        assertEquals(1_000, counts(left).stream().mapToInt(count -> count).sum());
        assertEquals(4, left.stream().map(TestRecord::key).distinct().count());
        for (TestRecord<Integer, byte[]> bundle : left) {
            for (int at = 0; at < bundle.value().length; at += Sightings.ROW_BYTES) {
                assertEquals(bundle.key(), (int) (peers.Bytes.getLong(bundle.value(), at) >>> 62));
            }
        }
    }

    @Test
    void withoutABundleThoseOfARecordLeaveAtItsEnd() throws IOException {
        start(1, 0);
        send(START, event(1));
        send(START, IntStream.range(0, 200).mapToObj(GatewayTest::event).collect(Collectors.joining(",", "[", "]")));
        assertEquals(List.of(1, 200), counts(sightings.readRecordsToList()));
    }

    private void start(int partitions, int size) throws IOException {
        Path cells = folder.resolve("cells.csv");
        Files.writeString(cells, "001-01-00abcde,7\n");
        EventReader reader = new EventReader(Cells.read(cells), Hash.named("siphash", new byte[32]), START, 300_000);
        Topology topology = new Topology()
                .addSource("events", new ByteArrayDeserializer(), new ByteArrayDeserializer(), "events")
                .addProcessor("gateway", () -> new Gateway(reader, partitions, size), "events")
                .addSink("sightings", "sightings", new IntegerSerializer(), new ByteArraySerializer(), "gateway");
        Properties settings = new Properties();
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder.resolve("state").toString());
        driver = new TopologyTestDriver(topology, settings);
        events = driver.createInputTopic("events", new ByteArraySerializer(), new ByteArraySerializer());
        sightings = driver.createOutputTopic("sightings", new IntegerDeserializer(), new ByteArrayDeserializer());
    }

    private void close() {
        if (driver != null) {
            driver.close();
            driver = null;
        }
    }

    private void send(long atMs, String value) {
        events.pipeInput(new TestRecord<>(null, value.getBytes(StandardCharsets.UTF_8), null, atMs));
    }

    private static String event(int who) {
        return "{\"event_id\":\"a1\",\"imsi\":\"0010101234" + (50_000 + who) + "\",\"ts\":" + (START + 1_000)
                + ",\"cell\":\"001-01-00abcde\"}";
    }

    /** Sightings in each record. */
    private static List<Integer> counts(List<TestRecord<Integer, byte[]>> records) {
        return records.stream().map(record -> record.value().length / Sightings.ROW_BYTES).toList();
    }
}
