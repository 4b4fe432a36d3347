import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.springframework.stereotype.Controller;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.context.support.AnnotationConfigWebApplicationContext;
import org.springframework.web.servlet.DispatcherServlet;
import org.springframework.web.servlet.config.annotation.EnableWebMvc;
import org.springframework.web.servlet.config.annotation.PathMatchConfigurer;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;
import org.springframework.web.util.pattern.PathPatternParser;

/** Spring MVC on Tomcat; with MODE=fold its patterns take any case. */
@EnableWebMvc
@Controller
public class OnSpring implements WebMvcConfigurer {
    @Override
    public void configurePathMatch(PathMatchConfigurer paths) {
        PathPatternParser parser = new PathPatternParser();
        parser.setCaseSensitive(!"fold".equals(System.getenv("MODE")));
        paths.setPatternParser(parser);
    }

    @RequestMapping({"/admin", "/admin/**"})
    public void admin(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("admin", request, response); }

    @RequestMapping({"/orders", "/orders/**"})
    public void orders(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("orders", request, response); }

    @RequestMapping("/users/{id}")
    public void user(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("user", request, response); }

    @RequestMapping("/users/{id}/secret")
    public void secret(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("secret", request, response); }

    @RequestMapping({"/own/{id}", "/own/{id}/**"})
    public void own(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("own", request, response); }

    @RequestMapping("/me:delete")
    public void verb(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("verb", request, response); }

    @RequestMapping("/café")
    public void cafe(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("cafe", request, response); }

    @RequestMapping("/keys")
    public void keys(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("keys", request, response); }

    @RequestMapping("/**")
    public void other(HttpServletRequest request, HttpServletResponse response) throws IOException { respond("other", request, response); }

    private static void respond(String handler, HttpServletRequest request, HttpServletResponse response) throws IOException {
        String path = request.getServletPath() + (request.getPathInfo() == null ? "" : request.getPathInfo());
        Seen.respond(handler, path, request, response);
    }

    public static void main(String[] args) throws Exception {
        AnnotationConfigWebApplicationContext beans = new AnnotationConfigWebApplicationContext();
        beans.register(OnSpring.class);
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(System.getenv("DIR"));
        tomcat.setPort(Integer.parseInt(System.getenv("PORT")));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        Context context = tomcat.addContext("", System.getenv("DIR"));
        Tomcat.addServlet(context, "spring", new DispatcherServlet(beans)).setLoadOnStartup(1);
        context.addServletMappingDecoded("/", "spring");
        tomcat.start();
        tomcat.getServer().await();
    }
}
