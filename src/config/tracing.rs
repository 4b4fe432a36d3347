//! `tracing:`, and the variables of OpenTelemetry that complete it.

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::language::TRACING;
use super::network::parse_url;
use super::reading::{Fault, Fields, Reading};
use super::value::{parsed, word};
use super::yaml::Node;
use super::{Place, Problem};

/// How the gateway takes part in traces (W3C Trace Context).
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Whose word on the trace counts. Default everybody's.
    pub trust: Trust,
    /// The share of traces that begin here and are exported, from 0 to 1. Default 1.
    pub sample: f64,
    /// Where they are exported to. Default nowhere.
    pub otlp: Option<Otlp>,
}

/// Whose `traceparent`, `tracestate` and `baggage` count; a trace of anybody else begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Everybody's.
    #[default]
    All,
    /// Those of `trusted_proxies`.
    Proxies,
    /// Nobody's.
    None,
}

/// A collector that takes OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Where traces are posted to, such as `http://collector:4318/v1/traces`.
    pub url: String,
    /// What is sent along; often secret, and marked so.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the gateway is called. Default `scopegate`.
    pub service: String,
    /// What else is said of the gateway.
    pub resource: Vec<(String, String)>,
}

/// `tracing:`. A collector that the environment names is used even without it.
pub(super) fn tracing(
    reading: &mut Reading<'_>,
    file: &Fields<'_>,
    root: Place,
) -> Option<Tracing> {
    let written = file.read(reading, "tracing", section);
    let mut environment = Environment { reading, at: root };
    let found = written.as_ref().and_then(|written| written.url.clone());
    let url = found.or_else(|| environment.url());
    if url.is_none() && written.is_none() {
        return None;
    }
    let written = written.unwrap_or_default();
    let sample = written.sample.or_else(|| environment.sample());
    let otlp = url.map(|url| environment.collector(url));
    Some(Tracing { trust: written.trust, sample: sample.unwrap_or(1.0), otlp })
}

/// What the file says.
#[derive(Default)]
struct Written {
    trust: Trust,
    sample: Option<f64>,
    url: Option<String>,
}

fn section(reading: &mut Reading<'_>, node: &Node) -> Option<Written> {
    let fields = Fields::open(reading, node, &TRACING, " in `tracing`")?;
    let trusts = [("all", Trust::All), ("proxies", Trust::Proxies), ("none", Trust::None)];
    let trust = fields.read(reading, "trust", |r, node| word(r, node, &trusts));
    Some(Written {
        trust: trust.unwrap_or_default(),
        sample: fields.read(reading, "sample", |r, n| parsed(r, n, "a share", parse_share)),
        url: fields.read(reading, "otlp", otlp),
    })
}

fn otlp(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    let url = parsed(reading, node, "the URL of a collector", parse_collector)?;
    if !cfg!(feature = "otlp") {
        reading.note(
            Problem::new("E083", node.at, "this build of scopegate does not export traces")
                .label("they would go nowhere")
                .help("build it with `--features otlp`, or delete this key"),
        );
    }
    if url.contains(":4317/") {
        reading.note(
            Problem::new("A160", node.at, "this port usually speaks gRPC")
                .label("traces are sent over HTTP, for which collectors have port 4318"),
        );
    }
    Some(url)
}

/// The variables that every exporter of OpenTelemetry reads. What the file says comes before them.
struct Environment<'r, 'v> {
    reading: &'r mut Reading<'v>,
    /// Where problems are shown: they have no place of their own.
    at: Place,
}

impl Environment<'_, '_> {
    fn url(&mut self) -> Option<String> {
        let off =
            self.value("OTEL_SDK_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"));
        if off || !cfg!(feature = "otlp") {
            return None;
        }
        let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        if self.value(traces).is_some() {
            return self.parsed(traces, |text| parse_url(text).ok().map(|_| text.to_owned()));
        }
        self.parsed("OTEL_EXPORTER_OTLP_ENDPOINT", |text| parse_collector(text).ok())
    }

    fn sample(&mut self) -> Option<f64> {
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        self.parsed("OTEL_TRACES_SAMPLER_ARG", |text| text.parse().ok().filter(is_share))
    }

    fn collector(&mut self, url: String) -> Otlp {
        let headers = self.parsed("OTEL_EXPORTER_OTLP_HEADERS", |text| {
            pairs(text)?.into_iter().map(|(name, value)| header(&name, &value)).collect()
        });
        let resource = self.parsed("OTEL_RESOURCE_ATTRIBUTES", pairs).unwrap_or_default();
        let named = resource.iter().find(|(key, _)| key == SERVICE).map(|(_, name)| name.clone());
        let service = self.value("OTEL_SERVICE_NAME").or(named);
        Otlp {
            url,
            headers: headers.unwrap_or_default(),
            service: service.unwrap_or_else(|| "scopegate".to_owned()),
            resource: resource.into_iter().filter(|(key, _)| key != SERVICE).collect(),
        }
    }

    /// A variable that is set and not empty.
    fn value(&self, name: &str) -> Option<String> {
        self.reading.variables.value(name).filter(|value| !value.trim().is_empty())
    }

    /// A variable as `parse` reads it. Its value is not shown: it may be a secret.
    fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let parsed = parse(value.trim());
        if parsed.is_none() {
            let message = format!("the environment variable {name} cannot be used");
            let help = "correct it, or set OTEL_SDK_DISABLED=true to export nothing by it";
            let label = "its form is that of the OpenTelemetry specification";
            self.reading.note(Problem::new("E084", self.at, message).label(label).help(help));
        }
        parsed
    }
}

