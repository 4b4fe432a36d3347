//! What each path of the administration answers.

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;

use super::{Check, Operations, host, process};
use crate::record::exposition::Format;

/// The field that `POST /reload` must carry. A page in a browser cannot send it to another origin
/// without a preflight, which nobody answers here.
pub(super) const GUARD: &str = "x-scopegate-admin";

pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request. Bodies are never read: nothing here needs one.
pub(super) async fn answer<O: Operations, B>(operations: &O, request: &Request<B>) -> Answer {
    if !host::is_ours(request) {
        return problem(StatusCode::MISDIRECTED_REQUEST, "Use an address or localhost as the host");
    }
    let path = request.uri().path();
    let allowed = match path {
        "/" | "/livez" | "/metrics" | "/readyz" => "GET, HEAD",
        "/reload" => "POST",
        _ => return problem(StatusCode::NOT_FOUND, "There is no such page; / lists them"),
    };
    if !allowed.split(", ").any(|allowed| allowed == request.method().as_str()) {
        return method_refused(allowed);
    }
    match path {
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/metrics" => metrics(operations, request.headers()),
        "/readyz" => readiness(&operations.checks(), is_verbose(request.uri().query())),
        "/reload" => reload(operations, request.headers()).await,
        _ => text(StatusCode::OK, PAGES.to_owned()),
    }
}

fn metrics<O: Operations>(operations: &O, headers: &HeaderMap) -> Answer {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let mut families = operations.metrics().registry.gather();
    families.extend(process::families());
    respond(StatusCode::OK, format.content_type(), format.write(&families))
}

fn readiness(checks: &[Check], verbose: bool) -> Answer {
    let ready = checks.iter().all(|check| check.result.is_ok());
    let lines: String = checks.iter().filter_map(|check| line(check, verbose)).collect();
    match ready {
        true => text(StatusCode::OK, lines + "ready\n"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, lines + "not ready\n"),
    }
}

/// What stands in the way is always said, what is well only when asked.
fn line(check: &Check, verbose: bool) -> Option<String> {
    match &check.result {
        Ok(state) => verbose.then(|| format!("[+] {} ok: {state}\n", check.name)),
        Err(reason) => Some(format!("[-] {} failed: {reason}\n", check.name)),
    }
}

fn is_verbose(query: Option<&str>) -> bool {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.any(|(name, _)| name == "verbose")
}

async fn reload<O: Operations>(operations: &O, headers: &HeaderMap) -> Answer {
    if headers.get(GUARD).is_none_or(|value| value != "1") {
        return problem(StatusCode::FORBIDDEN, "Send the field X-Scopegate-Admin: 1");
    }
    match operations.reload().await {
        Ok(reloaded) => json(StatusCode::OK, "application/json", &reloaded),
        Err(refused) => {
            let body = serde_json::json!({
                "type": "about:blank",
                "title": "The configuration was rejected",
                "status": StatusCode::UNPROCESSABLE_ENTITY.as_u16(),
                "summary": refused.summary,
                "problems": refused.problems,
                "running_since": refused.running_since,
            });
            json(StatusCode::UNPROCESSABLE_ENTITY, PROBLEM, &body)
        }
    }
}

pub(super) fn method_refused(allowed: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "This page does not do that");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// RFC 9457.
pub(super) fn problem(status: StatusCode, title: &str) -> Answer {
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(),
    });
    json(status, PROBLEM, &body)
}

pub(super) fn json<T: serde::Serialize>(
    status: StatusCode,
    kind: &'static str,
    body: &T,
) -> Answer {
    // Text and numbers always serialise.
    respond(status, kind, serde_json::to_string(body).unwrap_or_default())
}

fn text(status: StatusCode, body: String) -> Answer {
    respond(status, "text/plain; charset=utf-8", body)
}

