import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Consumer groups: their members and their offsets. */
final class Groups {
    private final Properties properties;
    private Admin admin;

    Groups(Properties properties) {
        this.properties = properties;
    }

    void add(Map<String, Helper.Command> commands) {
        commands.put("groups", (arguments, reply) -> {
            for (GroupListing group : admin().listGroups().all().get()) {
                reply.row(group.groupId());
            }
        });
        commands.put("describe-group", this::describe);
        commands.put("delete-group", (arguments, reply) -> {
            admin().deleteConsumerGroups(List.of(arguments.text())).all().get();
        });
        commands.put("group-offsets", (arguments, reply) -> {
            String group = arguments.text();
            Decided.await(admin());
            var found = admin().listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata(group).get();
            found.forEach((partition, offset) -> {
                // Null for a partition that was asked for and has none.
                if (offset != null) {
                    reply.row(partition.topic(), partition.partition(), offset.offset(), offset.metadata());
                }
            });
        });
        commands.put("set-group-offsets", (arguments, reply) -> {
            admin().alterConsumerGroupOffsets(arguments.text(), offsets(arguments)).all().get();
        });
        commands.put("delete-group-offsets", (arguments, reply) -> {
            String group = arguments.text();
            Set<TopicPartition> partitions = new HashSet<>();
            while (arguments.more()) {
                partitions.add(new TopicPartition(arguments.text(), arguments.number()));
            }
            admin().deleteConsumerGroupOffsets(group, partitions).all().get();
        });
    }

    /** All that is left of a request, as topic, partition, offset and metadata. */
    static Map<TopicPartition, OffsetAndMetadata> offsets(Helper.Arguments arguments) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        while (arguments.more()) {
            TopicPartition partition = new TopicPartition(arguments.text(), arguments.number());
            offsets.put(partition, new OffsetAndMetadata(arguments.wide(), arguments.text()));
        }
        return offsets;
    }

    private synchronized Admin admin() {
        if (admin == null) {
            admin = Admin.create(properties);
        }
        return admin;
    }

    private void describe(Helper.Arguments arguments, Helper.Reply reply) throws Exception {
        String group = arguments.text();
        ConsumerGroupDescription found = admin().describeConsumerGroups(List.of(group)).all().get().get(group);
        reply.row("group", found.groupState().toString(), found.partitionAssignor());
        for (MemberDescription member : found.members()) {
            reply.row("member", member.consumerId(), member.clientId(), member.host());
            for (TopicPartition partition : member.assignment().topicPartitions()) {
                reply.row("assigned", partition.topic(), partition.partition());
            }
        }
    }
}
