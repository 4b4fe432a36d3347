//! Scalars: text, numbers, durations, sizes and rates.

use std::time::Duration;

use serde_json::Value as Json;

use super::reading::{Fault, Reading};
use super::suggest::nearest;
use super::yaml::{Entry, Node, Value};
use super::{Located, Place, Problem, Rate};

/// Text that is not empty.
pub(super) fn text(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        Value::Text(_) => {
            let problem = Problem::new("E006", node.at, "an empty text says nothing");
            reading.note(problem.label("write a value, or delete the key"));
            None
        }
        Value::Bool(_) | Value::Number(_) => {
            let label = format!("write \"{}\"", node.shown());
            let message = format!("expected text, found `{}`", node.shown());
            reading.note(Problem::new("E006", node.at, message).label(label));
            None
        }
        Value::Null | Value::Unset | Value::List(_) | Value::Map(_) => {
            reading.expected(node, "text");
            None
        }
    }
}

/// Text with its place.
pub(super) fn located(reading: &mut Reading<'_>, node: &Node) -> Option<Located<String>> {
    text(reading, node).map(|value| Located { value, at: node.at })
}

/// Text that `parse` makes a value of; numbers are taken as they are written.
pub(super) fn parsed<T>(
    reading: &mut Reading<'_>,
    node: &Node,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> Option<T> {
    let text = match &node.value {
        Value::Text(text) => text,
        Value::Number(_) => &node.written,
        Value::Null | Value::Bool(_) | Value::Unset | Value::List(_) | Value::Map(_) => {
            reading.expected(node, expected);
            return None;
        }
    };
    parse(text).map_err(|fault| reading.fault(node, fault)).ok()
}

/// `true` or `false`.
pub(super) fn switch(reading: &mut Reading<'_>, node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(value) => Some(*value),
        Value::Text(text) if node.expanded && matches!(text.as_str(), "true" | "false") => {
            Some(text == "true")
        }
        Value::Null
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::List(_)
        | Value::Map(_) => {
            reading.expected(node, "`true` or `false`");
            None
        }
    }
}

/// `true` or `false`, with its place.
pub(super) fn located_switch(reading: &mut Reading<'_>, node: &Node) -> Option<Located<bool>> {
    switch(reading, node).map(|value| Located { value, at: node.at })
}

/// One of some words.
pub(super) fn word<T: Copy>(
    reading: &mut Reading<'_>,
    node: &Node,
    words: &[(&str, T)],
) -> Option<T> {
    let list = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    parsed(reading, node, &format!("one of {list}"), |text| {
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| unknown_word(text, words.iter().map(|(word, _)| *word)))
    })
}

/// The fault of a word that is none of `words`.
pub(super) fn unknown_word<'w>(text: &str, words: impl Iterator<Item = &'w str> + Clone) -> Fault {
    let label = match nearest(text, words.clone()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("expected one of {}", words.clone().collect::<Vec<_>>().join(", ")),
    };
    let list = words.collect::<Vec<_>>().join(", ");
    Fault::new("E008", format!("is none of {list}"), label)
}

/// A list, or one value in its place. Items that cannot be read are left out.
pub(super) fn some<T>(
    reading: &mut Reading<'_>,
    node: &Node,
    read: impl Fn(&mut Reading<'_>, &Node) -> Option<T>,
) -> Vec<T> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(|item| read(reading, item)).collect(),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::Map(_) => read(reading, node).into_iter().collect(),
    }
}

/// A list that is not empty, or one value in its place.
pub(super) fn at_least_one<T>(
    reading: &mut Reading<'_>,
    node: &Node,
    read: impl Fn(&mut Reading<'_>, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let problem = Problem::new("E006", node.at, "an empty list says nothing");
        reading.note(problem.label("write at least one, or delete the key"));
        return None;
    }
    Some(some(reading, node, read))
}

/// The entries of a mapping of names that the user chooses.
pub(super) fn entries<'n>(reading: &mut Reading<'_>, node: &'n Node) -> &'n [Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::List(_) => {
            reading.expected(node, "a mapping");
            &[]
        }
    }
}

/// A name that will be a label in metrics and headers.
pub(super) fn name(reading: &mut Reading<'_>, key: &Located<String>) -> Located<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || key.len() > 64 || !key.chars().all(plain) {
        reading.note(
            Problem::new("E008", key.at, format!("`{}` cannot be a name", key.value))
                .label("expected letters, digits, `-`, `_` and `.`, at most 64"),
        );
    }
    key.clone()
}

/// A text, number or truth value, as JSON has it.
pub(super) fn literal(reading: &mut Reading<'_>, node: &Node) -> Option<Json> {
    match &node.value {
        Value::Bool(value) => Some(Json::Bool(*value)),
        Value::Number(value) => Some(Json::Number(value.clone())),
        Value::Text(value) => Some(Json::String(value.clone())),
        Value::Null | Value::Unset | Value::List(_) | Value::Map(_) => {
            reading.expected(node, "text, a number, `true` or `false`");
            None
        }
    }
}

/// `30s`, `5m`, `1h`, `500ms`, `1d`.
pub(super) fn duration(reading: &mut Reading<'_>, node: &Node) -> Option<Duration> {
    parsed(reading, node, "a duration such as `30s`", parse_duration)
}

