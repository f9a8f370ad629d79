//! The payload: entries, read leniently. It is signed by whom the operator trusts, and has words and members that are not known yet.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::x509::X509;
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use time::{Date, Month};

use super::{BlobError, registry};
use crate::domain::{Aaguid, MetadataBlob, MetadataEntry, MetadataHead, StatusReport, Timestamp};

/// The most entries. The BLOB of October 2026 has 520.
const MAX_ENTRIES: usize = 20_000;

/// The most bytes of one entry. Pictures make up most of them.
const MAX_ENTRY_LEN: usize = 4 << 20;

/// The most algorithms of an authenticator's own list that are kept.
const MAX_ALGORITHMS: usize = 64;

/// The most characters of a text that is shown to people.
const MAX_TEXT: usize = 200;

/// An entry that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedEntry {
    /// Its place in the BLOB, from 0.
    pub place: usize,
    /// What it calls itself: an AAID, an AAGUID or a description. May be empty.
    pub name: String,
    /// Why it is not used.
    pub reason: SkipReason,
}

/// Why an entry is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// Not a JSON object, or nested too deep.
    #[error("not a JSON object that can be read")]
    Malformed,
    /// Larger than any entry should be.
    #[error("too large")]
    TooLarge,
    /// A UAF authenticator, which has no part in WebAuthn.
    #[error("for UAF")]
    Uaf,
    /// Nothing tells which authenticator it is about.
    #[error("no AAGUID and no attestation certificate key identifiers")]
    Unidentified,
    /// An AAGUID that cannot be read, or that of no model.
    #[error("its AAGUID is malformed or zero")]
    Aaguid,
    /// Neither a metadata statement nor status reports: it says nothing.
    #[error("no metadata statement and no status reports")]
    Empty,
}

/// What was left out.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) skipped: Vec<SkippedEntry>,
    pub(super) unreadable_anchors: usize,
}

/// Section 3.1.6. Members that are not known are passed over; of one that is there twice in an entry the last counts, as in most readers.
#[derive(Deserialize)]
struct Payload<'a> {
    no: u64,
    #[serde(rename = "nextUpdate")]
    next_update: String,
    #[serde(borrow)]
    entries: Entries<'a>,
}

/// Reads a payload whose signature was verified.
pub(super) fn read(payload: &[u8], now: Timestamp) -> Result<(MetadataBlob, Found), BlobError> {
    let malformed = |reason: String| BlobError::Payload(for_people(&reason));
    let text = str::from_utf8(payload).map_err(|error| malformed(error.to_string()))?;
    let payload: Payload<'_> = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let Entries(raw) = payload.entries;
    let next_update = date(&payload.next_update).ok_or_else(|| malformed("nextUpdate is not a date, YYYY-MM-DD".to_owned()))?;
    let next_update = Timestamp::from_millis(next_update.midnight().assume_utc().unix_timestamp().saturating_mul(1000));
    let mut found = Found::default();
    let mut entries = Vec::with_capacity(raw.len());
    for (place, raw) in raw.into_iter().enumerate() {
        match read_entry(raw.get(), &mut found.unreadable_anchors) {
            Ok(entry) => entries.push(entry),
            Err((reason, name)) => found.skipped.push(SkippedEntry { place, name, reason }),
        }
    }
    let head = MetadataHead { no: payload.no, next_update, imported_at: now };
    Ok((MetadataBlob { head, entries }, found))
}

/// A day, `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Option<Date> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return None };
    let number =
        |digits: &[&u8]| digits.iter().try_fold(0_u16, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u16::from(**digit - b'0')));
    let month = Month::try_from(u8::try_from(number(&[m1, m2])?).ok()?).ok()?;
    Date::from_calendar_date(i32::from(number(&[y1, y2, y3, y4])?), month, u8::try_from(number(&[d1, d2])?).ok()?).ok()
}

/// Section 3.1.1, with the metadata statement (FIDO Metadata Statement v3.0).
fn read_entry(raw: &str, unreadable_anchors: &mut usize) -> Result<MetadataEntry, (SkipReason, String)> {
    if raw.len() > MAX_ENTRY_LEN {
        return Err((SkipReason::TooLarge, String::new()));
    }
    let entry: Value = serde_json::from_str(raw).unwrap_or_default();
    if !entry.is_object() {
        return Err((SkipReason::Malformed, String::new()));
    }
    let statement = entry.get("metadataStatement").filter(|statement| statement.is_object());
    let of_statement = |name| statement.and_then(|statement| statement.get(name));
    let description = for_people(of_statement("description").and_then(Value::as_str).unwrap_or_default());
    let (aaguid, key_identifiers) = identifiers(&entry).map_err(|reason| {
        let names = ["aaid", "aaguid"].into_iter().filter_map(|name| entry.get(name)?.as_str());
        (reason, names.map(for_people).next().unwrap_or_else(|| description.clone()))
    })?;
    let status_reports: Vec<_> = items(entry.get("statusReports")).filter_map(status_report).collect();
    if statement.is_none() && status_reports.is_empty() {
        return Err((SkipReason::Empty, aaguid.map(|aaguid| aaguid.to_string()).unwrap_or_default()));
    }
    let mut anchors: Vec<String> = Vec::new();
    for anchor in items(of_statement("attestationRootCertificates")) {
        match anchor.as_str().and_then(certificate) {
            Some(anchor) => anchors.push(anchor),
            None => *unreadable_anchors += 1,
        }
    }
    Ok(MetadataEntry {
        aaguid,
        key_identifiers,
        description,
        attestation_types: words(of_statement("attestationTypes"), registry::attestation_type),
        algorithms: algorithms(of_statement("authenticationAlgorithms"), of_statement("authenticatorGetInfo")),
        anchors,
        status_reports,
    })
}

