package peers.kstreams;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import peers.Cells;
import peers.EventReader;
import peers.Hash;
import peers.Options;

/** The job in Kafka Streams: Kafka, gateway, repartition topic, crowd with a store, Kafka. */
public final class StreamsPeer {
    /**
     * Of the repartition topic: as many as the input has. A thread gives each of its tasks as many turns, so with fewer
     * the crowd falls behind the gateway until the input is read.
     */
    private static final int PARTITIONS = 16;

    private StreamsPeer() {}

    public static void main(String[] arguments) {
        try {
            Options options = new Options(arguments, "state", "bundle", "partitions", "compression", "cache-mb");
            Path folder = Files.createTempDirectory("kstreams");
            KafkaStreams streams = new KafkaStreams(topology(options), settings(options, folder));
            streams.setUncaughtExceptionHandler(error -> {
                fail(error);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(streams, folder)));
            streams.start();
            new CountDownLatch(1).await();
        } catch (Exception error) {
            fail(error);
        }
    }

    private static void fail(Throwable error) {
        System.err.println("kstreams: " + Options.explain(error));
        Runtime.getRuntime().halt(1);
    }

    private static void stop(KafkaStreams streams, Path folder) {
        streams.close(Duration.ofSeconds(3));
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
        } catch (IOException error) {
            // What is left in it is of no use to anyone.
        }
        Runtime.getRuntime().halt(0);
    }

    private static Topology topology(Options options) throws Exception {
        Cells cells = options.cells();
        Hash hash = options.hash();
        String state = options.text("state", "packed");
        int partitions = options.number("partitions", PARTITIONS);
        int bundle = options.number("bundle", 0);
        long startMs = options.number("start-ms");
        long paneMs = options.number("pane-ms");

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(options.text("input"), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .process(() -> new Gateway(new EventReader(cells, hash.copy(), startMs, paneMs), partitions, bundle))
                .repartition(Repartitioned.<Integer, byte[]>as("sightings")
                        .withKeySerde(Serdes.Integer())
                        .withValueSerde(Serdes.ByteArray())
                        .withNumberOfPartitions(partitions)
                        .withStreamPartitioner((topic, key, value, count) -> Optional.of(Set.of(key))))
                .process(new CrowdSupplier(state, startMs, paneMs))
                .to(options.text("output"), Produced.with(Serdes.ByteArray(), Serdes.String()));
        return builder.build();
    }

    /** A crowd and the store it asks for. */
    private record CrowdSupplier(String state, long startMs, long paneMs)
            implements ProcessorSupplier<Integer, byte[], byte[], String> {
        @Override
        public Processor<Integer, byte[], byte[], String> get() {
            return new Crowd(state.equals("packed"), startMs, paneMs);
        }

        @Override
        public Set<StoreBuilder<?>> stores() {
            switch (state) {
                case "packed":
                    return Set.of();
                case "memory":
                    return Set.of(Stores.keyValueStoreBuilder(
                                    Stores.inMemoryKeyValueStore(Crowd.STORE),
                                    Serdes.Bytes(),
                                    Serdes.ByteArray())
                            .withLoggingDisabled());
                case "rocksdb":
                    return Set.of(Stores.keyValueStoreBuilder(
                                    Stores.persistentKeyValueStore(Crowd.STORE),
                                    Serdes.Bytes(),
                                    Serdes.ByteArray())
                            .withLoggingDisabled()
                            .withCachingEnabled());
                default:
                    throw new IllegalArgumentException("--state: expected packed, memory or rocksdb");
            }
        }
    }

    private static Properties settings(Options options, Path folder) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, options.text("group"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.text("bootstrap"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder.toString());
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.number("parallelism", 2));
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, (long) options.number("cache-mb", 64) << 20);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        settings.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksTuning.class);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), 10_000);
        settings.put(StreamsConfig.consumerPrefix("max.partition.fetch.bytes"), 256 << 10);
        settings.put(StreamsConfig.producerPrefix("linger.ms"), 100);
        settings.put(StreamsConfig.producerPrefix("batch.size"), 512 << 10);
        settings.put(StreamsConfig.producerPrefix("compression.type"), options.text("compression", "none"));
        return settings;
    }
}
