//! ExampleCo's Timesheets API, in memory: the kind of API that Scopegate is put in front of.
//!
//! It has no authentication of its own. It believes the `X-Auth-*` headers of whoever sends
//! them, which is safe only because nothing but the gateway can reach it, and shows in its answers
//! who called.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::loopback::{self, Answer, Loopback};

/// The API, cheap to clone.
#[derive(Clone, Debug)]
pub struct Timesheets(Arc<Mutex<Store>>);

#[derive(Debug)]
struct Store {
    sheets: BTreeMap<u64, Timesheet>,
    next: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Timesheet {
    id: u64,
    #[serde(flatten)]
    work: Work,
    owner: String,
    approved_by: Option<String>,
}

/// What a caller writes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Work {
    project: String,
    date: String,
    hours: f64,
}

/// Who calls, as the gateway says.
struct Caller {
    subject: Option<String>,
    client: Option<String>,
}

enum Failure {
    Invalid(&'static str),
    Missing,
    Method(&'static str),
    Full,
}

impl Default for Timesheets {
    fn default() -> Self {
        Self::new()
    }
}

impl Timesheets {
    /// An API with two timesheets in it, 41 and 42.
    #[must_use]
    pub fn new() -> Self {
        let mut store = Store { sheets: BTreeMap::new(), next: 41 };
        for (project, hours) in [("Audit of the warehouse", 6.5), ("Migration to v2", 7.5)] {
            let (project, date) = (project.to_owned(), "2026-11-20".to_owned());
            store.add(Work { project, date, hours }, "alice".to_owned());
        }
        Self(Arc::new(Mutex::new(store)))
    }

    /// Answers requests on `listener` until the future is dropped.
    pub async fn serve(self, listener: Loopback) {
        listener
            .serve(move |request| {
                let api = self.clone();
                async move { api.answer(request).await }
            })
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let caller = Caller::of(&head.headers);
        let Ok(body) = loopback::read(body).await else {
            return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": "unreadable body" }));
        };
        let result = self.act(&head.method, head.uri.path(), &body, &caller);
        result.unwrap_or_else(|failure| failure.answer(&caller))
    }

    fn act(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        who: &Caller,
    ) -> Result<Answer, Failure> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        // HEAD is GET; hyper leaves the body out.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        match (segments.as_slice(), method.as_str()) {
            (["status"], "GET") => Ok(json_answer(StatusCode::OK, &json!({ "status": "up" }))),
            (["timesheets"], "GET") => self.list(who),
            (["timesheets"], "POST") => self.create(read(body)?, who),
            (["timesheets", id], "GET") => self.show(number(id)?, who),
            (["timesheets", id], "PUT") => self.change(number(id)?, read(body)?, who),
            (["timesheets", id], "DELETE") => self.delete(number(id)?, who),
            (["timesheets", id, "approval"], "POST") => self.approve(number(id)?, who),
            (["batch"], "POST") => self.upload(body, who),
            (["status"], _) => Err(Failure::Method("GET, HEAD")),
            (["timesheets"], _) => Err(Failure::Method("GET, HEAD, POST")),
            (["timesheets", _], _) => Err(Failure::Method("GET, HEAD, PUT, DELETE")),
            (["timesheets", _, "approval"] | ["batch"], _) => Err(Failure::Method("POST")),
            _ => Err(Failure::Missing),
        }
    }

    fn list(&self, who: &Caller) -> Result<Answer, Failure> {
        let sheets: Vec<Timesheet> = self.store().sheets.values().cloned().collect();
        Ok(json_answer(StatusCode::OK, &who.sign(json!({ "timesheets": sheets }))))
    }

    fn create(&self, work: Work, who: &Caller) -> Result<Answer, Failure> {
        let mut store = self.store();
        store.room_for(1)?;
        let made = store.add(work, who.name());
        let mut answer = json_answer(StatusCode::CREATED, &who.sign(json!(made)));
        if let Ok(location) = HeaderValue::try_from(format!("/timesheets/{}", made.id)) {
            answer.headers_mut().insert(LOCATION, location);
        }
        Ok(answer)
    }

    fn show(&self, id: u64, who: &Caller) -> Result<Answer, Failure> {
        let sheet = self.store().sheets.get(&id).cloned().ok_or(Failure::Missing)?;
        Ok(json_answer(StatusCode::OK, &who.sign(json!(sheet))))
    }

    fn change(&self, id: u64, work: Work, who: &Caller) -> Result<Answer, Failure> {
        let mut store = self.store();
        let sheet = store.sheets.get_mut(&id).ok_or(Failure::Missing)?;
        // A changed timesheet has to be approved again.
        (sheet.work, sheet.approved_by) = (work, None);
        Ok(json_answer(StatusCode::OK, &who.sign(json!(sheet))))
    }

    fn delete(&self, id: u64, who: &Caller) -> Result<Answer, Failure> {
        self.store().sheets.remove(&id).ok_or(Failure::Missing)?;
        Ok(json_answer(StatusCode::OK, &who.sign(json!({ "deleted": id }))))
    }

    fn approve(&self, id: u64, who: &Caller) -> Result<Answer, Failure> {
        let mut store = self.store();
        let sheet = store.sheets.get_mut(&id).ok_or(Failure::Missing)?;
        sheet.approved_by = Some(who.name());
        Ok(json_answer(StatusCode::OK, &who.sign(json!(sheet))))
    }

