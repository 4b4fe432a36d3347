//! `protocol:` and `tls:` of an upstream.

use rustls_pki_types::ServerName;

use super::language::UPSTREAM_TLS;
use super::reading::{Fault, Fields, Reading};
use super::server::{flag, pair, path, set};
use super::value::{parsed, word};
use super::yaml::Node;
use super::{Problem, Protocol, Upstream, UpstreamTls};

/// Reads both into `upstream`, whose targets are known.
pub(super) fn read(reading: &mut Reading<'_>, fields: &Fields<'_>, upstream: &mut Upstream) {
    let words = [("http1", Protocol::Http1), ("h2", Protocol::Http2), ("auto", Protocol::Auto)];
    set(&mut upstream.protocol, fields.read(reading, "protocol", |r, node| word(r, node, &words)));
    let Some(node) = fields.find(reading, "tls") else { return };
    let Some(tls) = settings(reading, node) else { return };
    if !upstream.targets.is_empty()
        && !upstream.targets.iter().any(|target| target.address.is_secured())
    {
        reading.note(
            Problem::new("E089", node.at, "`tls` has no effect: no target is `https://`")
                .label("this protects nothing")
                .help("write the targets as `https://host:port`, or delete `tls`"),
        );
    }
    upstream.tls = tls;
}

fn settings(reading: &mut Reading<'_>, node: &Node) -> Option<UpstreamTls> {
    let fields = Fields::open(reading, node, &UPSTREAM_TLS, " in `tls` of an upstream")?;
    let has_pair = ["cert", "key"].iter().any(|key| fields.key_at(key).is_some());
    let tls = UpstreamTls {
        ca: fields.read(reading, "ca", path),
        pair: has_pair.then(|| pair(reading, node, &fields)).flatten(),
        server_name: fields.read(reading, "server_name", |r, node| {
            parsed(r, node, "a name such as `orders.internal`", parse_name)
        }),
        insecure_skip_verify: flag(reading, &fields, "insecure_skip_verify"),
    };
    if tls.insecure_skip_verify {
        let at = fields.key_at("insecure_skip_verify").unwrap_or(node.at);
        note_insecure(reading, &tls, at);
    }
    Some(tls)
}

fn note_insecure(reading: &mut Reading<'_>, tls: &UpstreamTls, at: super::Place) {
    if tls.ca.is_some() {
        reading.note(
            Problem::new("E089", at, "`ca` has no effect: no certificate is checked")
                .label("any certificate is believed")
                .help("delete one of the two"),
        );
    }
    reading.note(
        Problem::new("A104", at, "anyone can pretend to be this backend")
            .label("no certificate is checked")
            .help("name the authority with `ca: FILE`, and another name with `server_name`"),
    );
}

fn parse_name(text: &str) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(text.to_ascii_lowercase()).map_err(|_| {
        Fault::new("E022", "is not a server's name", "expected a DNS name or an address alone")
    })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Protocol, Variables, load_text};

    fn load(upstream: &str) -> (Vec<&'static str>, Option<Config>) {
        let text = format!(
            "issuer: https://id.example.com\naudience: a\nupstreams: {{ orders: {upstream} }}\n\
             routes: {{ /a: {{ GET: read }} }}\n"
        );
        let loaded = load_text("gateway.yaml", &text, &Variables::default());
        (loaded.problems.0.iter().map(|problem| problem.code).collect(), loaded.config)
    }

    #[test]
    fn tls_and_protocol_are_read() {
        let (codes, config) = load(
            "{ targets: https://orders:1, protocol: h2, \
             tls: { ca: ca.pem, cert: c.pem, key: k.pem, server_name: Orders.Internal } }",
        );
        let upstream = &config.unwrap().upstreams[0];
        assert_eq!((codes, upstream.protocol), (vec![], Protocol::Http2));
        let tls = &upstream.tls;
        assert_eq!(tls.ca.as_ref().unwrap().display().to_string(), "ca.pem");
        assert_eq!(tls.pair.as_ref().unwrap().key.display().to_string(), "k.pem");
        assert_eq!(tls.server_name.as_ref().unwrap().to_str(), "orders.internal");
        assert_eq!(load("https://orders").1.unwrap().upstreams[0].protocol, Protocol::Http1);
    }

    /// TL-04: what protects nothing is no protection, and what skips checks is told.
    #[test]
    fn settings_that_do_not_protect_are_told() {
        for (upstream, codes) in [
            ("{ targets: http://orders, tls: { ca: ca.pem } }", vec!["E089"]),
            ("{ targets: https://orders, tls: { cert: c.pem } }", vec!["E007"]),
            ("{ targets: https://orders, tls: { insecure_skip_verify: true } }", vec!["A104"]),
            (
                "{ targets: https://orders, tls: { ca: a, insecure_skip_verify: true } }",
                vec!["E089", "A104"],
            ),
            ("{ targets: https://orders, tls: { server_name: a b } }", vec!["E022"]),
            ("{ targets: https://orders, tls: { verify: false } }", vec!["E001"]),
            ("{ targets: https://orders, protocol: h3 }", vec!["E008"]),
        ] {
            assert_eq!(load(upstream).0, codes, "{upstream}");
        }
    }
}
