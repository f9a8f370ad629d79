//! Instants as Go's `time` reads them (its layout `RFC3339`).

use time::{Date, Month};

use crate::domain::Timestamp;

/// Go's name for the layout, which its errors quote.
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";

/// 1970-01-01 as a Julian day.
const EPOCH: i32 = 2_440_588;

/// An instant out of a query, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instant {
    /// Whole milliseconds since the Unix epoch.
    millis: i64,
    /// Whether there is a part of a millisecond beyond those.
    more: bool,
}

impl Instant {
    /// Reads RFC 3339 as Go does: `T` and `Z` are capitals, an hour may have one digit, a comma may precede the fraction, digits beyond the
    /// ninth count for nothing.
    ///
    /// # Errors
    /// What is wrong, in Go's words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        read(text).map_err(|fault| {
            let (shown, quoted): (String, _) = (text.chars().take(100).collect(), format!("{LAYOUT:?}"));
            match fault {
                Fault::Range(what) => format!("parsing time {shown:?}: {what} out of range"),
                Fault::Element(rest, element) => format!("parsing time {shown:?} as {quoted}: cannot parse {} as {element:?}", cut(rest)),
                Fault::Extra(rest) => format!("parsing time {shown:?}: extra text: {}", cut(rest)),
            }
        })
    }

    /// What is later than this is later than that millisecond.
    pub(super) const fn floor(self) -> Timestamp {
        Timestamp::from_millis(self.millis)
    }

    /// What is earlier than this is earlier than that millisecond.
    pub(super) const fn ceiling(self) -> Timestamp {
        Timestamp::from_millis(if self.more { self.millis + 1 } else { self.millis })
    }
}

fn cut(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}

enum Fault<'a> {
    /// This text does not begin with this element of the layout.
    Element(&'a str, &'static str),
    Range(&'static str),
    /// Text follows the instant.
    Extra(&'a str),
}

fn read(text: &str) -> Result<Instant, Fault<'_>> {
    let mut rest = text;
    let year = number(&mut rest, "2006", 4, 4)?;
    literal(&mut rest, "-")?;
    let month = u8::try_from(number(&mut rest, "01", 2, 2)?).ok().and_then(|month| Month::try_from(month).ok());
    let month = month.ok_or(Fault::Range("month"))?;
    literal(&mut rest, "-")?;
    let day = number(&mut rest, "02", 2, 2)?;
    literal(&mut rest, "T")?;
    let hour = below(number(&mut rest, "15", 1, 2)?, 24, "hour")?;
    literal(&mut rest, ":")?;
    let minute = below(number(&mut rest, "04", 2, 2)?, 60, "minute")?;
    literal(&mut rest, ":")?;
    let second = below(number(&mut rest, "05", 2, 2)?, 60, "second")?;
    let nanos = fraction(&mut rest);
    let offset = zone(&mut rest)?;
    if !rest.is_empty() {
        return Err(Fault::Extra(rest));
    }
    let date = i32::try_from(year).ok().zip(u8::try_from(day).ok()).and_then(|(y, d)| Date::from_calendar_date(y, month, d).ok());
    let days = i64::from(date.ok_or(Fault::Range("day"))?.to_julian_day() - EPOCH);
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - offset;
    Ok(Instant { millis: seconds * 1000 + i64::from(nanos / 1_000_000), more: !nanos.is_multiple_of(1_000_000) })
}

fn literal<'a>(rest: &mut &'a str, expected: &'static str) -> Result<(), Fault<'a>> {
    *rest = rest.strip_prefix(expected).ok_or(Fault::Element(rest, expected))?;
    Ok(())
}

/// A number of `least` to `most` digits, of which there are nine at most.
fn number<'a>(rest: &mut &'a str, element: &'static str, least: usize, most: usize) -> Result<u32, Fault<'a>> {
    let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at_checked(digits).filter(|_| digits >= least).ok_or(Fault::Element(rest, element))?;
    let number = number.parse().map_err(|_| Fault::Element(rest, element))?;
    *rest = after;
    Ok(number)
}

fn below<'a>(number: u32, bound: u32, what: &'static str) -> Result<u32, Fault<'a>> {
    if number < bound { Ok(number) } else { Err(Fault::Range(what)) }
}

/// Nanoseconds; none when no digit follows the point.
fn fraction(rest: &mut &str) -> u32 {
    let Some(digits) = rest.strip_prefix(['.', ',']).filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit())) else { return 0 };
    *rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = digits.bytes().take_while(u8::is_ascii_digit).chain(std::iter::repeat(b'0')).take(9);
    digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'))
}