/// A duration longer than nothing: `0s` would refuse or end everything.
pub(super) fn wait(reading: &mut Reading<'_>, node: &Node) -> Option<Duration> {
    let found = duration(reading, node)?;
    if found.is_zero() {
        let fault = Fault::new("E061", "is out of range", "must be longer than nothing");
        reading.fault(node, fault);
        return None;
    }
    Some(found)
}

/// `64KiB`, `10MiB`, or a number of bytes.
pub(super) fn size(reading: &mut Reading<'_>, node: &Node, least: u64, most: u64) -> Option<u64> {
    let found = parsed(reading, node, "a size such as `64KiB`", parse_size)?;
    within(reading, node, found, least, most)
}

/// A whole number.
pub(super) fn count(reading: &mut Reading<'_>, node: &Node, least: u64, most: u64) -> Option<u64> {
    let found = parsed(reading, node, "a whole number", |text| {
        text.parse().map_err(|_| Fault::new("E006", "is not a whole number", "expected a number"))
    })?;
    within(reading, node, found, least, most)
}

fn within(r: &mut Reading<'_>, node: &Node, found: u64, least: u64, most: u64) -> Option<u64> {
    if (least..=most).contains(&found) {
        return Some(found);
    }
    let label = match found < least {
        true => format!("at least {least}"),
        false => format!("at most {most}"),
    };
    r.fault(node, Fault::new("E061", "is out of range", label));
    None
}

/// `60/min`.
pub(super) fn rate(reading: &mut Reading<'_>, node: &Node) -> Option<Rate> {
    parsed(reading, node, "a rate such as `60/min`", parse_rate)
}

/// Reads a duration.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Fault> {
    let (digits, unit) = split_number(text);
    let seconds = match unit {
        "ms" => 0,
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => {
            let fault = no_unit(digits, unit, "expected `30s`, `5m`, `1h`");
            return Err(fault.help("durations are Nms, Ns, Nm, Nh, Nd"));
        }
    };
    let number: u64 = digits.parse().map_err(|_| not_a_number("a duration", "`30s`"))?;
    let found = match seconds {
        0 => Some(Duration::from_millis(number)),
        seconds => number.checked_mul(seconds).map(Duration::from_secs),
    };
    found
        .filter(|found| *found <= LONGEST)
        .ok_or_else(|| Fault::new("E061", "is out of range", "at most 3650d"))
}

pub(super) fn parse_size(text: &str) -> Result<u64, Fault> {
    let (digits, unit) = split_number(text);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(Fault::new("E060", "has no unit of size", "expected `64KiB`, `10MiB`")),
    };
    let number: u64 = digits.parse().map_err(|_| not_a_number("a size", "`64KiB`"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| Fault::new("E061", "is out of range", "this is more than can be counted"))
}

/// Reads a rate.
pub(super) fn parse_rate(text: &str) -> Result<Rate, Fault> {
    let help = "rates are N/s, N/min, N/h, N/day";
    let (digits, unit) = split_number(text);
    let unit = unit.strip_prefix('/').unwrap_or(unit);
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "day" => 86_400,
        _ => return Err(no_unit(digits, unit, "expected `50/s`, `60/min`, `1000/h`").help(help)),
    };
    if !text.contains('/') || digits.is_empty() {
        return Err(not_a_number("a rate", "`60/min`").help(help));
    }
    let fault = || Fault::new("E061", "is out of range", "expected 1 to 4294967295").help(help);
    let count = digits.parse().ok().filter(|count| *count > 0).ok_or_else(fault)?;
    Ok(Rate { count, period: Duration::from_secs(seconds) })
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn no_unit(digits: &str, unit: &str, label: &str) -> Fault {
    let what = match (digits, unit) {
        ("", _) => "does not begin with a number",
        (_, "") => "has no unit",
        (_, _) => "has no unit that is known",
    };
    Fault::new("E060", what, label)
}

fn not_a_number(kind: &str, example: &str) -> Fault {
    Fault::new("E060", format!("is not {kind}"), format!("expected {example}"))
}

/// A text that belongs to no file: what a default is located at.
pub(super) fn nowhere() -> Place {
    Place { file: 0, line: 1, column: 1, start: 0, end: 0 }
}

/// Ten years: additions to a point in time cannot overflow.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("30").unwrap_err().what, "has no unit");
        assert_eq!(parse_duration("30 s").unwrap_err().what, "has no unit that is known");
        assert_eq!(parse_duration("-3s").unwrap_err().code, "E060");
        assert_eq!(parse_duration("99999999999999999999s").unwrap_err().code, "E060");
        assert_eq!(parse_duration("18446744073709551615d").unwrap_err().code, "E061");
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("10"), Ok(10));
        assert_eq!(parse_size("10MB").unwrap_err().code, "E060");
        assert_eq!(parse_size("18446744073709551615GiB").unwrap_err().code, "E061");
    }

    #[test]
    fn rates_have_periods() {
        let minute = Duration::from_secs(60);
        assert_eq!(parse_rate("60/min"), Ok(Rate { count: 60, period: minute }));
        assert_eq!(parse_rate("60/minutes").unwrap_err().what, "has no unit that is known");
        assert_eq!(parse_rate("60").unwrap_err().what, "has no unit");
        assert_eq!(parse_rate("60s").unwrap_err().code, "E060");
        assert_eq!(parse_rate("0/s").unwrap_err().code, "E061");
        assert_eq!(parse_rate("/s").unwrap_err().code, "E060");
    }
}
