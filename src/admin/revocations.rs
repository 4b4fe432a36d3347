//! `/revocations`: what is revoked, for operators and their programs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, GUARD, PROBLEM, json, method_refused, problem};
use super::{Operations, host};
use crate::config::{Revocation, Secret};
use crate::revoke::{Entry, Key, Known, NotEntered, NotWithdrawn, Order, Revocations};

/// What revocations are entered by.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The set.
    pub revocations: Arc<Revocations>,
    /// The issuers and durations of the configuration in force.
    pub known: Known,
    /// What that says of revocations.
    pub settings: Arc<Revocation>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) address: IpAddr,
    /// Whether the port can be reached from other machines.
    pub(super) is_exposed: bool,
}

/// What is revoked, a page of it.
#[derive(Serialize)]
struct Page<'e> {
    /// How many there are in all.
    total: usize,
    entries: &'e [Arc<Entry>],
}

/// A revocation that is in force.
#[derive(Serialize)]
struct InForce<'e> {
    #[serde(flatten)]
    entry: &'e Entry,
    /// Whether it survives a restart.
    durable: bool,
}

/// Why a request gets nothing.
enum Refusal {
    /// A status, and why in words.
    Because(StatusCode, String),
    /// Another method is needed.
    Method(&'static str),
    /// The secret is missing or wrong.
    NoSecret,
    /// It was understood, and could not be done as it was wanted.
    NotEntered(NotEntered),
}

impl Refusal {
    fn new(status: StatusCode, title: &str) -> Self {
        Self::Because(status, title.to_owned())
    }
}

/// Whether these pages are meant.
pub(super) fn is_path(path: &str) -> bool {
    path == ROOT || path.strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/'))
}

/// Answers one request.
pub(super) async fn answer<O, B>(operations: &O, from: Caller, request: Request<B>) -> Answer
where
    O: Operations,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    match process(operations, from, request).await {
        Ok(answer) => answer,
        Err(Refusal::Because(status, title)) => problem(status, &title),
        Err(Refusal::Method(allowed)) => method_refused(allowed),
        Err(Refusal::NoSecret) => no_secret(),
        Err(Refusal::NotEntered(why)) => not_entered(&why),
    }
}

async fn process<O, B>(operations: &O, from: Caller, request: Request<B>) -> Result<Answer, Refusal>
where
    O: Operations,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if !host::is_ours(&request) {
        let title = "Use an address or localhost as the host";
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, title));
    }
    let title = "Write `revocation:` in the configuration first";
    let desk =
        operations.revocation_desk().ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, title))?;
    admit(desk.settings.secret.as_ref(), from, request.headers())?;
    let (head, body) = request.into_parts();
    let id = head.uri.path().strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/'));
    match (id, &head.method) {
        (None, &Method::GET | &Method::HEAD) => page(&desk, head.uri.query()),
        (None, &Method::POST) => {
            check_guard(&head.headers)?;
            enter(desk, from, &read(body).await?).await
        }
        (Some(id), &Method::DELETE) => {
            check_guard(&head.headers)?;
            withdraw(desk, from, id).await
        }
        (None, _) => Err(Refusal::Method("GET, HEAD, POST")),
        (Some(_), _) => Err(Refusal::Method("DELETE")),
    }
}

/// Lets in who knows the secret; without one, only who is on this machine.
fn admit(secret: Option<&Secret>, from: Caller, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(secret) = secret else {
        let title = "Write `revocation.secret`: this port can be reached from other machines";
        return match from.is_exposed {
            true => Err(Refusal::new(StatusCode::FORBIDDEN, title)),
            false => Ok(()),
        };
    };
    let sent = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let sent = sent.and_then(|sent| sent.strip_prefix(b"Bearer ")).unwrap_or_default();
    let expected = secret.reveal().as_bytes();
    // How long it takes says nothing of how much was right.
    if aws_lc_rs::constant_time::verify_slices_are_equal(sent, expected).is_ok() {
        return Ok(());
    }
    tracing::warn!(
        target: "scopegate::revocation",
        from = %from.address,
        "someone without the secret asked for /revocations",
    );
    Err(Refusal::NoSecret)
}

