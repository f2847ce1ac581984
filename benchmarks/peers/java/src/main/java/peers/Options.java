package peers;

import java.io.IOException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The command line of a peer: {@code --name value} pairs. */
public final class Options {
    private static final String[] COMMON = {
        "bootstrap", "input", "output", "cells", "start-ms", "pane-ms", "shape", "group", "hash", "parallelism"
    };

    private final Map<String, String> values = new HashMap<>();

    public Options(String[] arguments, String... allowed) {
        Set<String> known = new HashSet<>(List.of(COMMON));
        known.addAll(List.of(allowed));
        for (int i = 0; i < arguments.length; i += 2) {
            String name = arguments[i].startsWith("--") ? arguments[i].substring(2) : "";
            if (!known.contains(name) || i + 1 == arguments.length) {
                throw new IllegalArgumentException(arguments[i] + ": no such option, or no value");
            }
            values.put(name, arguments[i + 1]);
        }
    }

    public String text(String name) {
        String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }

    public String text(String name, String otherwise) {
        return values.getOrDefault(name, otherwise);
    }

    public int number(String name, int otherwise) {
        return values.containsKey(name) ? (int) number(name) : otherwise;
    }

    public long number(String name) {
        try {
            return Long.parseLong(text(name));
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException("--" + name + ": expected a whole number");
        }
    }

    public Cells cells() throws IOException {
        return Cells.read(Path.of(text("cells")));
    }

    /** The hash under a fresh key: no sum depends on it. */
    public Hash hash() {
        byte[] key = new byte[32];
        new SecureRandom().nextBytes(key);
        return Hash.named(text("hash", "blake2b"), key);
    }

    /** An error in one line: what went wrong first. */
    public static String explain(Throwable error) {
        while (error.getCause() != null) {
            error = error.getCause();
        }
        String message = error.getMessage();
        return message == null ? error.getClass().getSimpleName() : message.lines().findFirst().orElse("");
    }
}
