//! What `/metrics` says, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Call;

/// One scrape.
#[derive(Debug)]
pub struct Scrape {
    pub content_type: String,
    pub text: String,
    pub families: BTreeMap<String, Family>,
}

/// A family of series.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// A number and its labels.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    pub async fn of(admin: SocketAddr) -> Self {
        Self::read(Call::new(admin, "GET", "/metrics")).await
    }

    pub async fn open_metrics(admin: SocketAddr) -> Self {
        let accept = "application/openmetrics-text; version=1.0.0, text/plain; q=0.5";
        Self::read(Call::new(admin, "GET", "/metrics").header("accept", accept)).await
    }

    async fn read(call: Call) -> Self {
        let answer = call.send().await;
        assert_eq!(answer.status(), 200);
        let text = answer.text();
        let content_type = answer.header("content-type").to_owned();
        Self { content_type, families: families(&text), text }
    }

    /// The value of the one series that has exactly these labels.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: BTreeMap<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut samples = self.families.values().flat_map(|family| &family.samples);
        let found = samples.find(|sample| sample.name == name && sample.labels == wanted);
        found.unwrap_or_else(|| panic!("no series {name} {labels:?} in\n{}", self.text)).value
    }

    /// Every series' name and labels, without its value.
    pub fn series(&self) -> BTreeSet<String> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples.map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect()
    }
}

/// The sum of the series of `name` that have these labels.
pub async fn sum(admin: SocketAddr, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let has_all = |line: &&String| wanted.iter().all(|label| line.contains(label.as_str()));
    let series = series(admin, name).await;
    let series = series.iter().filter(has_all);
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The lines of the series of `name`.
pub async fn series(admin: SocketAddr, name: &str) -> Vec<String> {
    let scrape = Call::new(admin, "GET", "/metrics").send().await;
    assert_eq!(scrape.status(), 200);
    let of_name =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    scrape.text().lines().filter(of_name).map(str::to_owned).collect()
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help text");
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if line != "# EOF" {
            let sample = sample(line);
            let family = family_of(&families, &sample.name);
            families.get_mut(&family).expect("it was just found").samples.push(sample);
        }
    }
    families
}

/// A sample's family is announced before it, without the suffix that its type adds.
fn family_of(known: &BTreeMap<String, Family>, sample: &str) -> String {
    let suffixes = ["", "_total", "_bucket", "_count", "_sum"];
    let mut names = suffixes.iter().filter_map(|suffix| sample.strip_suffix(suffix));
    let family = names.find(|name| known.contains_key(*name));
    family.unwrap_or_else(|| panic!("{sample} is announced by no family")).to_owned()
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("a closing brace")),
        None => (series, ""),
    };
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect("a number") };
    Sample { name: name.to_owned(), labels: read_labels(labels), value }
}

/// `a="b",c="d"`, where `\"`, `\\` and `\n` stand for themselves.
fn read_labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a quoted value");
        let (value, rest) = quoted(rest);
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} comes twice");
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &text[index + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            plain => value.push(plain),
        }
    }
    panic!("a quote is not closed: {text}");
}