fn no_secret() -> Answer {
    let mut answer = problem(StatusCode::UNAUTHORIZED, "Send the secret as a bearer token");
    let challenge = HeaderValue::from_static("Bearer realm=\"scopegate administration\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

/// The guard against requests that a web page makes in somebody's browser.
fn check_guard(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get(GUARD).is_some_and(|value| value == "1") {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "Send the field X-Scopegate-Admin: 1"))
}

/// `?limit=100&after=ID`: entries in the order of their ids.
fn page(desk: &Desk, query: Option<&str>) -> Result<Answer, Refusal> {
    let bad = || Refusal::new(StatusCode::BAD_REQUEST, "limit is 1 to 2000, and after is an id");
    let (mut limit, mut after) = (DEFAULT_LIMIT, None);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "limit" => limit = value.parse().map_err(|_| bad())?,
            "after" => after = Some(value.parse::<Key>().map_err(|_| bad())?),
            _ => return Err(bad()),
        }
    }
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(bad());
    }
    let all = desk.revocations.all();
    let start = after.map_or(0, |after| all.partition_point(|entry| entry.id <= after));
    let end = all.len().min(start + limit);
    let page = Page { total: all.len(), entries: &all[start..end] };
    Ok(json(StatusCode::OK, "application/json", &page))
}

async fn read<B>(body: B) -> Result<Order, Refusal>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let reading = Box::pin(Limited::new(body, MOST_BYTES).collect());
    let read = tokio::time::timeout(PATIENCE, reading).await;
    let Ok(Ok(body)) = read else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "The body is too long, too slow or cut"));
    };
    let body = body.to_bytes();
    let refusal = || Refusal::new(StatusCode::BAD_REQUEST, "The body is not a revocation as JSON");
    // serde would take a list for an object without names.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refusal());
    }
    serde_json::from_slice(&body).map_err(|_| refusal())
}

async fn enter(desk: Desk, from: Caller, order: &Order) -> Result<Answer, Refusal> {
    let now = desk.revocations.clock().now().unix;
    let by = from.address.to_string();
    let entry = order.entry(&desk.known, now, &by);
    let entry = entry.map_err(|why| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, &why))?;
    let revocations = Arc::clone(&desk.revocations);
    let entered = on_disk(move || revocations.enter(vec![entry])).await?;
    match entered {
        Ok(entered) => {
            let first =
                entered.entries.first().map(|entry| InForce { entry, durable: entered.durable });
            Ok(json(StatusCode::OK, "application/json", &first))
        }
        Err(why) => Err(Refusal::NotEntered(why)),
    }
}

/// What is in force all the same is said, so that nobody takes a failed write for an open door.
fn not_entered(why: &NotEntered) -> Answer {
    let (status, entries) = match why {
        NotEntered::NotDurable { entries, .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, entries.as_slice())
        }
        NotEntered::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, [].as_slice()),
        NotEntered::Replayed => (StatusCode::CONFLICT, [].as_slice()),
    };
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    let body = json!({
        "type": "about:blank",
        "title": why.to_string(),
        "status": status.as_u16(),
        "enforced": ids,
        "durable": false,
    });
    json(status, PROBLEM, &body)
}

async fn withdraw(desk: Desk, from: Caller, id: &str) -> Result<Answer, Refusal> {
    let unknown = |why: NotWithdrawn| Refusal::new(StatusCode::NOT_FOUND, &why.to_string());
    let key: Key = id.parse().map_err(|_| unknown(NotWithdrawn::Unknown))?;
    let revocations = Arc::clone(&desk.revocations);
    let by = from.address.to_string();
    let withdrawn = on_disk(move || revocations.withdraw(&key, &by)).await?;
    let entry = withdrawn.map_err(|why| match why {
        NotWithdrawn::InFile => Refusal::new(StatusCode::CONFLICT, &why.to_string()),
        NotWithdrawn::NotDurable(_) => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string())
        }
        NotWithdrawn::Unknown => unknown(why),
    })?;
    Ok(json(StatusCode::OK, "application/json", &*entry))
}

/// Runs what waits for the disk; it goes on if whoever asked does not wait.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let lost = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "The work was lost: ask again");
    tokio::task::spawn_blocking(work).await.map_err(lost)
}

const ROOT: &str = "/revocations";

const DEFAULT_LIMIT: usize = 1_000;
const LARGEST_LIMIT: usize = 2_000;

const MOST_BYTES: usize = 16 << 10;

/// For the whole body.
const PATIENCE: Duration = Duration::from_secs(5);
