//! What was asked, what is right, and what came of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::policy::Question;

/// The books of the soak.
#[derive(Default)]
pub struct Ledger {
    /// Twice the turn of the policy in force; odd while another is put in force.
    turn: AtomicU64,
    next: AtomicU64,
    stopped: AtomicBool,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    counts: BTreeMap<&'static str, u64>,
    /// The first of what was wrong or lost.
    findings: Vec<String>,
    /// How often each request was delivered.
    delivered: HashMap<u64, u32>,
    /// POSTs, and how often each may have been delivered.
    posts: HashMap<u64, Share>,
}

/// How often a request may have been delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Never,
    AtMostOnce,
    Once,
}

/// A question that was asked.
pub struct Asked {
    pub id: u64,
    question: &'static Question,
    turn: u64,
}

/// What came back.
pub enum Got {
    Answer {
        status: u16,
        /// Whether the backend's text is the one for this request.
        own: bool,
        text: String,
    },
    /// The connection ended, or nothing came.
    Nothing(String),
}

impl Ledger {
    pub fn ask(&self, question: &'static Question) -> Asked {
        let id = self.next.fetch_add(1, Ordering::SeqCst);
        Asked { id, question, turn: self.turn.load(Ordering::SeqCst) }
    }

    /// Another policy is about to be put in force: either is right.
    pub fn reloading(&self) {
        self.turn.fetch_add(1, Ordering::SeqCst);
    }

    /// From here on, it alone is right.
    pub fn reloaded(&self) {
        self.turn.fetch_add(1, Ordering::SeqCst);
        self.books().count("reloads");
    }

    /// A backend has the head of this request.
    pub fn delivered(&self, id: u64) {
        *self.books().delivered.entry(id).or_default() += 1;
    }

    pub fn judge(&self, asked: &Asked, got: Got) {
        let now = self.turn.load(Ordering::SeqCst);
        let settled = asked.turn == now && now.is_multiple_of(2);
        let [even, odd] = asked.question.right;
        let right: &[u16] = match settled {
            true if (now / 2).is_multiple_of(2) => &[even],
            true => &[odd],
            false => &[even, odd],
        };
        let mut books = self.books();
        books.count("sent");
        if settled {
            books.count("judged exactly");
        }
        let share = books.enter(asked, got, right);
        if asked.question.method == "POST" || share == Share::Never {
            books.posts.insert(asked.id, share);
        }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// One line for now and then.
    pub fn line(&self, (seconds, memory): (u64, u64)) -> String {
        let books = self.books();
        let of = |name| books.of(name);
        format!(
            "{seconds:4} s: {} sent, {} reloads, {} wrong, {} lost, memory {}",
            of("sent"),
            of("reloads"),
            of("wrong"),
            of("lost"),
            crate::mib(memory)
        )
    }

    /// Closes the books and prints them; whether nothing was wrong or lost.
    pub fn summary(&self, kills: usize) -> bool {
        let mut books = self.books();
        books.reconcile();
        println!("\n{:>9}  backends killed and restarted", kills);
        for name in NAMES {
            println!("{:>9}  {name}", books.of(name));
        }
        for finding in &books.findings {
            println!("  {finding}");
        }
        books.of("wrong") + books.of("lost") == 0 && books.of("answered as asked") > 0
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

impl Books {
    /// Counts an answer; says how often the request may have been delivered.
    fn enter(&mut self, asked: &Asked, got: Got, right: &[u16]) -> Share {
        let Question { method, path, .. } = asked.question;
        let (status, own, text) = match got {
            Got::Answer { status, own, text } => (status, own, text),
            Got::Nothing(error) => {
                self.find("lost", &format!("{method} {path}/{}: {error}", asked.id));
                return Share::AtMostOnce;
            }
        };
        self.count("answered");
        let may_be_allowed = right.contains(&200);
        match status {
            200 if !may_be_allowed => {}
            200 if own => {
                self.count("answered as asked");
                return Share::Once;
            }
            200 => {}
            502..=504 if may_be_allowed => {
                self.count(if *method == "POST" { POST_FAILED } else { GET_FAILED });
                return Share::AtMostOnce;
            }
            refused if right.contains(&refused) => {
                self.count("rightly refused");
                return Share::Never;
            }
            _ => {}
        }
        self.find(
            "wrong",
            &format!("{method} {path}/{}: {status} {text}, not {right:?}", asked.id),
        );
        Share::AtMostOnce
    }

    /// What the backends have, against what the clients were told.
    fn reconcile(&mut self) {
        let (posts, delivered) =
            (std::mem::take(&mut self.posts), std::mem::take(&mut self.delivered));
        for (id, share) in posts {
            let times = delivered.get(&id).copied().unwrap_or(0);
            let right = match share {
                Share::Never => times == 0,
                Share::AtMostOnce => times <= 1,
                Share::Once => times == 1,
            };
            if !right {
                self.find("wrong", &format!("request {id} was delivered {times} times"));
            }
            if right && share != Share::Never {
                self.count(COUNTED);
            }
        }
    }

    fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    fn of(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    fn find(&mut self, name: &'static str, finding: &str) {
        self.count(name);
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(format!("{name}: {finding}"));
        }
    }
}

/// The number at the end of a target.
pub fn id_of(target: &str) -> Option<u64> {
    target.rsplit('/').next()?.parse().ok()
}

const COUNTED: &str = "allowed POSTs that were delivered once, or not at all if the answer said so";
const POST_FAILED: &str = "POSTs that the upstream failed, and the answer said so";
const GET_FAILED: &str = "GETs that the upstream failed, and the answer said so";

const NAMES: [&str; 11] = [
    "reloads",
    "sent",
    "answered",
    "answered as asked",
    "rightly refused",
    "judged exactly",
    COUNTED,
    POST_FAILED,
    GET_FAILED,
    "wrong",
    "lost",
];
const MOST_FINDINGS: usize = 20;
