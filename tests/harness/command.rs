//! The real binary, as people start it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_scopegate");

/// A command line of the binary, with nothing of this process's environment but `PATH`.
pub struct Scopegate {
    command: Command,
    input: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command that runs until it is told to stop. Dropping it kills it.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it has said so far, line by line.
    pub said: Vec<String>,
}

impl Scopegate {
    /// A command that will run in `folder`.
    pub fn within(folder: &Path, words: &[&str]) -> Self {
        let mut command = clean(BINARY, folder);
        command.args(words);
        Self { command, input: String::new() }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = text.to_owned();
        self
    }

    pub fn run(self) -> Ran {
        let Output { status, stdout, stderr } = finish(self.command, self.input);
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        let code = status.code().expect("an exit code");
        Ran { code, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Starts it in the background.
    pub fn start(mut self) -> Running {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary starts");
        let (sender, lines) = channel();
        pass_on(child.stdout.take(), sender.clone());
        pass_on(child.stderr.take(), sender);
        Running { child, lines, said: Vec::new() }
    }
}

impl Running {
    /// The first line that holds `word`, among those said and those that come.
    pub fn line(&mut self, word: &str) -> String {
        if let Some(line) = self.said.iter().find(|line| line.contains(word)) {
            return line.clone();
        }
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no line has {word:?} among:\n{}", self.said.join("\n"));
            };
            self.said.push(line.clone());
            if line.contains(word) {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end and returns the exit code.
    pub fn end(&mut self) -> i32 {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
                // Both pipes are closed when it has ended, and only then.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.child.wait().expect("it ends").code().expect("an exit code")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a script by bash in `folder`, the binary first in its `PATH`.
pub fn bash(folder: &Path, script: &str, variables: &[(&str, &str)]) -> String {
    let mut command = clean("bash", folder);
    let own = PathBuf::from(BINARY);
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", own.parent().expect("a folder").display());
    command.args(["-c", script]).env("PATH", path).envs(variables.iter().copied());
    let output = finish(command, String::new());
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

fn clean(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn finish(mut command: Command, input: String) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let id = child.id();
    let mut stdin = child.stdin.take().expect("a pipe");
    // Whoever does not read its input closes the pipe.
    thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let (sender, ended) = channel();
    thread::spawn(move || drop(sender.send(child.wait_with_output())));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        signal(id, "KILL");
        panic!("{command:?} takes too long");
    };
    output.expect("its output can be read")
}

fn pass_on(pipe: Option<impl Read + Send + 'static>, to: Sender<String>) {
    let pipe = pipe.expect("a pipe");
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

const PATIENCE: Duration = Duration::from_secs(60);
