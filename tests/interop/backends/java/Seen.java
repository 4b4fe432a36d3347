import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.Collections;
import java.util.HexFormat;

/** A handler that notes what it was run for. */
public class Seen extends HttpServlet {
    static final String[][] HANDLERS = {
        {"admin", "/admin/*"}, {"orders", "/orders/*"}, {"verb", "/me:delete"}, {"cafe", "/café"}, {"keys", "/keys"}, {"other", "/"},
    };
    private final String name;

    public Seen(String name) {
        this.name = name;
    }

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String path = request.getServletPath() + (request.getPathInfo() == null ? "" : request.getPathInfo());
        String handler = name;
        // The servlet specification has no patterns with parameters.
        if (name.equals("other") && path.matches("/users/[^/]+")) handler = "user";
        if (name.equals("other") && path.matches("/users/[^/]+/secret")) handler = "secret";
        if (name.equals("other") && path.matches("(?s)/own/[^/]+(/.*)?")) handler = "own";
        respond(handler, path, request, response);
    }

    static void respond(String handler, String path, HttpServletRequest request, HttpServletResponse response) throws IOException {
        boolean lazy = request.getHeader("X-Lazy") != null;
        byte[] body = lazy ? new byte[0] : request.getInputStream().readAllBytes();
        String line = line(handler, path, request, body, lazy);
        synchronized (Seen.class) {
            Files.writeString(Path.of(System.getenv("LOG")), line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        }
        response.setContentType("application/json");
        response.getOutputStream().write(line.getBytes(StandardCharsets.UTF_8));
    }

    private static String line(String handler, String path, HttpServletRequest request, byte[] body, boolean lazy) {
        StringBuilder headers = new StringBuilder();
        for (String name : Collections.list(request.getHeaderNames())) {
            for (String value : Collections.list(request.getHeaders(name))) {
                headers.append(headers.isEmpty() ? "" : ",").append('[').append(text(name)).append(',').append(text(value)).append(']');
            }
        }
        return "{\"handler\":" + text(handler) + ",\"method\":" + text(request.getMethod()) + ",\"path\":" + text(path)
            + ",\"target\":" + text(request.getRequestURI()) + ",\"query\":" + text(request.getQueryString())
            + ",\"host\":" + text(request.getHeader("Host")) + ",\"client\":" + text(request.getRemoteAddr())
            + ",\"user\":" + text(request.getRemoteUser()) + ",\"headers\":[" + headers + "],\"length\":" + body.length
            + ",\"sha\":" + text(sha(body)) + ",\"lazy\":" + lazy + "}\n";
    }

    private static String sha(byte[] body) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
        } catch (java.security.GeneralSecurityException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static String text(String value) {
        if (value == null) return "null";
        StringBuilder out = new StringBuilder("\"");
        for (char letter : value.toCharArray()) {
            boolean plain = letter >= ' ' && letter < 127 && letter != '"' && letter != '\\';
            out.append(plain ? String.valueOf(letter) : String.format("\\u%04x", (int) letter));
        }
        return out.append('"').toString();
    }
}