pub(super) fn respond(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

pub(super) const PROBLEM: &str = "application/problem+json";

const PAGES: &str = "\
scopegate administration
GET  /metrics          metrics for Prometheus
GET  /livez            whether the process runs
GET  /readyz?verbose   whether requests can be served, and what stands in the way
POST /reload           read the configuration again (with the field X-Scopegate-Admin: 1)
GET  /revocations      what is revoked; POST enters one, DELETE /revocations/ID withdraws it
";

#[cfg(test)]
mod tests {
    use http::Method;
    use http_body_util::BodyExt;

    use super::super::{Desk, Refused, Reloaded};
    use super::*;
    use crate::record::metrics::Metrics;

    struct Stub {
        metrics: Metrics,
        keys: Result<String, String>,
        reload: Result<Reloaded, Refused>,
    }

    impl Operations for Stub {
        fn metrics(&self) -> &Metrics {
            &self.metrics
        }

        fn checks(&self) -> Vec<Check> {
            let draining = Check { name: "drain".into(), result: Ok("not draining".into()) };
            vec![draining, Check { name: "issuer main".into(), result: self.keys.clone() }]
        }

        fn revocation_desk(&self) -> Option<Desk> {
            None
        }

        async fn reload(&self) -> Result<Reloaded, Refused> {
            self.reload.clone()
        }
    }

    fn ready() -> Stub {
        let reload =
            Ok(Reloaded { took_ms: 3, added: 1, removed: 0, changed: 2, notes: Vec::new() });
        Stub { metrics: Metrics::default(), keys: Ok("3 keys, ES256 RS256".into()), reload }
    }

    fn request(method: Method, target: &str) -> Request<()> {
        Request::builder().method(method).uri(target).header("host", "127.0.0.1").body(()).unwrap()
    }

    async fn ask(stub: &Stub, request: &Request<()>) -> (Response<()>, String) {
        let (head, body) = answer(stub, request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(head, ()), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(stub: &Stub, target: &str) -> (StatusCode, String) {
        let (head, body) = ask(stub, &request(Method::GET, target)).await;
        (head.status(), body)
    }

    #[tokio::test]
    async fn readiness_says_what_stands_in_the_way() {
        assert_eq!(get(&ready(), "/readyz").await, (StatusCode::OK, "ready\n".into()));
        let verbose = "[+] drain ok: not draining\n\
                       [+] issuer main ok: 3 keys, ES256 RS256\nready\n";
        assert_eq!(get(&ready(), "/readyz?verbose").await, (StatusCode::OK, verbose.into()));
        let stub = Stub { keys: Err("no answer yet".into()), ..ready() };
        let failed = "[-] issuer main failed: no answer yet\nnot ready\n";
        let expected = (StatusCode::SERVICE_UNAVAILABLE, failed.to_owned());
        assert_eq!(get(&stub, "/readyz").await, expected);
        assert_eq!(get(&stub, "/livez").await, (StatusCode::OK, "ok\n".into()));
    }

    #[tokio::test]
    async fn metrics_come_in_the_format_asked_for() {
        let (head, body) = ask(&ready(), &request(Method::GET, "/metrics")).await;
        assert_eq!(head.headers()["content-type"], Format::Text.content_type());
        assert!(body.contains("scopegate_build_info{"), "{body}");
        assert!(body.contains("process_open_fds "), "{body}");
        let mut asking = request(Method::GET, "/metrics");
        let accept = HeaderValue::from_static("application/openmetrics-text; version=1.0.0");
        asking.headers_mut().insert(ACCEPT, accept);
        let (head, body) = ask(&ready(), &asking).await;
        assert_eq!(head.headers()["content-type"], Format::OpenMetrics.content_type());
        assert!(body.contains("process_cpu_seconds_total "), "{body}");
        assert!(body.ends_with("# EOF\n"), "{body}");
    }

    #[tokio::test]
    async fn reload_needs_the_guard_field() {
        let mut asking = request(Method::POST, "/reload");
        assert_eq!(ask(&ready(), &asking).await.0.status(), StatusCode::FORBIDDEN);
        asking.headers_mut().insert(GUARD, HeaderValue::from_static("1"));
        let (head, body) = ask(&ready(), &asking).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(serde_json::from_str::<Reloaded>(&body).unwrap(), ready().reload.unwrap());
    }

    #[tokio::test]
    async fn a_refused_reload_says_why() {
        let refused =
            Refused { summary: "E012 a list".into(), problems: "…".into(), running_since: 7 };
        let stub = Stub { reload: Err(refused.clone()), ..ready() };
        let mut asking = request(Method::POST, "/reload");
        asking.headers_mut().insert(GUARD, HeaderValue::from_static("1"));
        let (head, body) = ask(&stub, &asking).await;
        assert_eq!(head.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(head.headers()["content-type"], PROBLEM);
        assert_eq!(serde_json::from_str::<Refused>(&body).unwrap(), refused);
    }

    #[tokio::test]
    async fn other_paths_methods_and_hosts_are_refused() {
        assert_eq!(get(&ready(), "/orders").await.0, StatusCode::NOT_FOUND);
        assert!(get(&ready(), "/").await.1.contains("/readyz"));
        let (head, _) = ask(&ready(), &request(Method::DELETE, "/metrics")).await;
        assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(head.headers()["allow"], "GET, HEAD");
        let (head, _) = ask(&ready(), &request(Method::GET, "/reload")).await;
        assert_eq!(head.headers()["allow"], "POST");
        let mut rebound = request(Method::GET, "/metrics");
        rebound.headers_mut().insert("host", HeaderValue::from_static("evil.example"));
        let (head, _) = ask(&ready(), &rebound).await;
        assert_eq!(head.status(), StatusCode::MISDIRECTED_REQUEST);
    }
}
