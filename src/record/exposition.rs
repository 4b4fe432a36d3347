//! The text of `/metrics`: the Prometheus format 0.0.4, or OpenMetrics 1.0 for those who ask.

use std::fmt::{self, Write};

use prometheus::TextEncoder;
use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4: what everyone reads.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` field asks for (RFC 9110 §12.5.1): OpenMetrics if it is named
    /// and not with weight 0.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let asked = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"))
                && parts.all(is_acceptable)
        });
        if asked { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The families as text.
    #[must_use]
    pub fn write(self, families: &[MetricFamily]) -> String {
        let mut text = String::with_capacity(64 << 10);
        match self {
            // Fails only for a family without series or of an unknown type: neither is gathered.
            Self::Text => drop(TextEncoder::new().encode_utf8(families, &mut text)),
            // Writing to a string does not fail.
            Self::OpenMetrics => drop(open_metrics(families, &mut text)),
        }
        text
    }
}

/// Whether a parameter leaves version 1.0.0 acceptable.
fn is_acceptable(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some(("version", version)) => version.starts_with("1.0"),
        Some(("q", weight)) => weight.trim().parse().is_ok_and(|weight: f64| weight > 0.0),
        Some(_) | None => true,
    }
}

fn open_metrics(families: &[MetricFamily], out: &mut String) -> fmt::Result {
    for family in families {
        open_metrics_family(family, out)?;
    }
    out.write_str("# EOF\n")
}

/// OpenMetrics names a counter's family without the suffix that its samples have.
fn open_metrics_family(family: &MetricFamily, out: &mut String) -> fmt::Result {
    let kind = family.get_field_type();
    let (name, word) = match kind {
        MetricType::COUNTER => (family.name().trim_end_matches("_total"), "counter"),
        MetricType::GAUGE => (family.name(), "gauge"),
        MetricType::HISTOGRAM => (family.name(), "histogram"),
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    writeln!(out, "# TYPE {name} {word}")?;
    writeln!(out, "# HELP {name} {}", Escaped(family.help()))?;
    for series in family.get_metric() {
        match kind {
            MetricType::COUNTER => {
                sample(out, name, "_total", series, None, series.get_counter().get_value())?;
            }
            MetricType::GAUGE => {
                sample(out, name, "", series, None, series.get_gauge().get_value())?
            }
            MetricType::HISTOGRAM => histogram(out, name, series, series.get_histogram())?,
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
    Ok(())
}

fn histogram(out: &mut String, name: &str, series: &Metric, histogram: &Histogram) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "the format's numbers are floats")]
    let count = |number: u64| number as f64;
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    for bucket in finite {
        let bound = Number(bucket.upper_bound()).to_string();
        sample(out, name, "_bucket", series, Some(&bound), count(bucket.cumulative_count()))?;
    }
    let all = count(histogram.get_sample_count());
    sample(out, name, "_bucket", series, Some("+Inf"), all)?;
    sample(out, name, "_count", series, None, all)?;
    sample(out, name, "_sum", series, None, histogram.get_sample_sum())
}

fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    series: &Metric,
    bound: Option<&str>,
    value: f64,
) -> fmt::Result {
    write!(out, "{name}{suffix}")?;
    labels(out, series.get_label(), bound)?;
    writeln!(out, " {}", Number(value))
}

fn labels(out: &mut String, labels: &[LabelPair], bound: Option<&str>) -> fmt::Result {
    let own = labels.iter().map(|label| (label.name(), label.value()));
    let mut opening = '{';
    for (name, value) in own.chain(bound.map(|bound| ("le", bound))) {
        write!(out, "{opening}{name}=\"{}\"", Escaped(value))?;
        opening = ',';
    }
    if opening == ',' { out.write_char('}') } else { Ok(()) }
}

/// A number in the canonical form: `1.0`, `0.005`, `+Inf`.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            value if value.is_infinite() && value > 0.0 => f.write_str("+Inf"),
            value if value.is_infinite() => f.write_str("-Inf"),
            value if value.fract() == 0.0 => write!(f, "{value:.1}"),
            value => write!(f, "{value}"),
        }
    }
}

/// Text with `\`, `"` and line feeds escaped, in label values and HELP lines alike.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::metrics::Metrics;
    use crate::record::route_metrics::Outcome;

    fn filled() -> Vec<MetricFamily> {
        let metrics = Metrics::default();
        let odd = metrics.by_route.of(&"/a\"\\\n".into());
        (0..3).for_each(|_| odd.count_request(&http::Method::GET, 200));
        metrics.by_route.of(&"/a".into()).count_duration(Outcome::Ok, Duration::from_millis(20));
        metrics.overhead.observe(0.000_3);
        metrics.connections.with_label_values(&["127.0.0.1:8443"]).set(2);
        metrics.registry.gather()
    }

    #[test]
    fn open_metrics_drops_the_suffix_of_counter_families_alone() {
        let text = Format::OpenMetrics.write(&filled());
        assert!(text.contains("# TYPE scopegate_http_requests counter\n"), "{text}");
        let sample =
            r#"scopegate_http_requests_total{code="200",method="GET",route="/a\"\\\n"} 3.0"#;
        assert!(text.contains(sample), "{text}");
        assert!(
            text.contains("scopegate_connections{listener=\"127.0.0.1:8443\"} 2.0\n"),
            "{text}"
        );
    }

    #[test]
    fn open_metrics_histograms_end_in_inf_and_agree_with_their_count() {
        let text = Format::OpenMetrics.write(&filled());
        for line in [
            "scopegate_http_request_duration_seconds_bucket{outcome=\"ok\",route=\"/a\",le=\"0.025\"} 1.0",
            "scopegate_http_request_duration_seconds_bucket{outcome=\"ok\",route=\"/a\",le=\"1.0\"} 1.0",
            "scopegate_http_request_duration_seconds_bucket{outcome=\"ok\",route=\"/a\",le=\"+Inf\"} 1.0",
            "scopegate_http_request_duration_seconds_count{outcome=\"ok\",route=\"/a\"} 1.0",
            "scopegate_overhead_seconds_bucket{le=\"0.0005\"} 1.0",
            "scopegate_overhead_seconds_count 1.0",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
    }

    /// Every line is a TYPE or HELP of a family not seen before, a sample of the family that was
    /// last announced, or the end.
    #[test]
    fn ob_05_open_metrics_is_well_formed() {
        let text = Format::OpenMetrics.write(&filled());
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(text.matches("# EOF").count(), 1);
        let mut seen = std::collections::HashSet::new();
        let mut family = "";
        for line in text.lines().take_while(|line| *line != "# EOF") {
            if let Some(announced) = line.strip_prefix("# TYPE ") {
                family = announced.split(' ').next().unwrap();
                assert!(seen.insert(family), "{family} comes twice");
            } else if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(help.starts_with(family), "{line}");
            } else {
                let suffix = line.strip_prefix(family).expect(line);
                let known = ["_total", "_bucket", "_count", "_sum", "{", " "];
                assert!(known.iter().any(|known| suffix.starts_with(known)), "{line}");
                line.rsplit(' ').next().unwrap().parse::<f64>().expect(line);
            }
        }
    }

    #[test]
    fn the_accept_field_decides() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
                          application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("Application/OpenMetrics-Text"), Format::OpenMetrics);
        assert_eq!(Format::accepted("application/openmetrics-text;version=0.0.1"), Format::Text);
        assert_eq!(Format::accepted("application/openmetrics-text; q=0"), Format::Text);
        assert_eq!(Format::accepted("text/plain, */*;q=0.1"), Format::Text);
        assert_eq!(Format::accepted(""), Format::Text);
    }

    #[test]
    fn the_text_format_keeps_whole_names() {
        let text = Format::Text.write(&filled());
        assert!(text.contains("# TYPE scopegate_http_requests_total counter\n"), "{text}");
        assert!(!text.contains("# EOF"));
    }
}
