import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;

/** Transactions that are decided, and cannot be seen yet. */
final class Decided {
    private Decided() {}

    /**
     * Waits until the transactions that are decided now can be seen. A commit returns when its coordinator has written it down, which is before the
     * partitions, and the group's coordinator, have heard of it.
     */
    static void await(Admin admin) throws Exception {
        Set<String> before = now(admin);
        while (!before.isEmpty()) {
            Thread.sleep(5);
            before.retainAll(now(admin));
        }
    }

    private static Set<String> now(Admin admin) throws Exception {
        Set<TransactionState> states = Set.of(TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT);
        ListTransactionsOptions options = new ListTransactionsOptions().filterStates(states);
        return admin.listTransactions(options).all().get().stream()
                .map(TransactionListing::transactionalId)
                .collect(Collectors.toSet());
    }
}
