//! Instants and where they come from.

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// An instant: milliseconds since the Unix epoch, UTC. The form in which both databases store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the `NumericDate` of RFC 7519 section 2.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The day in UTC: `2026-01-02`. An instant that no calendar has is later than all days.
    pub fn date(self) -> String {
        let instant = OffsetDateTime::from_unix_timestamp(self.as_secs()).ok();
        instant.map_or_else(|| "9999-12-31".to_owned(), |instant| instant.date().to_string())
    }

    /// How long after `earlier` this instant is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates: an instant that far away never arrives.
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

const RFC_3339_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// RFC 3339 with three digits of milliseconds, in UTC: `2026-01-02T03:04:05.670Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).ok().and_then(|t| t.format(RFC_3339_MILLIS).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// Where the current instant comes from.
///
/// Contract: `now` never blocks and may go back (an administrator can set a clock); callers compare instants, they do not subtract blindly.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339_and_rounds_seconds_down() {
        let t = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(t.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Timestamp::from_millis(1_700_000_000_100).to_string(), "2023-11-14T22:13:20.100Z");
        assert_eq!(t.as_secs(), 1_700_000_000);
        assert_eq!(Timestamp::from_millis(-1).as_secs(), -1);
    }

    #[test]
    fn days_are_those_of_utc() {
        for (millis, day) in [(0, "1970-01-01"), (-1, "1969-12-31"), (1_767_225_599_999, "2025-12-31"), (1_767_225_600_000, "2026-01-01")] {
            assert_eq!(Timestamp::from_millis(millis).date(), day);
        }
        assert_eq!(Timestamp::from_millis(i64::MAX).date(), "9999-12-31");
    }

    #[test]
    fn durations_saturate() {
        let t = Timestamp::from_millis(5);
        assert_eq!(t.since(Timestamp::from_millis(9)), Duration::ZERO);
        assert_eq!((t + Duration::MAX).as_millis(), i64::MAX);
    }
}
