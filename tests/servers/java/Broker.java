import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;

/**
 * A broker whose storage is formatted first, where it is not yet: in one virtual machine, because a second one for the formatting
 * alone costs more than a second.
 *
 * Arguments: the file of the properties, the id of the cluster, and further arguments of the formatting.
 */
public final class Broker {
    public static void main(String[] arguments) throws Exception {
        Path file = Path.of(arguments[0]);
        Properties properties = new Properties();
        try (var reader = Files.newBufferedReader(file)) {
            properties.load(reader);
        }
        // Written by the formatting.
        if (!Files.exists(Path.of(properties.getProperty("log.dirs"), "meta.properties"))) {
            List<String> format = new ArrayList<>(List.of("format", "-c", arguments[0], "-t", arguments[1]));
            format.addAll(Arrays.asList(arguments).subList(2, arguments.length));
            int status = kafka.tools.StorageTool.execute(format.toArray(String[]::new), System.out);
            if (status != 0) {
                System.err.println("the storage cannot be formatted");
                System.exit(status);
            }
        }
        kafka.Kafka.main(new String[] {arguments[0]});
    }
}
