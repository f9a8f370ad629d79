//! Status reports: what happened to a model, and whether it may still be registered.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::x509::{X509, X509Ref};

use super::entries::date;
use crate::{
    domain::{MetadataEntry, StatusReport},
    webauthn::chain::is_issued_by,
};

/// What forbids new registrations of a model: a weakness, a model that should not be trusted (FIDO Metadata Service v3.0 section 3.1.4), or
/// one that its vendor wants accepted no longer (`RETIRED`, v3.1). Words that are not known forbid nothing: most are certifications.
const FORBIDDING: [&str; 6] = [
    "REVOKED",
    "RETIRED",
    "USER_VERIFICATION_BYPASS",
    ATTESTATION_KEY_COMPROMISE,
    "USER_KEY_REMOTE_COMPROMISE",
    "USER_KEY_PHYSICAL_COMPROMISE",
];

const ATTESTATION_KEY_COMPROMISE: &str = "ATTESTATION_KEY_COMPROMISE";

/// The first report in force on the day `today` (`YYYY-MM-DD`) that forbids new registrations of a model.
///
/// - A report is in force from its effective date to the day before its sunset date; always, where there is none or none that can be read.
/// - Later reports do not lift earlier ones: a relying party does not learn an authenticator's firmware version, so that neither an update
///   nor a new certification says that this authenticator is without the weakness. For the same reason a report about one version counts
///   for all.
/// - A compromise of one attestation key concerns those alone whose certificates, `path` in DER, have that key or were issued with it;
///   where no path is given, or the report's certificate cannot be read, all.
pub fn forbidding<'a>(entry: &'a MetadataEntry, path: Option<&[&[u8]]>, today: &str) -> Option<&'a StatusReport> {
    let forbids = |report: &&StatusReport| FORBIDDING.contains(&report.status.as_str());
    entry.status_reports.iter().filter(forbids).find(|report| is_in_force(report, today) && concerns(report, path))
}

fn is_in_force(report: &StatusReport, today: &str) -> bool {
    let day = |text: &'_ Option<String>| text.as_deref().and_then(date);
    let Some(today) = date(today) else { return true };
    let began = day(&report.effective_date).is_none_or(|day| day <= today);
    let ended = day(&report.sunset_date).is_some_and(|day| day <= today);
    began && !ended
}

fn concerns(report: &StatusReport, path: Option<&[&[u8]]>) -> bool {
    let (ATTESTATION_KEY_COMPROMISE, Some(certificate), Some(path)) = (report.status.as_str(), &report.certificate, path) else {
        return true;
    };
    let Some(compromised) = STANDARD.decode(certificate).ok().and_then(|der| X509::from_der(&der).ok()) else { return true };
    // The same key in another certificate is no better. The compromised one may be the root's, which need not be in the path.
    let is_hit = |certificate: &X509Ref| has_same_key(certificate, &compromised) || is_issued_by(certificate, &compromised);
    path.iter().any(|der| X509::from_der(der).map_or(true, |certificate| is_hit(&certificate)))
}

