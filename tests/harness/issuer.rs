//! An authorization server that can misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::introspection::{self, Endpoint};
use super::keys::Key;
use super::token::Token;

/// Discovery, a JWKS, an introspection endpoint, and a record of who asked for what.
pub struct Issuer {
    address: SocketAddr,
    pub key: Key,
    /// What answers at `/introspect`.
    pub introspection: Arc<Endpoint>,
    state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

struct State {
    metadata: Mutex<Value>,
    jwks: Mutex<Value>,
    others: Mutex<HashMap<String, Value>>,
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<String>>,
    introspection: Arc<Endpoint>,
    held: watch::Sender<bool>,
}

/// How the issuer answers.
#[derive(Clone, Default)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Good,
    /// With this status and body, whatever is asked.
    Broken(u16, Bytes),
    /// With a redirect to this place.
    Redirect(String),
    /// Not before [`Issuer::release`].
    Held,
}

impl Issuer {
    pub async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap()).await
    }

    /// An issuer on a certain address, to start one after the gateway.
    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = Key::es256("key-1");
        let url = format!("http://{address}");
        let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") });
        let state = Arc::new(State {
            metadata: Mutex::new(metadata),
            jwks: Mutex::new(json!({ "keys": [key.jwk()] })),
            others: Mutex::default(),
            behaviour: Mutex::default(),
            requests: Mutex::default(),
            introspection: Arc::default(),
            held: watch::Sender::new(false),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        let introspection = Arc::clone(&state.introspection);
        Self { address, key, introspection, state, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn token(&self) -> Token {
        Token::new(&self.key, &self.url())
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[Value]) {
        *self.state.jwks.lock().unwrap() = json!({ "keys": keys });
    }

    pub fn set_metadata(&self, metadata: Value) {
        *self.state.metadata.lock().unwrap() = metadata;
    }

    /// Has one more document.
    pub fn serve_at(&self, path: &str, document: Value) {
        self.state.others.lock().unwrap().insert(path.to_owned(), document);
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// Lets held requests go on.
    pub fn release(&self) {
        self.behave(Behaviour::Good);
        self.state.held.send_replace(true);
    }

    /// The paths that were asked for.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    pub fn key_requests(&self) -> usize {
        self.requests().iter().filter(|path| *path == "/jwks").count()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let state = Arc::clone(&state);
        let service = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, std::convert::Infallible>(answer(&state, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    state.requests.lock().unwrap().push(path.clone());
    if path == introspection::PATH {
        return state.introspection.answer(request).await;
    }
    let behaviour = state.behaviour.lock().unwrap().clone();
    let (status, body) = match behaviour {
        Behaviour::Broken(status, body) => (status, body),
        Behaviour::Redirect(to) => {
            let response = Response::builder().status(302).header("location", to);
            return response.body(Full::default()).unwrap();
        }
        Behaviour::Held => {
            let mut held = state.held.subscribe();
            held.wait_for(|released| *released).await.unwrap();
            good(state, &path)
        }
        Behaviour::Good => good(state, &path),
    };
    Response::builder().status(status).body(Full::new(body)).unwrap()
}

fn good(state: &State, path: &str) -> (u16, Bytes) {
    let document = match path {
        "/.well-known/openid-configuration" => state.metadata.lock().unwrap().to_string(),
        "/jwks" => state.jwks.lock().unwrap().to_string(),
        _ => match state.others.lock().unwrap().get(path) {
            Some(document) => document.to_string(),
            None => return (404, Bytes::new()),
        },
    };
    (200, Bytes::from(document))
}