/// The URL that traces are posted to, below the collector's own.
fn parse_collector(text: &str) -> Result<String, Fault> {
    parse_url(text)?;
    let base = text.trim_end_matches('/');
    Ok(if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") })
}

/// `5%` as 0.05.
fn parse_share(text: &str) -> Result<f64, Fault> {
    let unit = || Fault::new("E060", "has no unit", "expected a share such as `5%`");
    let number = text.strip_suffix('%').ok_or_else(unit)?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = number.parse().ok().filter(|_| plain).ok_or_else(unit)?;
    if percent > 100.0 {
        return Err(Fault::new("E061", "is out of range", "expected 0% to 100%"));
    }
    Ok(percent / 100.0)
}

/// `a=1,b=2`, percent-encoded as in `baggage`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let pair = |member: &str| {
        let (key, value) = member.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((key.trim().to_owned(), value.into_owned()))
    };
    members.map(pair).collect()
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value: HeaderValue = value.parse().ok()?;
    value.set_sensitive(true);
    Some((name.parse().ok()?, value))
}

const PATH: &str = "/v1/traces";
const SERVICE: &str = "service.name";

#[cfg(all(test, feature = "otlp"))]
mod tests {
    use super::*;
    use crate::config::{Loaded, Variables, load_text};

    fn loaded(line: &str, variables: &[(&str, &str)]) -> Loaded {
        let text = format!(
            "issuer: https://id.example.com\naudience: api\nupstream: http://127.0.0.1:1\n\
             routes: {{ /a: {{ GET: a }} }}\n{line}\n"
        );
        let all = variables.iter().fold(Variables::default(), |all, (n, v)| all.with(n, v));
        load_text("gateway.yaml", &text, &all)
    }

    fn tracing(line: &str, variables: &[(&str, &str)]) -> Option<Tracing> {
        let loaded = loaded(line, variables);
        let problems = loaded.problems.render(&loaded.sources, false);
        loaded.config.unwrap_or_else(|| panic!("{problems}")).tracing
    }

    #[test]
    fn the_file_comes_before_the_environment() {
        assert_eq!(tracing("", &[]), None);
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example/otel/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%20key, x-tenant=a"),
            ("OTEL_SERVICE_NAME", "edge"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ];
        let found = tracing("", &environment).unwrap();
        assert_eq!((found.trust, found.sample), (Trust::All, 0.25));
        assert!(!format!("{found:?}").contains("s3cret"));
        let otlp = found.otlp.unwrap();
        assert_eq!(otlp.url, "https://collector.example/otel/v1/traces");
        assert_eq!(otlp.headers[0].1, "s3cret key");
        assert_eq!(otlp.service, "edge");
        assert_eq!(otlp.resource, [("deployment.environment.name".into(), "test".into())]);

        let written = "tracing: { otlp: http://other:4318, sample: 5%, trust: none }";
        let found = tracing(written, &environment).unwrap();
        assert_eq!((found.trust, found.sample), (Trust::None, 0.05));
        assert_eq!(found.otlp.unwrap().url, "http://other:4318/v1/traces");
    }

    #[test]
    fn the_environment_can_name_the_whole_url_or_turn_it_off() {
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/in");
        assert_eq!(tracing("", &[whole]).unwrap().otlp.unwrap().url, "http://collector/in");
        assert_eq!(tracing("", &[whole, ("OTEL_SDK_DISABLED", "true")]), None);
        assert!(tracing("tracing: { trust: all }", &[]).unwrap().otlp.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_value() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "s3cret:4317"),
            ("OTEL_TRACES_SAMPLER_ARG", "7"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ] {
            let loaded = loaded("tracing: { otlp: http://c:4318 }", &[(name, value)]);
            let used = name != "OTEL_EXPORTER_OTLP_ENDPOINT";
            let shown = loaded.problems.render(&loaded.sources, false);
            assert_eq!(shown.contains("E084") && shown.contains(name), used, "{shown}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let codes = |line: &str| {
            loaded(line, &[]).problems.0.iter().map(|found| found.code).collect::<Vec<_>>()
        };
        assert_eq!(codes("tracing: { sample: 5 }"), ["E060"]);
        assert_eq!(codes("tracing: { sample: 0.05 }"), ["E060"]);
        assert_eq!(codes("tracing: { sample: 101% }"), ["E061"]);
        assert_eq!(codes("tracing: { otlp: collector }"), ["E022"]);
        assert_eq!(codes("tracing: { otlp: http://c:4317 }"), ["A160"]);
        assert_eq!(codes("tracing: { trust: some }"), ["E008"]);
    }
}
