import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Records written and read as Kafka's Java client does. */
final class Records {
    /** How long no record may come while there should be one. */
    private static final long SILENCE = TimeUnit.SECONDS.toNanos(30);

    private final Properties properties;
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new ConcurrentHashMap<>();
    private Admin admin;

    Records(Properties properties) {
        this.properties = properties;
    }

    void add(Map<String, Helper.Command> commands) {
        commands.put("producer-open", this::open);
        commands.put("producer-begin", (arguments, reply) -> producer(arguments).beginTransaction());
        commands.put("producer-commit", (arguments, reply) -> producer(arguments).commitTransaction());
        commands.put("producer-abort", (arguments, reply) -> producer(arguments).abortTransaction());
        commands.put("producer-offsets", (arguments, reply) -> {
            KafkaProducer<byte[], byte[]> producer = producer(arguments);
            ConsumerGroupMetadata group = new ConsumerGroupMetadata(arguments.text());
            producer.sendOffsetsToTransaction(Groups.offsets(arguments), group);
        });
        commands.put("producer-send", this::send);
        commands.put("producer-close", (arguments, reply) -> {
            KafkaProducer<byte[], byte[]> producer = producers.remove(arguments.text());
            if (producer != null) {
                // No time at all leaves an open transaction open.
                producer.close(Duration.ofSeconds(arguments.number()));
            }
        });
        commands.put("read", this::read);
    }

    private KafkaProducer<byte[], byte[]> producer(Helper.Arguments arguments) {
        String name = arguments.text();
        KafkaProducer<byte[], byte[]> producer = producers.get(name);
        if (producer == null) {
            throw new IllegalStateException("there is no producer " + name);
        }
        return producer;
    }

    private void open(Helper.Arguments arguments, Helper.Reply reply) {
        String name = arguments.text();
        String transactions = arguments.text();
        Properties own = new Properties();
        own.putAll(properties);
        own.putAll(arguments.pairs());
        if (transactions != null) {
            own.setProperty("transactional.id", transactions);
        }
        KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(own, new ByteArraySerializer(), new ByteArraySerializer());
        try {
            if (transactions != null) {
                producer.initTransactions();
            }
        } catch (RuntimeException error) {
            producer.close(Duration.ZERO);
            throw error;
        }
        producers.put(name, producer);
    }

    private void send(Helper.Arguments arguments, Helper.Reply reply) throws Exception {
        KafkaProducer<byte[], byte[]> producer = producer(arguments);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        while (arguments.more()) {
            String topic = arguments.text();
            Integer partition = arguments.numberOrNull();
            Long timestamp = arguments.wideOrNull();
            byte[] key = arguments.bytes();
            byte[] value = arguments.bytes();
            List<Header> headers = new ArrayList<>();
            for (int left = arguments.number(); left > 0; left--) {
                headers.add(new RecordHeader(arguments.text(), arguments.bytes()));
            }
            sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp, key, value, headers)));
        }
        producer.flush();
        for (Future<RecordMetadata> one : sent) {
            RecordMetadata place = one.get();
            reply.row(place.partition(), place.offset(), place.timestamp());
        }
    }

    /** Reads from where it is told, or from the beginning, to where the ends are now. */
    private void read(Helper.Arguments arguments, Helper.Reply reply) throws Exception {
        String topic = arguments.text();
        String isolation = arguments.text();
        Map<TopicPartition, Long> from = new HashMap<>();
        while (arguments.more()) {
            from.put(new TopicPartition(topic, arguments.number()), arguments.wide());
        }
        read(topic, isolation, from, reply::row);
    }

    private synchronized Admin admin() {
        if (admin == null) {
            admin = Admin.create(properties);
        }
        return admin;
    }

    void read(String topic, String isolation, Map<TopicPartition, Long> from, Consumer<Object[]> rows) throws Exception {
        if (isolation.equals("read_committed")) {
            Decided.await(admin());
        }
        Properties own = new Properties();
        own.putAll(properties);
        own.setProperty("isolation.level", isolation);
        own.setProperty("enable.auto.commit", "false");
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(own, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = from.isEmpty()
                    ? consumer.partitionsFor(topic).stream().map(one -> new TopicPartition(topic, one.partition())).toList()
                    : List.copyOf(from.keySet());
            consumer.assign(partitions);
            // What is committed only, where the isolation asks for that.
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            if (from.isEmpty()) {
                consumer.seekToBeginning(partitions);
            } else {
                from.forEach(consumer::seek);
            }
            long progress = System.nanoTime();
            while (!partitions.stream().allMatch(one -> consumer.position(one) >= ends.get(one))) {
                boolean some = false;
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    some = true;
                    // Those that came after the question was asked are another answer's.
                    if (record.offset() < ends.get(new TopicPartition(topic, record.partition()))) {
                        rows.accept(fields(record));
                    }
                }
                if (some) {
                    progress = System.nanoTime();
                } else if (System.nanoTime() - progress > SILENCE) {
                    throw new TimeoutException("no record of " + topic + " comes any more, before its end");
                }
            }
        }
    }

    private static Object[] fields(ConsumerRecord<byte[], byte[]> record) {
        List<Object> fields = new ArrayList<>();
        fields.add(record.partition());
        fields.add(record.offset());
        fields.add(record.timestamp());
        fields.add(record.key());
        fields.add(record.value());
        for (Header header : record.headers()) {
            fields.add(header.key());
            fields.add(header.value());
        }
        return fields.toArray();
    }
}
