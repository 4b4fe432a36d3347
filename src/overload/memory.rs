//! How much memory the process holds, and how much there is.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Load;
use crate::config::MemoryLimit;
use crate::gateway::Gateway;

/// Measures until the gateway is gone, and notes when its policy's limit is exceeded. Where there
/// is no `/proc` nothing is measured.
pub(crate) async fn watch(gateway: Weak<Gateway>) {
    let Ok(mut held) = Held::open() else { return };
    let mut there = there_is();
    for turn in 1_u32.. {
        tokio::time::sleep(EVERY).await;
        if turn.is_multiple_of(LOOK_AGAIN) {
            there = there_is();
        }
        let Some(gateway) = gateway.upgrade() else { return };
        let limit = ceiling(gateway.policy().ceilings.memory, there);
        let held = held.bytes().unwrap_or_default();
        note(gateway.load(), held, limit);
    }
}

fn note(load: &Arc<Load>, held: u64, limit: u64) {
    let short = held > limit;
    if !load.set_short(short) {
        return;
    }
    let (held, limit) = (held >> 20, limit >> 20);
    match short {
        true => {
            tracing::warn!(held_mib = held, limit_mib = limit, "memory is short: limits.memory")
        }
        false => tracing::info!(held_mib = held, limit_mib = limit, "memory is no longer short"),
    }
}

/// The limit in bytes.
fn ceiling(limit: MemoryLimit, there: Option<u64>) -> u64 {
    match (limit, there) {
        (MemoryLimit::Off, _) | (MemoryLimit::Share(_), None) => u64::MAX,
        (MemoryLimit::Bytes(bytes), _) => bytes,
        (MemoryLimit::Share(share), Some(there)) => there / 100 * u64::from(share),
    }
}

/// The resident set of this process: what the kernel ends processes by.
struct Held {
    file: File,
    page: u64,
}

impl Held {
    fn open() -> io::Result<Self> {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        Ok(Self { file: File::open("/proc/self/statm")?, page })
    }

    fn bytes(&mut self) -> Option<u64> {
        let mut text = String::with_capacity(64);
        self.file.rewind().ok()?;
        self.file.read_to_string(&mut text).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()?.checked_mul(self.page)
    }
}

/// The memory that this process may have: the least of what its control groups grant and what the
/// machine has.
fn there_is() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let granted = groups(&own).into_iter().filter_map(|file| granted(&file)).min();
    let machine = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(machine);
    granted.into_iter().chain(machine).min()
}

fn granted(file: &Path) -> Option<u64> {
    // `max` where there is no limit.
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The files that may limit the group of this process and those around it (cgroups(7)); of version
/// 1 only what a container sees.
fn groups(own: &str) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes")];
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let group = Path::new("/sys/fs/cgroup").join(path);
    let around = group.ancestors().take_while(|at| at.starts_with("/sys/fs/cgroup"));
    files.extend(around.map(|at| at.join("memory.max")));
    files
}

fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The time between two measurements.
const EVERY: Duration = Duration::from_millis(100);

/// After so many of them, it is asked again how much there is.
const LOOK_AGAIN: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_what_there_is() {
        assert_eq!(ceiling(MemoryLimit::Share(90), Some(1_000)), 900);
        assert_eq!(ceiling(MemoryLimit::Share(90), None), u64::MAX);
        assert_eq!(ceiling(MemoryLimit::Bytes(5), Some(1_000)), 5);
        assert_eq!(ceiling(MemoryLimit::Off, Some(1_000)), u64::MAX);
    }

    #[test]
    fn every_group_around_may_limit() {
        let files = groups("0::/system.slice/scopegate.service\n");
        let names: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let expected = [
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/system.slice/scopegate.service/memory.max",
            "/sys/fs/cgroup/system.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_holds_less_than_there_is() {
        let held = Held::open().unwrap().bytes().unwrap();
        assert!(held > 1 << 20 && held < there_is().unwrap(), "{held}");
        assert_eq!(machine("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
    }
}