/// Which authenticators it is about: an AAGUID for FIDO2, SHA-1 of attestation keys for U2F.
fn identifiers(entry: &Value) -> Result<(Option<Aaguid>, Vec<String>), SkipReason> {
    let is_identifier = |text: &&str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let identifiers = items(entry.get("attestationCertificateKeyIdentifiers")).filter_map(Value::as_str).filter(is_identifier);
    let identifiers: Vec<_> = identifiers.map(str::to_ascii_lowercase).collect();
    let is_there = |name| entry.get(name).is_some_and(|value: &Value| !value.is_null());
    let aaguid = entry.get("aaguid").and_then(|aaguid| aaguid.as_str()?.parse::<Aaguid>().ok()).filter(|aaguid| !aaguid.as_uuid().is_nil());
    match aaguid {
        Some(_) => Ok((aaguid, identifiers)),
        None if !identifiers.is_empty() => Ok((None, identifiers)),
        None if is_there("aaguid") => Err(SkipReason::Aaguid),
        None if is_there("aaid") => Err(SkipReason::Uaf),
        None => Err(SkipReason::Unidentified),
    }
}

/// Section 3.1.3. One without a status says nothing. Dates, versions and certificates that cannot be read are left out: the report is
/// about more then, never about less.
fn status_report(report: &Value) -> Option<StatusReport> {
    let text = |name| report.get(name).and_then(Value::as_str);
    // A date, or an instant that begins with one.
    let day = |name| text(name).and_then(|text| text.split('T').next()).filter(|text| date(text).is_some()).map(str::to_owned);
    Some(StatusReport {
        status: text("status")?.to_owned(),
        effective_date: day("effectiveDate"),
        sunset_date: day("sunsetDate"),
        authenticator_version: report.get("authenticatorVersion").and_then(Value::as_u64),
        // The second name is v3.1's, for a certificate below the anchors.
        certificate: text("certificate").or_else(|| text("batchCertificate")).and_then(certificate),
        url: text("url").map(str::to_owned),
    })
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// What the words of a list stand for; nothing, if one of them is not known: the list would say less than it does.
fn words<T: Copy + PartialEq + 'static>(list: Option<&Value>, meaning: impl Fn(&str) -> Option<&'static [T]>) -> Vec<T> {
    let mut all = Vec::new();
    for word in items(list) {
        let Some(meaning) = word.as_str().and_then(&meaning) else { return Vec::new() };
        all.extend(meaning.iter().filter(|&one| !all.contains(one)).copied().collect::<Vec<_>>());
    }
    all
}

/// Those that the statement's words stand for, and those that the authenticator itself lists by their numbers (CTAP 2.1 section 6.4): there
/// are entries in which the words leave out what the device does. Without words nothing is known.
fn algorithms(list: Option<&Value>, info: Option<&Value>) -> Vec<i64> {
    let mut all: Vec<_> = words(list, registry::algorithm).iter().map(|algorithm| algorithm.id()).collect();
    if !all.is_empty() {
        let own = items(info.and_then(|info| info.get("algorithms"))).filter_map(|item| item.get("alg")?.as_i64());
        all.extend(own.take(MAX_ALGORITHMS));
        let mut seen = HashSet::new();
        all.retain(|id| seen.insert(*id));
    }
    all
}

/// A certificate in base64, as DER in base64 without the line breaks and the PEM armour that some makers leave in. Whatever else OpenSSL
/// takes for a certificate is one here: there are some that are not strictly DER.
fn certificate(text: &str) -> Option<String> {
    let text: String = text.lines().filter(|line| !line.trim_start().starts_with("-----")).flat_map(str::split_ascii_whitespace).collect();
    let certificate = X509::from_der(&STANDARD.decode(text).ok()?).ok()?;
    certificate.to_der().ok().map(|der| STANDARD.encode(der))
}

/// Short, and without control characters.
fn for_people(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Entries, each as its text.
struct Entries<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array of entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element::<&'de RawValue>()? {
                    if entries.len() == MAX_ENTRIES {
                        return Err(A::Error::custom(format!("more than {MAX_ENTRIES} entries")));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests;
