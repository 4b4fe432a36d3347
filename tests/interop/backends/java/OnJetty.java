import java.net.InetSocketAddress;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.http.UriCompliance;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/** Jetty with servlets; with MODE=relaxed it passes encoded slashes on. */
public class OnJetty {
    public static void main(String[] args) throws Exception {
        Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))));
        boolean relaxed = "relaxed".equals(System.getenv("MODE"));
        ServerConnector connector = (ServerConnector) server.getConnectors()[0];
        if (relaxed) connector.getConnectionFactory(HttpConnectionFactory.class).getHttpConfiguration().setUriCompliance(UriCompliance.LEGACY);
        ServletContextHandler context = new ServletContextHandler("/");
        if (relaxed) context.getServletHandler().setDecodeAmbiguousURIs(true);
        for (String[] handler : Seen.HANDLERS) context.addServlet(new ServletHolder(new Seen(handler[0])), handler[1]);
        server.setHandler(context);
        server.start();
        server.join();
    }
}
