// Java: java.net.http and HttpURLConnection. Prints NAME OPERATION ok|what.
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.concurrent.Callable;

public class Client {
    static void attempt(String name, String operation, String wanted, Callable<String> call) {
        String said;
        try {
            String got = call.call();
            said = got.equals(wanted) ? "ok" : "FAILED " + got;
        } catch (Exception error) {
            said = "FAILED " + error;
        }
        System.out.println(name + " " + operation + " " + said);
    }

    static HttpRequest.BodyPublisher streamed() {
        return BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream("hello".getBytes()));
    }

    static String send(HttpClient client, HttpRequest.Builder builder) throws Exception {
        var answer = client.send(builder.timeout(Duration.ofSeconds(20)).build(), BodyHandlers.ofString());
        return answer.statusCode() == 200 ? answer.body() : "status " + answer.statusCode();
    }

    static String byUrl(String base, String method, boolean chunked) throws Exception {
        var connection = (HttpURLConnection) URI.create(base + "/c").toURL().openConnection();
        connection.setRequestMethod(method);
        if (method.equals("POST")) {
            connection.setDoOutput(true);
            if (chunked) connection.setChunkedStreamingMode(3);
            connection.getOutputStream().write("hello".getBytes());
        }
        if (connection.getResponseCode() != 200) return "status " + connection.getResponseCode();
        try (InputStream in = connection.getInputStream()) {
            return new String(in.readAllBytes());
        }
    }

    public static void main(String[] args) {
        String base = args[0], name = "java-HttpClient";
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        URI target = URI.create(base + "/c");
        attempt(name, "get", "GET 0", () -> send(client, HttpRequest.newBuilder(target)));
        attempt(name, "post", "POST 5",
            () -> send(client, HttpRequest.newBuilder(target).POST(BodyPublishers.ofString("hello"))));
        attempt(name, "chunked", "POST 5", () -> send(client, HttpRequest.newBuilder(target).POST(streamed())));
        attempt(name, "expect", "POST 5", () -> send(client,
            HttpRequest.newBuilder(target).expectContinue(true).POST(BodyPublishers.ofString("hello"))));
        attempt(name, "head", "",
            () -> send(client, HttpRequest.newBuilder(target).method("HEAD", BodyPublishers.noBody())));
        attempt(name, "keep-alive", "GET 0", () -> send(client, HttpRequest.newBuilder(target)));
        // its default asks for HTTP/2 by an upgrade
        HttpClient eager = HttpClient.newHttpClient();
        attempt("java-h2c", "get", "GET 0", () -> send(eager, HttpRequest.newBuilder(target)));
        attempt("java-h2c", "post", "POST 5",
            () -> send(eager, HttpRequest.newBuilder(target).POST(BodyPublishers.ofString("hello"))));
        attempt("java-URLConnection", "get", "GET 0", () -> byUrl(base, "GET", false));
        attempt("java-URLConnection", "post", "POST 5", () -> byUrl(base, "POST", false));
        attempt("java-URLConnection", "chunked", "POST 5", () -> byUrl(base, "POST", true));
        attempt("java-URLConnection", "head", "", () -> byUrl(base, "HEAD", false));
        attempt("java-URLConnection", "keep-alive", "GET 0", () -> byUrl(base, "GET", false));
    }
}
