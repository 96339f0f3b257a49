import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A broker that is asked for something, and then ends: so that the virtual machine sees which classes brokers and clients load.
 *
 * Arguments: the address of the broker, and those of {@link Broker}.
 */
public final class Training {
    /** After that it hangs, and nobody watches over it. */
    private static final long LIMIT = 60;

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("bootstrap.servers", arguments[0]);
        daemon(() -> {
            TimeUnit.SECONDS.sleep(LIMIT);
            System.err.println("it took too long");
            Runtime.getRuntime().halt(1);
        });
        daemon(() -> {
            ask(properties);
            System.exit(0);
        });
        Broker.main(Arrays.copyOfRange(arguments, 1, arguments.length));
    }

    private static void ask(Properties properties) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            admin.describeCluster().nodes().get();
            admin.createTopics(List.of(new NewTopic("training", 1, (short) 1).configs(Map.of()))).all().get();
            admin.describeTopics(List.of("training")).allTopicNames().get();
        }
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.send(new ProducerRecord<>("training", new byte[1])).get();
        }
        new Records(properties).read("training", "read_committed", Map.of(), fields -> {});
    }

    private interface Work {
        void run() throws Exception;
    }

    private static void daemon(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Exception error) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        });
        thread.setDaemon(true);
        thread.start();
    }
}
