//! The process under test.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::policy::Policies;

/// A running gateway. Dropping it kills it.
pub struct Gateway {
    child: Mutex<Child>,
    id: u32,
    pub proxy: SocketAddr,
    admin: SocketAddr,
    file: PathBuf,
    log: PathBuf,
}

impl Gateway {
    pub async fn start(binary: &Path, folder: &TempDir, policies: &Policies) -> Self {
        let (file, log) = (folder.path().join("gateway.yaml"), folder.path().join("log"));
        std::fs::write(&file, policies.of(0)).unwrap();
        let mut command = Command::new(binary);
        command.args(["serve", "-c"]).arg(&file).current_dir(folder.path());
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        let nowhere = SocketAddr::from(([0; 4], 0));
        let id = child.id();
        let mut gateway =
            Self { child: Mutex::new(child), id, proxy: nowhere, admin: nowhere, file, log };
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            if let Some(proxy) = gateway.announced("proxy http://") {
                gateway.proxy = proxy;
                gateway.admin = gateway.announced("admin http://").unwrap();
                return gateway;
            }
        }
        panic!("it does not start: {}", std::fs::read_to_string(&gateway.log).unwrap());
    }

    fn announced(&self, what: &str) -> Option<SocketAddr> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.split_once(what)?.1.split([' ', '"', '\n']).next()?.parse().ok()
    }

    /// Replaces the file in one step.
    pub fn write(&self, policy: String) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, policy).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// Has the file read, by the admin port and by a signal in turn, and waits until it is in force.
    pub async fn reload(&self, turn: usize) {
        if turn.is_multiple_of(2) {
            let (status, text) = self.ask("POST", "/reload").await;
            assert_eq!(status, 200, "{text}");
            return;
        }
        let before = self.reloads().await;
        signal(self.id, "HUP");
        while self.reloads().await == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many policies were put in force.
    async fn reloads(&self) -> String {
        let (_, text) = self.ask("GET", "/metrics").await;
        let start = "scopegate_config_reloads_total{result=\"accepted\"} ";
        text.lines().find_map(|line| line.strip_prefix(start)).unwrap().to_owned()
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.admin).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path);
        let request =
            request.header("host", self.admin.to_string()).header("x-scopegate-admin", "1");
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let (head, body) = response.await.unwrap().into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Resident bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Stops it in good order, and fails if it does not end so.
    pub fn end(&self) {
        signal(self.id, "TERM");
        let status = self.child.lock().unwrap().wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        drop(child.kill());
        drop(child.wait());
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.unwrap().success());
}
