//! The real binary, with a folder of its own and free ports.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{scrape, until};

/// A running `scopegate serve`.
pub struct Process {
    running: Running,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    log: Lines,
    access_log: Lines,
    folder: tempfile::TempDir,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Deref for Process {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Process {
    /// Starts it with a whole configuration, and waits until it says where it listens.
    pub async fn start(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
        Self::launch(Command::new(PROGRAM), folder).await
    }

    /// The same, but no file that it writes may become larger than `blocks` of 1 KiB.
    pub async fn start_with_full_disk(yaml: &str, blocks: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
        let mut command = Command::new("bash");
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, PROGRAM]);
        Self::launch(command, folder).await
    }

    async fn launch(mut command: Command, folder: tempfile::TempDir) -> Self {
        let mut child = command
            .args(["serve", "-c"])
            .arg(folder.path().join("gateway.yaml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let access_log = collect(child.stdout.take().unwrap());
        let log = collect(child.stderr.take().unwrap());
        let nowhere = SocketAddr::from(([0; 4], 0));
        let running = Running::new(child);
        let mut process = Self { running, proxy: nowhere, admin: nowhere, log, access_log, folder };
        until("the start", async || process.announced("proxy http").is_some()).await;
        process.proxy = process.announced("proxy http").unwrap();
        process.admin = process.announced("admin http").unwrap();
        process
    }

    /// The address behind `what` in the log.
    fn announced(&self, what: &str) -> Option<SocketAddr> {
        let log = self.log();
        let (_, behind) = log.split_once(what)?;
        behind.trim_start_matches('s').strip_prefix("://")?.split(' ').next()?.parse().ok()
    }

    /// The configuration's file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    /// Everything on standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Everything on standard output so far.
    pub fn access_log(&self) -> String {
        self.access_log.lock().unwrap().join("\n")
    }

    /// The access log's lines so far.
    pub fn records(&self) -> Vec<Value> {
        let lines = self.access_log.lock().unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The access log's line about a request, once it is written.
    pub async fn logged(&self, request_id: &str) -> Value {
        let find = || self.records().into_iter().find(|line| line["request_id"] == request_id);
        until("the log line", async || find().is_some()).await;
        find().unwrap()
    }

    /// The sum of the series of `name` that have these labels, as a scrape shows them.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        scrape::sum(self.admin, name, labels).await
    }
}

/// A process of the program. Dropping it kills it.
pub struct Running(Child);

impl Running {
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal: `TERM`, `HUP`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        until("the end", async || self.status().is_some()).await;
        self.0.wait().unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// A line of `/proc/<pid>/status` in bytes: `VmRSS`, or `VmHWM` for the most it ever was.
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs another command of the program to its end, off the test's own thread.
pub async fn run(words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn collect(from: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
    lines
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_scopegate");
