//! An authorization server that can be slow, wrong, or gone.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A server on a free port of this machine.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

/// What a path answers.
#[derive(Clone)]
pub(super) enum Answer {
    Json(Value),
    /// JSON with a `Cache-Control` field.
    Cached(Value, &'static str),
    Text(String),
    Status(u16),
    Redirect(String),
    /// This many spaces.
    Spaces(usize),
}

struct State {
    answers: Mutex<HashMap<String, Answer>>,
    seen: Mutex<Vec<String>>,
    open: watch::Sender<bool>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answers: Mutex::default(),
            seen: Mutex::default(),
            open: watch::Sender::new(true),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    /// An issuer with metadata, whose keys are `jwks`.
    pub(super) async fn issuer(jwks: &Value) -> Self {
        let server = Self::start().await;
        server.set(METADATA, Answer::Json(server.metadata("/keys")));
        server.set("/keys", Answer::Json(jwks.clone()));
        server
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn metadata(&self, keys: &str) -> Value {
        let url = self.url();
        json!({
            "issuer": url, "jwks_uri": format!("{url}{keys}"),
            "id_token_signing_alg_values_supported": ["HS256", "none"],
        })
    }

    pub(super) fn set(&self, path: &str, answer: Answer) {
        self.state.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Takes requests, but answers none until [`Self::open`].
    pub(super) fn close(&self) {
        self.state.open.send_replace(false);
    }

    pub(super) fn open(&self) {
        self.state.open.send_replace(true);
    }

    /// The paths asked for, in order.
    pub(super) fn seen(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How often `path` was asked for.
    pub(super) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| *seen == path).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&state), request));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    assert!(request.headers().get("authorization").is_none());
    assert!(request.headers().get("cookie").is_none());
    state.seen.lock().unwrap().push(path.clone());
    state.open.subscribe().wait_for(|open| *open).await.unwrap();
    let answer = state.answers.lock().unwrap().get(&path).cloned().unwrap_or(Answer::Status(404));
    let response = Response::builder();
    Ok(match answer {
        Answer::Json(json) => response.body(Full::from(json.to_string())),
        Answer::Cached(json, control) => {
            response.header(CACHE_CONTROL, control).body(Full::from(json.to_string()))
        }
        Answer::Text(text) => response.body(Full::from(text)),
        Answer::Status(status) => response.status(status).body(Full::default()),
        Answer::Redirect(to) => {
            response.status(StatusCode::FOUND).header(LOCATION, to).body(Full::default())
        }
        Answer::Spaces(count) => response.body(Full::from(" ".repeat(count))),
    }
    .unwrap())
}

pub(super) const METADATA: &str = "/.well-known/openid-configuration";
