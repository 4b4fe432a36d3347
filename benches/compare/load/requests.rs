//! Which request comes next.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The options that say what is asked.
#[derive(clap::Args)]
pub struct Asked {
    /// The path; `{}` stands for a number below `--paths`
    #[arg(long, default_value = "/orders/42")]
    path: String,
    #[arg(long, default_value_t = 1)]
    paths: usize,
    /// Tokens, one a line, taken in turn by all connections; without it none is sent
    #[arg(long)]
    tokens: Option<PathBuf>,
    /// Pass over so many of them
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Use at most so many of the rest
    #[arg(long)]
    first: Option<usize>,
    /// End when every token was sent once
    #[arg(long)]
    once: bool,
}

/// One request.
pub struct Request<'r> {
    pub path: &'r str,
    pub token: Option<&'r str>,
}

/// The requests of a run, shared by its connections.
pub struct Requests {
    paths: Vec<String>,
    tokens: Tokens,
    next: AtomicUsize,
    most: usize,
}

impl Requests {
    pub fn new(asked: &Asked) -> Self {
        let paths = (0..asked.paths).map(|n| asked.path.replace("{}", &n.to_string())).collect();
        let tokens = match &asked.tokens {
            Some(file) => Tokens::read(file, asked.skip, asked.first.unwrap_or(usize::MAX)),
            None => Tokens::default(),
        };
        let most = if asked.once { tokens.lines.len() } else { usize::MAX };
        Self { paths, tokens, next: AtomicUsize::new(0), most }
    }

    /// The same paths with other tokens.
    pub fn with_tokens(&self, file: &Path) -> Self {
        let tokens = Tokens::read(file, 0, usize::MAX);
        Self { paths: self.paths.clone(), tokens, next: AtomicUsize::new(0), most: usize::MAX }
    }

    /// The next request, in turn; `None` when each was to be sent once and was.
    pub fn next(&self) -> Option<Request<'_>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = &self.paths[number % self.paths.len()];
        (number < self.most).then(|| Request { path, token: self.tokens.at(number) })
    }
}

#[derive(Default)]
struct Tokens {
    text: String,
    lines: Vec<Range<usize>>,
}

impl Tokens {
    fn read(file: &Path, skip: usize, most: usize) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let start = text.as_ptr() as usize;
        let range = |line: &str| {
            let from = line.as_ptr() as usize - start;
            from..from + line.len()
        };
        let lines: Vec<_> = text.lines().skip(skip).take(most).map(range).collect();
        assert!(!lines.is_empty(), "{} has no tokens left", file.display());
        Self { text, lines }
    }

    fn at(&self, number: usize) -> Option<&str> {
        let line = self.lines.get(number.checked_rem(self.lines.len())?)?;
        Some(&self.text[line.clone()])
    }
}