fn has_same_key(one: &X509Ref, other: &X509Ref) -> bool {
    let spki = |certificate: &X509Ref| certificate.public_key().and_then(|key| key.public_key_to_der());
    matches!((spki(one), spki(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webauthn::metadata::testing::{INTERMEDIATE, LEAF, ROOT, Service};

    const TODAY: &str = "2026-01-02";

    fn entry(reports: &[StatusReport]) -> MetadataEntry {
        MetadataEntry {
            aaguid: None,
            key_identifiers: Vec::new(),
            description: String::new(),
            attestation_types: Vec::new(),
            algorithms: Vec::new(),
            anchors: Vec::new(),
            status_reports: reports.to_vec(),
        }
    }

    fn report(status: &str) -> StatusReport {
        StatusReport { status: status.to_owned(), ..StatusReport::default() }
    }

    fn forbids(report: StatusReport) -> bool {
        forbidding(&entry(&[report]), None, TODAY).is_some()
    }

    #[test]
    fn each_word() {
        for status in FORBIDDING {
            assert!(forbids(report(status)), "{status}");
        }
        for status in [
            "NOT_FIDO_CERTIFIED",
            "FIDO_CERTIFIED",
            "UPDATE_AVAILABLE",
            "SELF_ASSERTION_SUBMITTED",
            "FIDO_CERTIFIED_L1",
            "FIDO_CERTIFIED_L1plus",
            "FIDO_CERTIFIED_L2",
            "FIDO_CERTIFIED_L2plus",
            "FIDO_CERTIFIED_L3",
            "FIDO_CERTIFIED_L3plus",
            "FIPS140_CERTIFIED_L4",
            "A_NEW_WORD",
            "revoked",
            "",
        ] {
            assert!(!forbids(report(status)), "{status}");
        }
        assert!(forbidding(&entry(&[]), None, TODAY).is_none());
    }

    #[test]
    fn dates() {
        let from = |date: &str| StatusReport { effective_date: Some(date.to_owned()), ..report("REVOKED") };
        assert!(forbids(from("2026-01-01")));
        assert!(forbids(from(TODAY)));
        assert!(!forbids(from("2026-01-03")));
        // Since when, nobody can tell.
        for date in ["", "tomorrow", "2026-13-01", "9999-99-99", "9999-1-1"] {
            assert!(forbids(from(date)), "{date}");
        }
        let until = |date: &str| StatusReport { sunset_date: Some(date.to_owned()), ..report("REVOKED") };
        assert!(!forbids(until("2026-01-01")));
        assert!(!forbids(until(TODAY)));
        assert!(forbids(until("2026-01-03")));
        for date in ["", "0000-00-00"] {
            assert!(forbids(until(date)), "{date}");
        }
    }

    #[test]
    fn later_reports_lift_nothing() {
        let compromise = StatusReport { authenticator_version: Some(2), ..report("USER_KEY_REMOTE_COMPROMISE") };
        let update = StatusReport { authenticator_version: Some(3), ..report("UPDATE_AVAILABLE") };
        let entry = entry(&[report("FIDO_CERTIFIED"), compromise.clone(), update, report("FIDO_CERTIFIED_L2"), report("REVOKED")]);
        assert_eq!(forbidding(&entry, None, TODAY), Some(&compromise));
    }

    #[test]
    fn one_attestation_key() {
        let (service, other) = (Service::default(), Service::default());
        let der = |service: &Service, n: usize| service.chain[n].0.to_der().unwrap();
        let forbids = |status: &str, certificate: &[u8], path: Option<&[usize]>| {
            let report = StatusReport { certificate: Some(STANDARD.encode(certificate)), ..report(status) };
            let path: Option<Vec<_>> = path.map(|path| path.iter().map(|&n| der(&service, n)).collect());
            let path: Option<Vec<&[u8]>> = path.as_ref().map(|path| path.iter().map(Vec::as_slice).collect());
            forbidding(&entry(&[report]), path.as_deref(), TODAY).is_some()
        };
        let compromised = |certificate: &[u8], path: &[usize]| forbids(ATTESTATION_KEY_COMPROMISE, certificate, Some(path));
        assert!(compromised(&der(&service, LEAF), &[LEAF]));
        assert!(compromised(&der(&service, INTERMEDIATE), &[LEAF, INTERMEDIATE]));
        // The compromised one is not on the path, but it issued what is.
        assert!(compromised(&der(&service, INTERMEDIATE), &[LEAF]));
        assert!(compromised(&der(&service, ROOT), &[LEAF, INTERMEDIATE]));
        // Another of the same names.
        for n in [LEAF, INTERMEDIATE, ROOT] {
            assert!(!compromised(&der(&other, n), &[LEAF, INTERMEDIATE]), "{n}");
        }
        // A new certificate for the same key.
        let (root, root_key) = &service.chain[ROOT];
        let spec = crate::webauthn::testing::CertificateSpec { subject: &[("CN", "Renewed")], ..Default::default() };
        let renewed = spec.make(&service.chain[LEAF].1, Some((root, root_key)));
        assert!(compromised(&renewed.to_der().unwrap(), &[LEAF, INTERMEDIATE]));
        // Nothing to compare: all are concerned. So they are by any other word.
        assert!(compromised(b"no certificate", &[LEAF]));
        assert!(forbids(ATTESTATION_KEY_COMPROMISE, &der(&other, LEAF), None));
        assert!(forbids("REVOKED", &der(&other, LEAF), Some(&[LEAF])));
        assert!(!forbids(ATTESTATION_KEY_COMPROMISE, &der(&other, LEAF), Some(&[])));
    }
}
