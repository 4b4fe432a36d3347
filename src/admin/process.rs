//! `process_*` and `scopegate_build_info`: what Prometheus expects of every process, from `/proc`.

use std::fs;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// The families that are known; where there is no `/proc`, the build's alone.
pub(super) fn families() -> Vec<MetricFamily> {
    let status = read("/proc/self/status");
    let stat = read("/proc/self/stat");
    let known = [
        (CPU, cpu_seconds(&stat)),
        (RESIDENT, kibibytes(&status, "VmRSS:")),
        (VIRTUAL, kibibytes(&status, "VmSize:")),
        (OPEN, open_files()),
        (MOST, most_files(&read("/proc/self/limits"))),
        (THREADS, number_after(&status, "Threads:")),
        (START, start_time(&stat, &read("/proc/stat"))),
    ];
    let known = known.into_iter().filter_map(|(named, value)| Some(family(named, value?)));
    known.chain([build_info()]).collect()
}

fn build_info() -> MetricFamily {
    let named = ("scopegate_build_info", "The version that runs.", MetricType::GAUGE);
    let mut family = family(named, 1.0);
    let pairs = [("commit", COMMIT), ("version", env!("CARGO_PKG_VERSION"))];
    let labels = pairs.map(|(name, value)| {
        let mut label = LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.to_owned());
        label
    });
    for series in family.mut_metric() {
        series.set_label(labels.to_vec());
    }
    family
}

type Named = (&'static str, &'static str, MetricType);

fn family((name, help, kind): Named, value: f64) -> MetricFamily {
    let mut series = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        series.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        series.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![series]);
    family
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Fields 14 and 15 of `stat`: time in user and kernel mode.
fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

/// Field 22 counts from the boot, whose time the system knows.
fn start_time(stat: &str, system: &str) -> Option<f64> {
    Some(number_after(system, "btime")? + field(stat, 22)? / TICKS)
}

/// A field of `stat`, counted from 1. The second is the command in parentheses, which may hold
/// spaces and parentheses of its own.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn kibibytes(text: &str, key: &str) -> Option<f64> {
    Some(number_after(text, key)? * 1024.0)
}

fn most_files(limits: &str) -> Option<f64> {
    number_after(limits, "Max open files")
}

fn number_after(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // The listing itself has one open.
    u32::try_from(open.saturating_sub(1)).ok().map(f64::from)
}

/// The kernel counts in hundredths of a second towards user space, on all machines of today.
const TICKS: f64 = 100.0;

/// Set when the release is built.
const COMMIT: &str = match option_env!("SCOPEGATE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

const CPU: Named =
    ("process_cpu_seconds_total", "Processor time used, in seconds.", MetricType::COUNTER);
const RESIDENT: Named =
    ("process_resident_memory_bytes", "Memory in use, in bytes.", MetricType::GAUGE);
const VIRTUAL: Named =
    ("process_virtual_memory_bytes", "Address space in use, in bytes.", MetricType::GAUGE);
const OPEN: Named = ("process_open_fds", "File descriptors open now.", MetricType::GAUGE);
const MOST: Named = ("process_max_fds", "File descriptors that may be open.", MetricType::GAUGE);
const THREADS: Named = ("process_threads", "Threads running now.", MetricType::GAUGE);
const START: Named = (
    "process_start_time_seconds",
    "When the process started, in seconds since 1970.",
    MetricType::GAUGE,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_behind_a_command_with_parentheses() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 4 0 1000 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(start_time(stat, "cpu 1\nbtime 1700000000\n"), Some(1_700_000_010.0));
    }

    #[test]
    fn reads_sizes_and_limits() {
        assert_eq!(kibibytes("Name:\tx\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288.0));
        assert_eq!(
            most_files("Limit\nMax open files            1024   4096   files\n"),
            Some(1024.0)
        );
        assert_eq!(most_files("Max open files            unlimited   4096   files\n"), None);
        assert_eq!(kibibytes("", "VmRSS:"), None);
    }

    #[test]
    fn the_build_is_always_known() {
        let families = families();
        let build = families.iter().find(|family| family.name() == "scopegate_build_info").unwrap();
        assert_eq!(build.get_metric()[0].get_label()[1].value(), env!("CARGO_PKG_VERSION"));
    }
}
