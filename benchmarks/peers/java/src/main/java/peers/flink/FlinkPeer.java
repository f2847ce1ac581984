package peers.flink;

import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import peers.Options;
import peers.Sightings;

/** The job in Flink's DataStream API, in a cluster within this process: Kafka, reader, bundler | crowd, Kafka. */
public final class FlinkPeer {
    /** Key groups, and thereby the most tasks that the state can be spread over. A power of two. */
    private static final int SHARDS = 64;

    /** At once from a partition. With more the partitions drift apart, and the watermark stays behind. */
    private static final int FETCH_BYTES = 256 << 10;

    private static final Duration LATENESS = Duration.ofSeconds(10);

    private FlinkPeer() {}

    public static void main(String[] arguments) {
        try {
            Options options = new Options(arguments, "state", "bundle", "checkpoint-ms");
            JobClient job = build(options).executeAsync("throng's job");
            Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(job)));
            job.getJobExecutionResult().get();
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            System.err.println("flink: " + Options.explain(cause));
            Runtime.getRuntime().halt(1);
        }
    }

    private static void stop(JobClient job) {
        try {
            job.cancel().get(2, TimeUnit.SECONDS);
        } catch (Exception error) {
            // It ends with the process.
        }
        Runtime.getRuntime().halt(0);
    }

    private static StreamExecutionEnvironment build(Options options) throws Exception {
        String state = options.text("state", "packed");
        if (!state.equals("packed") && !state.equals("plain")) {
            throw new IllegalArgumentException("--state: expected packed or plain");
        }
        boolean packed = state.equals("packed");
        int bundle = packed ? options.number("bundle", 64) : 1;
        long startMs = options.number("start-ms");
        long paneMs = options.number("pane-ms");

        Configuration settings = new Configuration();
        settings.set(PipelineOptions.OBJECT_REUSE, true);
        settings.set(PipelineOptions.GENERIC_TYPES, false);
        settings.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, Path.of("checkpoints").toUri().toString());
        StreamExecutionEnvironment flink =
                StreamExecutionEnvironment.createLocalEnvironment(options.number("parallelism", 2), settings);
        flink.setMaxParallelism(SHARDS);
        if (options.number("checkpoint-ms", 0) > 0) {
            flink.enableCheckpointing(options.number("checkpoint-ms"));
        }

        EventDeserializer reader = new EventDeserializer(options.cells(), options.hash(), startMs, paneMs);
        DataStream<Sightings> sightings = flink.fromSource(
                        source(options, reader),
                        WatermarkStrategy.<Sightings>forBoundedOutOfOrderness(LATENESS)
                                .withTimestampAssigner((read, recorded) -> read.latest),
                        "events")
                .transform("bundle", SightingsSerializer.TYPE, new Bundler(bundle, SHARDS));
        KeyedStream<Sightings, ?> keyed = packed
                ? sightings.keyBy(some -> some.shard, Types.INT)
                : sightings.keyBy(one -> one.rows[0], Types.LONG);
        keyed.transform("crowd", Types.STRING, new Crowd(packed, startMs, paneMs)).sinkTo(sink(options));
        return flink;
    }

    private static KafkaSource<Sightings> source(Options options, EventDeserializer reader) {
        return KafkaSource.<Sightings>builder()
                .setBootstrapServers(options.text("bootstrap"))
                .setTopics(options.text("input"))
                .setGroupId(options.text("group"))
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setDeserializer(reader)
                .setProperty("max.partition.fetch.bytes", String.valueOf(FETCH_BYTES))
                .setProperty("max.poll.records", "10000")
                .build();
    }

    private static KafkaSink<String> sink(Options options) {
        return KafkaSink.<String>builder()
                .setBootstrapServers(options.text("bootstrap"))
                .setRecordSerializer(KafkaRecordSerializationSchema.builder()
                        .setTopic(options.text("output"))
                        .setValueSerializationSchema(new SimpleStringSchema())
                        .build())
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .build();
    }
}
