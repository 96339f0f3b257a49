import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;

/**
 * The self-join of the benchmark by Kafka Streams: each location joined to the one that is ten later, in the same partition. Written to be fast: JSON read and
 * written by a streaming parser, 24 bytes a record in the stores, a window of ten milliseconds of the records' own time.
 *
 * <p>Streams are joined by the keys of their records, so it is given the records in two topics, with the keys that the join needs: ten later in the left one. Made
 * from one topic without keys, as the other candidates read it, the keys would send all records through two further topics. Behind the last records stands one more
 * in each partition, much later and without a match: so the last ones need not wait for the other topic.
 *
 * <p>Arguments: servers, application, left topic, right topic, topic of the results, the time of the last record that has a match, guarantee (at_least_once or exactly_once_v2),
 * store (rocksdb or memory), milliseconds between commits, directory of the state, number of
 * partitions. It ends when all results are written and committed, and prints what it took:
 * wall seconds, processor seconds, the most MiB of memory, results.
 */
public final class StreamJoin {
    private static final JsonFactory JSON = new JsonFactory();

    record Location(long time, double x, double y) {}

    record Speed(long timeFrom, long timeTo, double speed) {}

    public static void main(String[] arguments) throws Exception {
        String left = arguments[2];
        String right = arguments[3];
        String to = arguments[4];
        long last = Long.parseLong(arguments[5]);
        int partitions = Integer.parseInt(arguments[10]);
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, arguments[6]);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, arguments[8]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, arguments[9]);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        // A task that has records of one topic only waits so long for the other. With less, or the default, one ran ahead on a busy machine, the records of the
        // other were too late, and results were missing.
        properties.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, 60_000);
        properties.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        if (arguments[7].equals("memory")) {
            properties.put(
                    StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG, BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        }

        long begin = System.nanoTime();
        AtomicLong results = new AtomicLong();
        Set<Integer> ended = ConcurrentHashMap.newKeySet();
        CountDownLatch done = new CountDownLatch(1);
        StreamsBuilder builder = new StreamsBuilder();
        KStream<Long, Location> here = builder.stream(left, locations());
        KStream<Long, Location> next = builder.stream(right, locations());
        here.join(
                        next,
                        StreamJoin::speed,
                        // As narrow as the join allows: with a wider window each look into the store in memory took longer. Nothing is late in the topics; the
                        // grace is for what is read again when a task is moved to the other thread.
                        JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(10), Duration.ofSeconds(5))
                                .before(Duration.ZERO),
                        StreamJoined.with(Serdes.Long(), binary(), binary()))
                // Results have no key, as those of the other candidates, and stay in their partition.
                .process(Partitions::new)
                .peek((key, placed) -> {
                    results.incrementAndGet();
                    // Not by their number: a task that is moved to the other thread may make some of them twice.
                    if (placed.speed().timeFrom() == last && ended.add(placed.partition()) && ended.size() == partitions) {
                        done.countDown();
                    }
                })
                .to(to, Produced.with(Serdes.ByteArray(), results()).withStreamPartitioner(Partitions::of));
        KafkaStreams streams = new KafkaStreams(builder.build(), properties);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            System.exit(1);
            return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        if (!done.await(20, TimeUnit.MINUTES)) {
            System.err.println("after 20 minutes there are " + results + " results, and only " + ended.size() + " partitions have ended");
            System.exit(1);
        }
        // It commits what is left.
        streams.close();
        double wall = (System.nanoTime() - begin) / 1e9;
        double cpu = ProcessHandle.current().info().totalCpuDuration().orElse(Duration.ZERO).toMillis() / 1e3;
        System.out.println(wall + " " + cpu + " " + peak() + " " + results);
        System.exit(0);
    }

    private static Consumed<Long, Location> locations() {
        return Consumed.with(Serdes.Long(), json())
                .withTimestampExtractor((record, before) -> ((Location) record.value()).time());
    }

    private static Speed speed(Location here, Location there) {
        return new Speed(here.time(), there.time(), Math.hypot(there.x() - here.x(), there.y() - here.y()));
    }

    /** The most memory that was resident, in MiB. */
    private static long peak() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM")) {
                return Long.parseLong(line.split("\\s+")[1]) / 1024;
            }
        }
        return 0;
    }

    /** Locations as they stand in the topic. */
    private static Serde<Location> json() {
        Deserializer<Location> read = (topic, bytes) -> {
            try (JsonParser parser = JSON.createParser(bytes)) {
                long time = 0;
                double x = 0;
                double y = 0;
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "time" -> time = parser.getLongValue();
                        case "x" -> x = parser.getDoubleValue();
                        case "y" -> y = parser.getDoubleValue();
                        default -> parser.skipChildren();
                    }
                }
                return new Location(time, x, y);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
        Serializer<Location> none = (topic, location) -> {
            throw new UnsupportedOperationException();
        };
        return Serdes.serdeFrom(none, read);
    }

    /** Locations as they stand in the stores. */
    private static Serde<Location> binary() {
        return Serdes.serdeFrom(
                (topic, location) -> location == null
                        ? null
                        : ByteBuffer.allocate(24)
                                .putLong(location.time())
                                .putDouble(location.x())
                                .putDouble(location.y())
                                .array(),
                (topic, bytes) -> {
                    if (bytes == null) {
                        return null;
                    }
                    ByteBuffer buffer = ByteBuffer.wrap(bytes);
                    return new Location(buffer.getLong(), buffer.getDouble(), buffer.getDouble());
                });
    }

    private static Serde<Placed> results() {
        Serializer<Placed> write = (topic, placed) -> {
            Speed speed = placed.speed();
            ByteArrayOutputStream bytes = new ByteArrayOutputStream(96);
            try (JsonGenerator generator = JSON.createGenerator(bytes)) {
                generator.writeStartObject();
                generator.writeNumberField("time_from", speed.timeFrom());
                generator.writeNumberField("time_to", speed.timeTo());
                generator.writeNumberField("speed", speed.speed());
                generator.writeEndObject();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return bytes.toByteArray();
        };
        Deserializer<Placed> none = (topic, bytes) -> {
            throw new UnsupportedOperationException();
        };
        return Serdes.serdeFrom(write, none);
    }
}
