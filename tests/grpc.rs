//! gRPC passes from end to end, and refusals are what its clients understand (PD-05).

use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes};
use tokio::sync::mpsc;

use crate::harness::chaos::{self, Chaos, Step::*};
use crate::harness::h2::{self, Body, Http2, secured};
use crate::harness::origin::Origin;
use crate::harness::{Harness, until, within};

const ROUTES: &str = "
plans: { once: { rate: 1/h, burst: 1 } }
routes:
  /open/**: { POST: { public: true } }
  /echo: { POST: { public: true } }
  /sink: { POST: { public: true } }
  /grpc-error: { POST: { public: true } }
  /read: { POST: orders:read }
  /write: { POST: orders:write }
  /limited: { POST: orders:read, limit: once }
  /get: { GET: { public: true } }
";

/// A gateway with TLS in front of a gRPC backend at `url`.
async fn gateway(url: &str) -> (Harness, Http2, tempfile::TempDir) {
    let (folder, pair, tls) = secured();
    let yaml = format!(
        "{tls}upstreams: {{ main: {{ targets: ['{url}'], protocol: h2, \
         timeout: {{ response: 500ms, idle: 1s }} }} }}\n{ROUTES}"
    );
    let t = Harness::start(&yaml).await;
    let client = Http2::connect(t.address(), &pair).await;
    (t, client, folder)
}

fn call(path: &str) -> http::request::Builder {
    h2::request("POST", path)
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
}

/// One message as gRPC frames it: not compressed, and its length.
fn message(text: &str) -> Bytes {
    let mut framed = vec![0];
    framed.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    framed.extend(text.as_bytes());
    framed.into()
}

/// A unary call: the answer, then its trailers.
#[tokio::test]
async fn a_unary_call_has_its_trailers() {
    let origin = Origin::start(None).await;
    let (_t, mut client, _folder) = gateway(&format!("http://{}", origin.address)).await;
    let request = call("/echo").body(h2::full(message("hello"))).unwrap();
    let response = client.begin(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let whole = within(response.into_body().collect()).await.unwrap();
    let trailers = whole.trailers().unwrap().clone();
    assert_eq!(whole.to_bytes(), message("hello"));
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-sum"]),
        (&"0".parse().unwrap(), &"10".parse().unwrap())
    );
    // HP-10: what may not stand behind a body.
    assert!(!trailers.contains_key("set-cookie") && !trailers.contains_key("www-authenticate"));
    let seen = &origin.seen()[0];
    assert_eq!(seen.headers()["te"], "trailers");
    assert_eq!(seen.headers()["content-type"], "application/grpc+proto");
    assert_eq!(seen.headers()["via"], "2.0 scopegate");
    assert_eq!(seen.uri(), "http://a.example/echo");
}

/// A stream in both directions: the head comes first, and every message when it was sent.
#[tokio::test]
async fn a_stream_flows_both_ways() {
    let origin = Origin::start(None).await;
    let (_t, mut client, _folder) = gateway(&format!("http://{}", origin.address)).await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let request: Request<Body> = call("/echo").body(h2::fed(receiver)).unwrap();
    let mut response = client.begin(request).await.unwrap();
    for round in 0..20 {
        let text = message(&format!("message {round}"));
        sender.send(text.clone()).unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < text.len() {
            let frame = within(response.body_mut().frame()).await.unwrap().unwrap();
            echoed.extend_from_slice(&frame.into_data().unwrap());
        }
        assert_eq!(echoed, text);
    }
    drop(sender);
    let trailers = within(response.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(trailers.into_trailers().unwrap()["grpc-status"], "0");
    assert!(response.body().is_end_stream());
}

/// The messages of a call come when there are any; any other upload is to keep to a rate.
#[tokio::test]
async fn a_call_may_take_its_time() {
    let origin = Origin::start(None).await;
    let (_t, mut client, _folder) = gateway(&format!("http://{}", origin.address)).await;
    let plain = h2::request("POST", "/sink");
    for (request, status) in [(call("/sink"), 200), (plain, 400)] {
        let (sender, messages) = mpsc::unbounded_channel();
        let dripping = tokio::spawn(async move {
            for _ in 0..12 {
                if sender.send(message("x")).is_err() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        });
        let response = client.begin(request.body(h2::fed(messages)).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        dripping.abort();
    }
}

/// A backend's own refusal, in its head alone, passes as it is.
#[tokio::test]
async fn a_backends_status_passes() {
    let origin = Origin::start(None).await;
    let (_t, mut client, _folder) = gateway(&format!("http://{}", origin.address)).await;
    let request = call("/grpc-error").body(h2::full(message("x"))).unwrap();
    let response = client.begin(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(response.body().is_end_stream());
}

/// PD-05: 200, the status in the head, no body; the challenge stays and the backend sees nothing.
#[tokio::test]
async fn refusals_have_codes_of_grpc() {
    let origin = Origin::start(None).await;
    let (t, mut client, _folder) = gateway(&format!("http://{}", origin.address)).await;
    let token = t.token().sign();
    let limited = call("/limited").header("authorization", format!("Bearer {token}"));
    client.begin(limited.body(h2::full("x")).unwrap()).await.unwrap();
    let seen = origin.seen().len();
    for (path, bearer, code, reason) in [
        ("/read", None, 16, "missing_token"),
        ("/read", Some("nonsense"), 16, "malformed_token"),
        ("/write", Some(token.as_str()), 7, "missing_scope"),
        ("/limited", Some(token.as_str()), 8, "rate_limited"),
        ("/get", None, 12, "method_refused"),
        ("/nowhere", None, 12, "no_route"),
        ("/a//b", None, 3, "ambiguous_path"),
    ] {
        let mut request = call(path);
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let response = client.begin(request.body(h2::full(message("x"))).unwrap()).await.unwrap();
        let headers = response.headers();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(headers["content-type"], "application/grpc", "{path}");
        assert_eq!(headers["grpc-status"], code.to_string(), "{path}");
        assert!(!headers["grpc-message"].is_empty(), "{path}");
        assert!(response.body().is_end_stream(), "{path}");
        assert_eq!(headers.contains_key("www-authenticate"), [16, 7].contains(&code), "{path}");
        let id = headers["x-request-id"].to_str().unwrap();
        let logged = t.logged(id).await;
        assert_eq!(logged["reason"], reason, "{path}");
        assert_eq!(logged["decision"], "deny", "{path}");
    }
    assert_eq!(origin.seen().len(), seen);
    assert_eq!(t.denials("/write", "missing_scope").await, 1.0);
    // Others get what they always got.
    let plain = h2::request("POST", "/read").body(h2::empty()).unwrap();
    assert_eq!(client.begin(plain).await.unwrap().status(), 401);
}

/// PD-05: a backend that cannot be reached, and one that is late.
#[tokio::test]
async fn faults_have_codes_of_grpc() {
    let (_socket, down) = chaos::down();
    let (_t, mut client, _folder) = gateway(&down).await;
    let request = call("/open/a").body(h2::full(message("x"))).unwrap();
    assert_eq!(client.begin(request).await.unwrap().headers()["grpc-status"], "14");
    let chaos = Chaos::start(&[Hold]).await;
    let (_t, mut client, _folder) = gateway(&chaos.url()).await;
    let request = call("/open/a").body(h2::full(message("x"))).unwrap();
    assert_eq!(client.begin(request).await.unwrap().headers()["grpc-status"], "4");
}

/// A client that cancels its call cancels the backend's.
#[tokio::test]
async fn a_cancelled_call_is_cancelled_there_too() {
    let origin = Origin::start(None).await;
    let (t, mut client, _folder) = gateway(&format!("http://{}", origin.address)).await;
    let (_sender, receiver) = mpsc::unbounded_channel();
    let request: Request<Body> = call("/echo").body(h2::fed(receiver)).unwrap();
    let response = client.begin(request).await.unwrap();
    drop(response);
    let working = [("upstream", "main"), ("state", "active")];
    until("rest", async || t.metric("scopegate_upstream_connections", &working).await == 0.0).await;
}

/// Over HTTP/1.1 there is no gRPC, and a refusal is a refusal, whatever the request calls its body.
#[tokio::test]
async fn over_http_1_a_refusal_is_no_success() {
    let t = Harness::start(ROUTES).await;
    for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC; x=1"] {
        let call = |path: &str| t.call("POST", path).header("content-type", kind).body("hi");
        let answer = call("/read").send().await;
        assert_eq!(answer.status(), 401, "{kind}");
        assert_eq!(answer.header("grpc-status"), "");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        let token = t.token().sign();
        assert_eq!(call("/write").bearer(&token).send().await.status(), 403, "{kind}");
        assert_eq!(call("/nowhere").send().await.status(), 404, "{kind}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/read", "missing_token").await, 3.0);
}

/// Over HTTP/2 it is one, also in front of a backend that speaks HTTP/1.1.
#[tokio::test]
async fn over_http_2_a_refusal_is_a_status_of_grpc() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&format!("{tls}{ROUTES}")).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let answer = client.send(call("/read").body(h2::empty()).unwrap()).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &"16".parse().unwrap())
    );
    t.backend.saw_nothing();
    assert_eq!(t.denials("/read", "missing_token").await, 1.0);
}
