//! What processes cost, read from `/proc`.

use std::path::PathBuf;

/// The processes of one proxy.
#[derive(Clone, clap::Args)]
pub struct Watched {
    /// The proxy's processes, separated by commas
    #[arg(long, value_delimiter = ',')]
    watch: Vec<u32>,
}

impl Watched {
    /// This process.
    pub fn own() -> Self {
        Self { watch: vec![std::process::id()] }
    }

    /// CPU time of all their threads so far, in microseconds. The scheduler's own count in
    /// `schedstat` is in nanoseconds; `stat` has ticks of 10 ms.
    pub fn cpu_micros(&self) -> u64 {
        self.threads().filter_map(|thread| run_nanos(&thread)).sum::<u64>() / 1000
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.watch.iter().filter_map(|process| rss(*process)).sum()
    }

    fn threads(&self) -> impl Iterator<Item = PathBuf> {
        let folders = self.watch.iter().map(|process| format!("/proc/{process}/task"));
        let threads = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
        threads.filter_map(|thread| Some(thread.ok()?.path()))
    }
}

/// `None` for a thread that ended in the meantime.
fn run_nanos(thread: &std::path::Path) -> Option<u64> {
    let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn rss(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
