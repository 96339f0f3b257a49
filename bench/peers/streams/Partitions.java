import java.util.Optional;
import java.util.Set;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;

/** Remembers of each result in which partition it came about, which is the one it is written to. */
final class Partitions extends ContextualProcessor<Long, StreamJoin.Speed, byte[], Placed> {
    @Override
    public void process(Record<Long, StreamJoin.Speed> record) {
        Placed placed = new Placed(record.value(), context().taskId().partition());
        context().forward(record.withKey((byte[]) null).withValue(placed));
    }

    static Optional<Set<Integer>> of(String topic, byte[] key, Placed placed, int partitions) {
        return Optional.of(Set.of(placed.partition()));
    }
}

/** A result and its partition. */
record Placed(StreamJoin.Speed speed, int partition) {}
