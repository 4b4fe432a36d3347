//! Wall-clock time as logs write it.

use std::fmt;
use std::time::Duration;

use crate::digits;

/// A time since 1970: `10:42:03` for people, `2026-11-23T10:42:03.123Z` (RFC 3339) for programs.
pub(super) struct Timestamp(pub(super) Duration);

impl Timestamp {
    /// The long form.
    pub(super) fn long(&self) -> String {
        let mut out = Vec::new();
        self.push(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Appends the long form, without the machinery of `fmt`.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        let seconds = self.0.as_secs();
        let (year, month, day) = date(seconds / 86_400);
        digits::push(out, year, 4);
        for (mark, number) in [
            (b'-', month),
            (b'-', day),
            (b'T', seconds / 3600 % 24),
            (b':', seconds / 60 % 60),
            (b':', seconds % 60),
        ] {
            out.push(mark);
            digits::push(out, number, 2);
        }
        out.push(b'.');
        digits::push(out, u64::from(self.0.subsec_millis()), 3);
        out.push(b'Z');
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        write!(f, "{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
    }
}

/// The Gregorian date of a day since 1970, by eras of 400 years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let at = |seconds: u64| Timestamp(Duration::from_millis(seconds * 1000 + 7)).long();
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_795_430_523), "2026-11-23T10:42:03.007Z");
        assert_eq!(Timestamp(Duration::from_secs(1_795_430_523)).to_string(), "10:42:03");
    }
}
