//! An introspection endpoint that counts its questions and can misbehave.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Where it is.
pub const PATH: &str = "/introspect";

/// What it knows, was asked, and how it answers.
#[derive(Default)]
pub struct Endpoint {
    answers: Mutex<HashMap<String, Value>>,
    fault: Mutex<Option<Fault>>,
    held: watch::Sender<bool>,
    questions: Mutex<Vec<Question>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// What it does instead of answering.
#[derive(Clone)]
enum Fault {
    /// This status and body.
    Broken(u16, Bytes),
    /// A redirect to this place.
    Redirect(String),
}

/// One request to it.
#[derive(Clone, Debug)]
pub struct Question {
    pub method: Method,
    /// The target as it came.
    pub target: String,
    pub headers: HeaderMap,
    pub form: HashMap<String, String>,
}

impl Endpoint {
    /// Answers so about a token; it knows no others.
    pub fn knows(&self, token: &str, answer: Value) {
        self.answers.lock().unwrap().insert(token.to_owned(), answer);
    }

    /// Calls a token that it knew inactive.
    pub fn revokes(&self, token: &str) {
        self.knows(token, json!({ "active": false }));
    }

    /// Answers with this status and body, whatever it is asked.
    pub fn breaks(&self, status: u16, body: impl Into<Bytes>) {
        *self.fault.lock().unwrap() = Some(Fault::Broken(status, body.into()));
    }

    /// Redirects.
    pub fn redirects(&self, to: &str) {
        *self.fault.lock().unwrap() = Some(Fault::Redirect(to.to_owned()));
    }

    /// Answers again as it should.
    pub fn recovers(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// Takes questions and answers none, until [`Self::releases`].
    pub fn holds(&self) {
        self.held.send_replace(true);
    }

    pub fn releases(&self) {
        self.held.send_replace(false);
    }

    /// The questions so far.
    pub fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }

    /// How many questions there were.
    pub fn asked(&self) -> usize {
        self.questions.lock().unwrap().len()
    }

    /// The most questions that were under way at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        // A caller that goes away drops this, and is not under way any longer.
        let _leaving = Leaving(&self.under_way);
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a whole form").to_bytes();
        let form = form(&String::from_utf8_lossy(&body));
        let token = form.get("token").cloned().unwrap_or_default();
        let target = head.uri.to_string();
        let question = Question { method: head.method, target, headers: head.headers, form };
        self.questions.lock().unwrap().push(question);
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        self.reply(&token)
    }

    fn reply(&self, token: &str) -> Response<Full<Bytes>> {
        let fault = self.fault.lock().unwrap().clone();
        let (status, body) = match fault {
            Some(Fault::Broken(status, body)) => (status, body),
            Some(Fault::Redirect(to)) => {
                let response = Response::builder().status(302).header("location", to);
                return response.body(Full::default()).unwrap();
            }
            None => {
                let answers = self.answers.lock().unwrap();
                let answer = answers.get(token).cloned().unwrap_or(json!({ "active": false }));
                (200, Bytes::from(answer.as_str().map_or(answer.to_string(), str::to_owned)))
            }
        };
        Response::builder().status(status).body(Full::new(body)).unwrap()
    }
}

struct Leaving<'e>(&'e AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn form(text: &str) -> HashMap<String, String> {
    let mut form = HashMap::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let twice = form.insert(name.clone().into_owned(), value.into_owned());
        assert!(twice.is_none(), "{name} came twice");
    }
    form
}
