//! Status reports: what happened to a model, and whether it may still be registered.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::domain::{MetadataEntry, StatusReport};

/// What forbids new registrations of a model (FIDO Metadata Service v3.0 section 3.1.4).
const FORBIDDING: [&str; 5] =
    ["REVOKED", "USER_VERIFICATION_BYPASS", ATTESTATION_KEY_COMPROMISE, "USER_KEY_REMOTE_COMPROMISE", "USER_KEY_PHYSICAL_COMPROMISE"];

const ATTESTATION_KEY_COMPROMISE: &str = "ATTESTATION_KEY_COMPROMISE";

/// The first report in force on the day `today` (`YYYY-MM-DD`) that forbids new registrations of a model. A compromise of one attestation
/// key concerns those alone whose certificates, `path` in DER, have it; where no path is given, all.
pub fn forbidding<'a>(entry: &'a MetadataEntry, path: Option<&[&[u8]]>, today: &str) -> Option<&'a StatusReport> {
    entry.status_reports.iter().find(|report| {
        let in_force = report.effective_date.as_deref().is_none_or(|date| date <= today);
        in_force && FORBIDDING.contains(&report.status.as_str()) && concerns(report, path)
    })
}

fn concerns(report: &StatusReport, path: Option<&[&[u8]]>) -> bool {
    let (ATTESTATION_KEY_COMPROMISE, Some(certificate), Some(path)) = (report.status.as_str(), &report.certificate, path) else {
        return true;
    };
    STANDARD.decode(certificate).map_or(true, |der| path.contains(&der.as_slice()))
}
