import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Nodes, topics and their offsets. */
final class Topics {
    /** How long a change may take to reach every node. */
    private static final long SPREAD = TimeUnit.SECONDS.toNanos(30);

    private final Properties properties;
    private Admin admin;

    Topics(Properties properties) {
        this.properties = properties;
    }

    void add(Map<String, Helper.Command> commands) {
        commands.put("ready", this::ready);
        commands.put("nodes", (arguments, reply) -> {
            for (Node node : admin().describeCluster().nodes().get()) {
                reply.row(node.id(), node.host(), node.port());
            }
        });
        commands.put("create-topic", this::create);
        commands.put("delete-topic", this::delete);
        commands.put("topics", (arguments, reply) -> {
            for (String name : admin().listTopics().names().get()) {
                reply.row(name);
            }
        });
        commands.put("add-partitions", (arguments, reply) -> {
            String topic = arguments.text();
            int count = arguments.number();
            admin().createPartitions(Map.of(topic, NewPartitions.increaseTo(count))).all().get();
            awaitLeaders(topic, count);
        });
        commands.put("describe-topic", (arguments, reply) -> {
            for (TopicPartitionInfo partition : describe(admin(), arguments.text()).partitions()) {
                Node leader = partition.leader();
                boolean led = leader != null && !leader.isEmpty();
                reply.row(partition.partition(), led ? leader.id() : null, ids(partition.replicas()), ids(partition.isr()));
            }
        });
        commands.put("offsets", this::offsets);
        commands.put("delete-records", (arguments, reply) -> {
            TopicPartition partition = new TopicPartition(arguments.text(), arguments.number());
            RecordsToDelete before = RecordsToDelete.beforeOffset(arguments.wide());
            reply.row(admin().deleteRecords(Map.of(partition, before)).lowWatermarks().get(partition).get().lowWatermark());
        });
    }

    private synchronized Admin admin() {
        if (admin == null) {
            admin = Admin.create(properties);
        }
        return admin;
    }

    /**
     * Whether the node at this address is there and knows of that many nodes, itself among them. Asked with a client of its own, that
     * knows no other node: the common one would ask whichever it likes.
     */
    private void ready(Helper.Arguments arguments, Helper.Reply reply) throws Exception {
        Properties own = new Properties();
        own.putAll(properties);
        own.setProperty("bootstrap.servers", arguments.text());
        int id = arguments.number();
        int count = arguments.number();
        int limit = arguments.number();
        own.setProperty("default.api.timeout.ms", String.valueOf(limit));
        own.setProperty("request.timeout.ms", String.valueOf(limit));
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(limit);
        try (Admin admin = Admin.create(own)) {
            while (System.nanoTime() < end) {
                var nodes = admin.describeCluster().nodes().get();
                if (nodes.size() >= count && nodes.stream().anyMatch(node -> node.id() == id)) {
                    reply.row("ready");
                    return;
                }
                Thread.sleep(50);
            }
        } catch (ExecutionException error) {
            if (!(error.getCause() instanceof TimeoutException)) {
                throw error;
            }
        }
        reply.row("not yet");
    }

    private void create(Helper.Arguments arguments, Helper.Reply reply) throws Exception {
        String topic = arguments.text();
        int partitions = arguments.number();
        short replication = (short) arguments.number();
        NewTopic wanted = new NewTopic(topic, partitions, replication).configs(arguments.pairs());
        admin().createTopics(List.of(wanted)).all().get();
        awaitLeaders(topic, partitions);
    }

    /** The controller answers before the brokers know: a client that is fast would hear that there is no such topic. */
    private void awaitLeaders(String topic, int partitions) throws Exception {
        List<String> addresses = addresses();
        for (String node : addresses) {
            Properties own = new Properties();
            own.putAll(properties);
            own.setProperty("bootstrap.servers", node);
            own.setProperty("default.api.timeout.ms", "3000");
            own.setProperty("request.timeout.ms", "3000");
            // A node alone is the one that the common client asks.
            boolean alone = addresses.size() == 1;
            Admin asked = alone ? admin() : Admin.create(own);
            try {
                await(topic + " is not known at " + node, () -> {
                    TopicDescription found = describe(asked, topic);
                    return found.partitions().size() == partitions
                            && found.partitions().stream().allMatch(one -> one.leader() != null && !one.leader().isEmpty());
                });
            } catch (ExecutionException error) {
                // A node that is down, which the others have not noticed yet.
                if (alone || !(error.getCause() instanceof TimeoutException)) {
                    throw error;
                }
            } finally {
                if (!alone) {
                    asked.close(Duration.ZERO);
                }
            }
        }
    }

    private List<String> addresses() throws Exception {
        return admin().describeCluster().nodes().get().stream().map(node -> node.host() + ":" + node.port()).toList();
    }

    private void delete(Helper.Arguments arguments, Helper.Reply reply) throws Exception {
        String topic = arguments.text();
        admin().deleteTopics(List.of(topic)).all().get();
        await(topic + " is still there", () -> !admin().listTopics().names().get().contains(topic));
    }

    private interface Question {
        boolean ask() throws Exception;
    }

    private static void await(String otherwise, Question question) throws Exception {
        long end = System.nanoTime() + SPREAD;
        while (true) {
            try {
                if (question.ask()) {
                    return;
                }
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof UnknownTopicOrPartitionException)) {
                    throw error;
                }
            }
            if (System.nanoTime() > end) {
                throw new TimeoutException(otherwise);
            }
            Thread.sleep(10);
        }
    }

    private static TopicDescription describe(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private static String ids(List<Node> nodes) {
        return String.join(",", nodes.stream().map(Node::idString).toList());
    }

    private void offsets(Helper.Arguments arguments, Helper.Reply reply) throws Exception {
        String topic = arguments.text();
        String which = arguments.text();
        OffsetSpec spec = switch (which) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            default -> OffsetSpec.forTimestamp(Long.parseLong(which));
        };
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        for (TopicPartitionInfo partition : describe(admin(), topic).partitions()) {
            asked.put(new TopicPartition(topic, partition.partition()), spec);
        }
        List<Map.Entry<TopicPartition, ListOffsetsResult.ListOffsetsResultInfo>> found =
                new ArrayList<>(admin().listOffsets(asked).all().get().entrySet());
        found.sort(Comparator.comparingInt(entry -> entry.getKey().partition()));
        for (var entry : found) {
            reply.row(entry.getKey().partition(), entry.getValue().offset());
        }
    }
}
