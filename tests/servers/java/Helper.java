import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Properties;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Kafka's own Java client, driven line by line over standard input and output, so that tests do not pay for a virtual machine with each
 * question.
 *
 * A request is {@code id TAB command TAB argument ..}. Its answer is any number of {@code id TAB row TAB field ..}, and then either
 * {@code id TAB done} or {@code id TAB failed TAB class TAB message}. Requests are worked on side by side, so that a slow one holds up
 * nobody else: answers come in any order. Texts have tabs, ends of lines and backslashes escaped; bytes are hexadecimal; {@code \N} is
 * null in both. The process ends with its standard input.
 *
 * Arguments: properties of the client, as {@code name=value}.
 */
public final class Helper {
    interface Command {
        void run(Arguments arguments, Reply reply) throws Exception;
    }

    private static final PrintStream OUT =
            new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws IOException {
        Properties properties = new Properties();
        for (String argument : arguments) {
            int at = argument.indexOf('=');
            properties.setProperty(argument.substring(0, at), argument.substring(at + 1));
        }
        Map<String, Command> commands = new HashMap<>();
        new Topics(properties).add(commands);
        new Groups(properties).add(commands);
        new Records(properties).add(commands);

        ExecutorService pool = Executors.newCachedThreadPool();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split("\t", -1);
            pool.execute(() -> answer(commands, fields));
        }
        // Whoever asked is gone: nothing is closed in order, which might wait for brokers that are gone as well.
        Runtime.getRuntime().halt(0);
    }

    private static void answer(Map<String, Command> commands, String[] fields) {
        Reply reply = new Reply(fields[0]);
        try {
            Command command = commands.get(fields[1]);
            if (command == null) {
                throw new IllegalArgumentException("there is no command " + fields[1]);
            }
            command.run(new Arguments(fields), reply);
            reply.line("done");
        } catch (Throwable error) {
            Throwable cause = error;
            while ((cause instanceof ExecutionException || cause instanceof CompletionException) && cause.getCause() != null) {
                cause = cause.getCause();
            }
            StringBuilder message = new StringBuilder(String.valueOf(cause.getMessage()));
            for (Throwable below = cause.getCause(); below != null; below = below.getCause()) {
                message.append(", because ").append(below);
            }
            reply.line("failed", cause.getClass().getSimpleName(), message.toString());
        }
        synchronized (OUT) {
            OUT.flush();
        }
    }

    /** What a request asks, field by field. */
    static final class Arguments {
        private final String[] fields;
        private int next = 2;

        Arguments(String[] fields) {
            this.fields = fields;
        }

        boolean more() {
            return next < fields.length;
        }

        private String raw() {
            if (!more()) {
                throw new NoSuchElementException("the request ends too early");
            }
            String field = fields[next++];
            return field.equals("\\N") ? null : field;
        }

        String text() {
            String field = raw();
            return field == null ? null : unescaped(field);
        }

        int number() {
            return Integer.parseInt(raw());
        }

        Integer numberOrNull() {
            String field = raw();
            return field == null ? null : Integer.valueOf(field);
        }

        long wide() {
            return Long.parseLong(raw());
        }

        Long wideOrNull() {
            String field = raw();
            return field == null ? null : Long.valueOf(field);
        }

        byte[] bytes() {
            String field = raw();
            return field == null ? null : HexFormat.of().parseHex(field);
        }

        /** All that is left, as pairs of name and value. */
        Map<String, String> pairs() {
            Map<String, String> pairs = new HashMap<>();
            while (more()) {
                pairs.put(text(), text());
            }
            return pairs;
        }
    }

    /** Where the answer to a request goes. */
    static final class Reply {
        private final String id;

        Reply(String id) {
            this.id = id;
        }

        /** Fields are texts, numbers, bytes or null. */
        void row(Object... fields) {
            line("row", fields);
        }

        private void line(String kind, Object... fields) {
            StringBuilder line = new StringBuilder(id).append('\t').append(kind);
            for (Object field : fields) {
                line.append('\t');
                if (field == null) {
                    line.append("\\N");
                } else if (field instanceof byte[] bytes) {
                    line.append(HexFormat.of().formatHex(bytes));
                } else {
                    line.append(escaped(field.toString()));
                }
            }
            synchronized (OUT) {
                OUT.append(line.append('\n'));
            }
        }
    }

    private static String escaped(String text) {
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r");
    }

    private static String unescaped(String text) {
        StringBuilder out = new StringBuilder();
        for (int at = 0; at < text.length(); at++) {
            char here = text.charAt(at);
            if (here != '\\') {
                out.append(here);
                continue;
            }
            char kind = text.charAt(++at);
            out.append(kind == 't' ? '\t' : kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind);
        }
        return out.toString();
    }
}