/// Seconds east of UTC.
fn zone<'a>(rest: &mut &'a str) -> Result<i64, Fault<'a>> {
    const ELEMENT: &str = "Z07:00";
    let whole = *rest;
    if let Some(after) = rest.strip_prefix('Z') {
        *rest = after;
        return Ok(0);
    }
    let sign = match whole.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Fault::Element(whole, ELEMENT)),
    };
    let malformed = |_| Fault::Element(whole, ELEMENT);
    *rest = whole.get(1..).unwrap_or_default();
    let hours = number(rest, ELEMENT, 2, 2).map_err(malformed)?;
    literal(rest, ":").map_err(malformed)?;
    let minutes = number(rest, ELEMENT, 2, 2).map_err(malformed)?;
    // Go takes 24 hours and 60 minutes too, for some people write them.
    let (hours, minutes) = (below(hours, 25, "time zone offset hour")?, below(minutes, 61, "time zone offset minute")?);
    Ok(sign * i64::from(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, millis, more) in [
            ("1970-01-01T00:00:00Z", 0, false),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000, false),
            ("2023-11-14T22:13:20.123Z", 1_700_000_000_123, false),
            ("2023-11-14T22:13:20,1Z", 1_700_000_000_100, false),
            ("2023-11-14T22:13:20.123000000999Z", 1_700_000_000_123, false),
            ("2023-11-14T22:13:20.123000001Z", 1_700_000_000_123, true),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000_000, false),
            ("2023-11-14T16:43:20-05:30", 1_700_000_000_000, false),
            ("2023-11-15T22:13:20+24:00", 1_700_000_000_000, false),
            ("1970-01-01T1:00:00Z", 3_600_000, false),
            ("1969-12-31T23:59:59.9999Z", -1, true),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000, false),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000, false),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000, false),
        ] {
            assert_eq!(Instant::parse(text), Ok(Instant { millis, more }), "{text}");
        }
    }

    #[test]
    fn refuses_in_gos_words() {
        for (text, why) in [
            ("", r#""" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#),
            ("now", r#""now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006""#),
            ("2023-11-14", r#""2023-11-14" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#),
            ("2023-11-14t0", r#""2023-11-14t0" as "2006-01-02T15:04:05Z07:00": cannot parse "t0" as "T""#),
            ("2023-11-14T22:13:20", r#""2023-11-14T22:13:20" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#),
            ("2023-11-14T22:13:20.", r#""2023-11-14T22:13:20." as "2006-01-02T15:04:05Z07:00": cannot parse "." as "Z07:00""#),
            (
                "2023-11-14T22:13:20 02:00",
                r#""2023-11-14T22:13:20 02:00" as "2006-01-02T15:04:05Z07:00": cannot parse " 02:00" as "Z07:00""#,
            ),
            ("2023-13-14T22:13:20Z", r#""2023-13-14T22:13:20Z": month out of range"#),
            ("2023-02-29T22:13:20Z", r#""2023-02-29T22:13:20Z": day out of range"#),
            ("2023-11-00T22:13:20Z", r#""2023-11-00T22:13:20Z": day out of range"#),
            ("2023-11-14T24:00:00Z", r#""2023-11-14T24:00:00Z": hour out of range"#),
            ("2023-11-14T22:60:00Z", r#""2023-11-14T22:60:00Z": minute out of range"#),
            ("2016-12-31T23:59:60Z", r#""2016-12-31T23:59:60Z": second out of range"#),
            ("2023-11-14T22:13:20+25:00", r#""2023-11-14T22:13:20+25:00": time zone offset hour out of range"#),
            ("2023-11-14T22:13:20Z'--", r#""2023-11-14T22:13:20Z'--": extra text: "'--""#),
        ] {
            assert_eq!(Instant::parse(text), Err(format!("parsing time {why}")), "{text}");
        }
        for text in ["\0", "２０２３-11-14T22:13:20Z", "2023-11-14T22:13:20+0ü:00", "99999-01-01T00:00:00Z", "-001-01-01T00:00:00Z"] {
            assert!(Instant::parse(text).is_err(), "{text:?}");
        }
        assert!(Instant::parse(&"9".repeat(100_000)).unwrap_err().len() < 400);
    }

    #[test]
    fn an_instant_between_two_milliseconds_is_neither() {
        let between = Instant::parse("1970-01-01T00:00:00.0015Z").unwrap();
        assert_eq!((between.floor().as_millis(), between.ceiling().as_millis()), (1, 2));
        let sharp = Instant::parse("1970-01-01T00:00:00.001Z").unwrap();
        assert_eq!((sharp.floor().as_millis(), sharp.ceiling().as_millis()), (1, 1));
    }
}