    fn upload(&self, body: &[u8], who: &Caller) -> Result<Answer, Failure> {
        let batch: Vec<Work> = serde_json::from_slice(body).map_err(|_| Failure::Invalid(BATCH))?;
        if batch.iter().any(|work| !work.is_sane()) {
            return Err(Failure::Invalid(BATCH));
        }
        let mut store = self.store();
        store.room_for(batch.len())?;
        let accepted = batch.len();
        for work in batch {
            store.add(work, who.name());
        }
        Ok(json_answer(StatusCode::OK, &who.sign(json!({ "accepted": accepted }))))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn add(&mut self, work: Work, owner: String) -> Timesheet {
        let sheet = Timesheet { id: self.next, work, owner, approved_by: None };
        self.sheets.insert(sheet.id, sheet.clone());
        self.next += 1;
        sheet
    }

    fn room_for(&self, more: usize) -> Result<(), Failure> {
        if self.sheets.len() + more > CAPACITY { Err(Failure::Full) } else { Ok(()) }
    }
}

impl Work {
    fn is_sane(&self) -> bool {
        self.hours > 0.0 && self.hours <= 24.0
    }
}

impl Caller {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| {
            let value: &HeaderValue = headers.get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        Self { subject: text("x-auth-subject"), client: text("x-auth-client") }
    }

    /// The person, else the client, else nobody.
    fn name(&self) -> String {
        let name = self.subject.as_ref().or(self.client.as_ref());
        name.map_or_else(|| "nobody".to_owned(), Clone::clone)
    }

    /// Adds who called to an answer.
    fn sign(&self, mut answer: Value) -> Value {
        answer["called_by"] = json!({ "subject": self.subject, "client": self.client });
        answer
    }
}

impl Failure {
    fn answer(&self, who: &Caller) -> Answer {
        let (status, sentence) = match self {
            Self::Invalid(why) => (StatusCode::BAD_REQUEST, *why),
            Self::Missing => (StatusCode::NOT_FOUND, "there is no such thing"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "that cannot be done here"),
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "too many timesheets for a demo"),
        };
        let mut answer = json_answer(status, &who.sign(json!({ "error": sentence })));
        if let Self::Method(allow) = self {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

fn number(id: &str) -> Result<u64, Failure> {
    id.parse().map_err(|_| Failure::Missing)
}

fn read(body: &[u8]) -> Result<Work, Failure> {
    let work: Option<Work> = serde_json::from_slice(body).ok();
    work.filter(Work::is_sane).ok_or(Failure::Invalid(ONE))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

const CAPACITY: usize = 10_000;
const ONE: &str = r#"send {"project": "…", "date": "2026-11-23", "hours": 7.5}"#;
const BATCH: &str = r#"send [{"project": "…", "date": "2026-11-23", "hours": 7.5}, …]"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    async fn start() -> SocketAddr {
        let listener = Loopback::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        tokio::spawn(Timesheets::new().serve(listener));
        address
    }

    async fn call(api: SocketAddr, call: &str, body: &str) -> (u16, Value) {
        let (method, path) = call.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("x-auth-subject", "alice")
            .header("x-auth-client", "web-app")
            .body(Full::from(body.to_owned()))
            .unwrap();
        let answer = loopback::ask(api, request).await.unwrap();
        let body = serde_json::from_slice(answer.body()).unwrap_or_default();
        (answer.status().as_u16(), body)
    }

    const WORK: &str = r#"{"project":"Docs","date":"2026-11-23","hours":2}"#;

    #[tokio::test]
    async fn answers_show_who_called() {
        let api = start().await;
        let (status, sheet) = call(api, "GET /timesheets/42", "").await;
        assert_eq!((status, &sheet["project"]), (200, &json!("Migration to v2")));
        assert_eq!(sheet["called_by"], json!({ "subject": "alice", "client": "web-app" }));
    }

    #[tokio::test]
    async fn timesheets_live_and_die() {
        let api = start().await;
        let (status, made) = call(api, "POST /timesheets", WORK).await;
        assert_eq!((status, &made["id"], &made["owner"]), (201, &json!(43), &json!("alice")));
        let (status, approved) = call(api, "POST /timesheets/43/approval", "").await;
        assert_eq!((status, &approved["approved_by"]), (200, &json!("alice")));
        let (status, changed) = call(api, "PUT /timesheets/43", WORK).await;
        assert_eq!((status, &changed["approved_by"]), (200, &Value::Null));
        assert_eq!(call(api, "DELETE /timesheets/43", "").await.0, 200);
        assert_eq!(call(api, "GET /timesheets/43", "").await.0, 404);
        let (_, list) = call(api, "GET /timesheets", "").await;
        assert_eq!(list["timesheets"].as_array().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_batch_is_taken_whole_or_not_at_all() {
        let api = start().await;
        let (status, answer) = call(api, "POST /batch", &format!("[{WORK},{WORK}]")).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(2)));
        let bad = WORK.replace(":2}", ":25}");
        assert_eq!(call(api, "POST /batch", &format!("[{WORK},{bad}]")).await.0, 400);
        let many = format!("[{}{WORK}]", format!("{WORK},").repeat(CAPACITY));
        assert_eq!(call(api, "POST /batch", &many).await.0, 507);
        let (_, list) = call(api, "GET /timesheets", "").await;
        assert_eq!(list["timesheets"].as_array().unwrap().len(), 4);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        let api = start().await;
        for (line, body, status) in [
            ("POST /timesheets", "{}", 400),
            ("POST /timesheets", "not json", 400),
            ("POST /batch", WORK, 400),
            ("PATCH /timesheets/42", "", 405),
            ("DELETE /batch", "", 405),
            ("GET /timesheets/none", "", 404),
            ("GET /timesheets/7/approval", "", 405),
            ("GET /timesheets/", "", 404),
            ("GET /", "", 404),
            ("HEAD /status", "", 200),
        ] {
            assert_eq!(call(api, line, body).await.0, status, "{line}");
        }
    }
}
