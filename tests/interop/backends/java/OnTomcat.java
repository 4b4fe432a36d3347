import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

/** Tomcat with servlets; with MODE=relaxed it passes encoded slashes on. */
public class OnTomcat {
    public static void main(String[] args) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(System.getenv("DIR"));
        tomcat.setHostname("127.0.0.1");
        tomcat.setPort(Integer.parseInt(System.getenv("PORT")));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        if ("relaxed".equals(System.getenv("MODE"))) tomcat.getConnector().setEncodedSolidusHandling("decode");
        Context context = tomcat.addContext("", System.getenv("DIR"));
        for (String[] handler : Seen.HANDLERS) {
            Tomcat.addServlet(context, handler[0], new Seen(handler[0]));
            context.addServletMappingDecoded(handler[1], handler[0]);
        }
        tomcat.start();
        tomcat.getServer().await();
    }
}
