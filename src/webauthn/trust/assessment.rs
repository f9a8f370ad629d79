//! The policy: what a verified statement is worth, and whether that is enough (WebAuthn L3 section 7.1, steps 23 and 24).

use std::borrow::Cow;

use openssl::x509::X509Ref;
use uuid::Uuid;

use super::{
    Model, TrustError, TrustStore, hex,
    path::{self, Path},
    sha256,
};
use crate::{
    domain::{
        Aaguid, AttestationFormat, AttestationPolicy, AttestationRecord, AttestationTrust, AttestationType, EnterpriseDemand, MDS_ANCHORS,
        PathCertificate, StaleMetadata, Timestamp, TrustDemand,
    },
    webauthn::{
        CoseAlgorithm,
        attestation::Attestation,
        cbor::Value,
        certificate::{ANDROID_KEY_DESCRIPTION, Certificate},
        chain::name,
        metadata::forbidding,
    },
};

/// What is judged.
#[derive(Debug)]
pub(in crate::webauthn) struct Assessed<'a> {
    /// The statement's format.
    pub(in crate::webauthn) format: AttestationFormat,
    /// What its verification gave.
    pub(in crate::webauthn) attestation: &'a Attestation<'a>,
    /// The statement.
    pub(in crate::webauthn) statement: &'a Value<'a>,
    /// The model that the authenticator data names.
    pub(in crate::webauthn) aaguid: Aaguid,
    /// What the new key is for.
    pub(in crate::webauthn) key_algorithm: CoseAlgorithm,
}

/// Assesses a verified statement by a tenant's policy.
///
/// - A model in `aaguids_denied`, proven or claimed, is refused. So is one of which the metadata has a report that forbids it, where `mds`
///   is among the policy's anchors, whatever else the policy says.
/// - The anchors that judge a chain are those of the metadata's entry for the model (by AAGUID; for U2F, whose statements sign none, by the
///   key identifier of a certificate) and all of each named set. Where there is none, the chain cannot be judged. Stale metadata that is
///   distrusted gives no anchors and says nothing of a model; its reports go on forbidding.
/// - Where the entry says what the model does, a chain of a model that attests with the credential's key alone, or a packed statement with an
///   algorithm that the model does not have, is as bad as a chain that leads nowhere.
/// - `record` notes what was found. `judge` refuses what was judged and failed. `require` refuses what is not trusted besides: none, what
///   cannot be judged, and self attestation, also that of a model of which the metadata says that it does nothing else, since it proves
///   nothing of the model.
/// - `aaguids_allowed`, and the demand for enterprise attestation, are `require`: what nothing proves is a claim. A fido-u2f statement
///   proves no AAGUID but the zero one. With a key of a TPM, of Android's keystore or of SafetyNet any program on the device makes a
///   statement, about whatever AAGUID it likes: where the metadata has anchors for the model, only those prove it.
/// - Of a compound statement each part is assessed, with its own type. No part may fail; under `require` one must be trusted. The record
///   is the best part's.
pub(in crate::webauthn) fn assess(
    assessed: &Assessed<'_>,
    policy: &AttestationPolicy,
    store: &TrustStore,
    now: Timestamp,
) -> Result<AttestationRecord, TrustError> {
    if policy.aaguids_denied.contains(&assessed.aaguid) {
        return Err(TrustError::ModelDenied(assessed.aaguid));
    }
    let judge = Judge { aaguid: assessed.aaguid, key_algorithm: assessed.key_algorithm, policy, store, now };
    let parts = parts(assessed.format, assessed.attestation, assessed.statement);
    let records = parts.iter().map(|part| judge.part(part)).collect::<Result<Vec<_>, _>>()?;

    if policy.enterprise == EnterpriseDemand::Require && records.iter().all(|record| record.device_serial.is_none()) {
        return Err(TrustError::NotEnterprise);
    }
    if judge.demand() == TrustDemand::Require {
        judge.require(&records)?;
    }
    // The first of the best; of those, one that names the device.
    let rank = |record: &AttestationRecord| (std::cmp::Reverse(worth(record.trust)), record.device_serial.is_none());
    let best = records.into_iter().min_by_key(rank).unwrap_or_else(AttestationRecord::none);
    // A trusted part beside it proves nothing of a number in somebody's own certificate.
    if policy.enterprise == EnterpriseDemand::Require && best.device_serial.is_none() {
        return Err(TrustError::NotEnterprise);
    }
    Ok(best)
}

const fn worth(trust: AttestationTrust) -> u8 {
    match trust {
        AttestationTrust::None => 0,
        AttestationTrust::SelfAttestation => 1,
        AttestationTrust::Untrusted => 2,
        AttestationTrust::Trusted => 3,
    }
}

/// A statement, or one of those that a compound one consists of.
struct Part<'a> {
    format: AttestationFormat,
    attestation_type: AttestationType,
    /// Empty where there is no certificate.
    path: &'a [Cow<'a, [u8]>],
    /// The statement's `alg`, where it has one.
    algorithm: Option<i64>,
}

fn parts<'a>(format: AttestationFormat, attestation: &'a Attestation<'a>, statement: &'a Value<'a>) -> Vec<Part<'a>> {
    let algorithm = statement.as_map().and_then(|map| map.text("alg")).and_then(Value::as_int);
    let part = |attestation_type, path| vec![Part { format, attestation_type, path, algorithm }];
    match attestation {
        Attestation::None => part(AttestationType::None, &[]),
        Attestation::SelfSigned => part(AttestationType::SelfAttestation, &[]),
        Attestation::Certified { attestation_type, path } => part(*attestation_type, path),
        Attestation::Compound(all) => {
            let statements = statement.as_array().into_iter().flatten();
            let statements = statements.map(|part| part.as_map().and_then(|map| map.text("attStmt")).unwrap_or(&Value::Null));
            let each = all.iter().zip(statements.chain(std::iter::repeat(&Value::Null)));
            each.flat_map(|((format, attestation), statement)| parts(*format, attestation, statement)).collect()
        }
    }
}

/// What came of judging a chain.
enum Verdict {
    Trusted(Vec<PathCertificate>, String),
    Failed(TrustError),
    NotJudged(String),
}

/// What does not differ from part to part.
struct Judge<'a> {
    aaguid: Aaguid,
    key_algorithm: CoseAlgorithm,
    policy: &'a AttestationPolicy,
    store: &'a TrustStore,
    now: Timestamp,
}

impl<'a> Judge<'a> {
    fn demand(&self) -> TrustDemand {
        let implied = !self.policy.aaguids_allowed.is_empty() || self.policy.enterprise == EnterpriseDemand::Require;
        if implied { TrustDemand::Require } else { self.policy.trust }
    }

    fn part(&self, part: &Part<'_>) -> Result<AttestationRecord, TrustError> {
        let certificates: Vec<_> = part.path.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
        let keys = if self.is_u2f(part) { self.key_identifiers(&certificates) } else { Vec::new() };
        self.check_reports(part, &keys)?;
        let models = self.models(part, &keys);

        let attestation_type = attestation_type(part, &models);
        if attestation_type != AttestationType::None && !self.policy.types.contains(&attestation_type) {
            return Err(TrustError::Type(attestation_type));
        }

        let serial =
            certificates.first().filter(|_| part.format == AttestationFormat::Packed).and_then(|c| c.device_serial().ok().flatten());
        if serial.is_some() && self.policy.enterprise == EnterpriseDemand::Refuse {
            return Err(TrustError::Enterprise);
        }

        let record =
            AttestationRecord { format: part.format, attestation_type, device_serial: serial.map(hex), ..AttestationRecord::none() };
        if part.path.is_empty() {
            let is_self = attestation_type == AttestationType::SelfAttestation;
            return Ok(AttestationRecord {
                trust: if is_self { AttestationTrust::SelfAttestation } else { AttestationTrust::None },
                ..record
            });
        }
        let untrusted = |reason| AttestationRecord { trust: AttestationTrust::Untrusted, reason: Some(reason), ..record.clone() };
        match self.judge(part, &models) {
            Verdict::Trusted(path, set) => Ok(AttestationRecord { trust: AttestationTrust::Trusted, path, anchors: Some(set), ..record }),
            Verdict::Failed(error) if self.demand() == TrustDemand::Record => Ok(untrusted(error.to_string())),
            Verdict::Failed(error) => Err(error),
            Verdict::NotJudged(reason) => Ok(untrusted(reason)),
        }
    }

    /// What is demanded of the whole where a trusted statement is.
    fn require(&self, records: &[AttestationRecord]) -> Result<(), TrustError> {
        let trusted: Vec<_> = records.iter().filter(|record| record.trust == AttestationTrust::Trusted).collect();
        if trusted.is_empty() {
            let reason = records.iter().find_map(|record| record.reason.clone());
            let attestation_type = records.first().map_or(AttestationType::None, |record| record.attestation_type);
            return Err(reason.map_or(TrustError::Unproven(attestation_type), TrustError::NotJudged));
        }
        if self.policy.aaguids_allowed.is_empty() {
            return Ok(());
        }
        if !self.policy.aaguids_allowed.contains(&self.aaguid) {
            return Err(TrustError::ModelNotAllowed(self.aaguid));
        }
        let is_proven = self.is_zero() || trusted.iter().any(|record| self.proves_model(record));
        if is_proven { Ok(()) } else { Err(TrustError::ModelUnproven(self.aaguid)) }
    }

    /// Whether a trusted statement says of which model the authenticator is.
    fn proves_model(&self, record: &AttestationRecord) -> bool {
        use AttestationFormat as F;
        match record.format {
            // A U2F device signs no authenticator data: any AAGUID could have been put beside its signature.
            F::FidoU2f => false,
            // What these sign, a program on the device may have written. Stale metadata counts too: it must not make this easier.
            F::Tpm | F::AndroidKey | F::AndroidSafetynet => {
                let has_anchors = || self.store.models(Some(self.aaguid), &[]).iter().any(|model| !model.anchors.is_empty());
                record.anchors.as_deref() == Some(MDS_ANCHORS) || !(self.uses_metadata() && has_anchors())
            }
            // What these sign, the authenticator wrote.
            F::None | F::Packed | F::Apple | F::Compound => true,
        }
    }

    fn is_zero(&self) -> bool {
        self.aaguid.as_uuid() == Uuid::nil()
    }

    /// Whether its model is known by its certificates' keys: U2F devices, also those that speak CTAP2 and have no AAGUID.
    fn is_u2f(&self, part: &Part<'_>) -> bool {
        part.format == AttestationFormat::FidoU2f || part.format == AttestationFormat::Packed && self.is_zero()
    }

    fn uses_metadata(&self) -> bool {
        self.policy.anchors.iter().any(|name| name == MDS_ANCHORS)
    }

    fn is_stale(&self) -> bool {
        self.policy.stale_metadata == StaleMetadata::Distrust && self.store.head.as_ref().is_some_and(|head| head.is_overdue(self.now))
    }

    fn key_identifiers(&self, certificates: &[Certificate<'_>]) -> Vec<String> {
        let is_needed = self.uses_metadata() && !self.store.by_key.is_empty();
        let certificates = certificates.iter().filter(|_| is_needed);
        certificates.filter_map(Certificate::key_identifier).map(|identifier| hex(&identifier)).collect()
    }

    /// Refuses a model that is reported, be it proven or claimed.
    fn check_reports(&self, part: &Part<'_>, keys: &[String]) -> Result<(), TrustError> {
        if !self.uses_metadata() {
            return Ok(());
        }
        let today = self.now.date();
        let path: Vec<&[u8]> = part.path.iter().map(AsRef::as_ref).collect();
        let path = Some(path.as_slice()).filter(|path| !path.is_empty());
        let claimed = Some(self.aaguid).filter(|_| !self.is_zero());
        for Model { entry, .. } in self.store.models(claimed, keys) {
            if let Some(report) = forbidding(entry, path, &today) {
                let (model, status) = (entry.description.clone(), report.status.clone());
                return Err(TrustError::Reported { model, status, since: report.effective_date.clone() });
            }
        }
        Ok(())
    }

    /// What the metadata says of the model that the statement is of.
    fn models(&self, part: &Part<'_>, keys: &[String]) -> Vec<&'a Model> {
        if !self.uses_metadata() || self.is_stale() {
            return Vec::new();
        }
        let aaguid = Some(self.aaguid).filter(|_| !self.is_zero() && !self.is_u2f(part));
        self.store.models(aaguid, keys)
    }

    fn judge(&self, part: &Part<'_>, models: &[&'a Model]) -> Verdict {
        if let Err(error) = check_key(part).and_then(|()| self.check_model(part, models)) {
            return Verdict::Failed(error);
        }
        let of_models = models.iter().map(|model| (MDS_ANCHORS, &model.anchors));
        let names = self.policy.anchors.iter().filter(|name| *name != MDS_ANCHORS);
        let of_names = names.filter_map(|name| self.store.sets.get_key_value(name)).map(|(name, set)| (name.as_str(), set));
        let sets: Vec<_> = of_models.chain(of_names).filter(|(_, set)| !set.is_empty()).collect();
        if sets.is_empty() {
            return Verdict::NotJudged(format!("no trust anchor is for it; looked in {}", self.looked_in(part, models)));
        }
        match path::find(part.path, &sets, self.now, || self.looked_in(part, models)) {
            Ok(Path { certificates, set }) => Verdict::Trusted(certificates.iter().map(|c| named(c)).collect(), set.to_owned()),
            Err(error) => Verdict::Failed(error),
        }
    }

    /// Refuses what the metadata says that the model does not do (FIDO's server tests, Resp-6 F-2 and Resp-5 F-8).
    fn check_model(&self, part: &Part<'_>, models: &[&Model]) -> Result<(), TrustError> {
        let model = || models.first().map(|model| model.entry.description.clone()).unwrap_or_default();
        let types = said(models, |model| &model.entry.attestation_types);
        if !types.is_empty() && types.iter().all(|t| matches!(t, AttestationType::SelfAttestation | AttestationType::None)) {
            return Err(TrustError::SurrogateOnly(model()));
        }
        // Of packed statements alone. A TPM's is signed with RSA and SHA-1, and the keystores of platforms learn algorithms sooner than their
        // entries do: Windows Hello makes keys on P-256, and its entry named RSA alone for years.
        if part.format != AttestationFormat::Packed {
            return Ok(());
        }
        let algorithms = said(models, |model| &model.entry.algorithms);
        for algorithm in part.algorithm.into_iter().chain([self.key_algorithm.id()]) {
            if !algorithms.is_empty() && !algorithms.contains(&algorithm) {
                return Err(TrustError::Algorithm { model: model(), algorithm });
            }
        }
        Ok(())
    }

    /// Where anchors were looked for, and why there were none.
    fn looked_in(&self, part: &Part<'_>, models: &[&Model]) -> String {
        let due = self.store.head.as_ref().map(|head| head.next_update.date());
        let metadata = || match due {
            None => vec!["mds (no metadata)".to_owned()],
            Some(due) if self.is_stale() => vec![format!("mds (stale: an update was due on {due})")],
            Some(_) if !models.is_empty() => models.iter().map(|model| in_entry(model)).collect(),
            Some(_) if self.is_u2f(part) => vec!["mds (no entry for the certificate's key)".to_owned()],
            Some(_) => vec![format!("mds (no entry for the model {})", self.aaguid)],
        };
        let (uses, set) = (self.uses_metadata(), |name: &String| match self.store.sets.get(name) {
            Some(set) if !set.is_empty() => name.clone(),
            _ => format!("{name} (no anchors)"),
        });
        let names = self.policy.anchors.iter().filter(|name| *name != MDS_ANCHORS).map(set);
        let all: Vec<_> = uses.then(metadata).into_iter().flatten().chain(names).collect();
        if all.is_empty() { "no set".to_owned() } else { all.join(", ") }
    }
}

/// Refuses an application's key in Android's keystore in any format but android-key, which is about that very key. It signs what the
/// application likes, its certificate's subject is the application's choice, and it leads to Google's anchors: these judge every format.
fn check_key(part: &Part<'_>) -> Result<(), TrustError> {
    let certificate = part.path.first().and_then(|der| Certificate::parse(der).ok());
    let is_described = certificate.is_some_and(|certificate| certificate.extension_value(ANDROID_KEY_DESCRIPTION).is_some());
    if is_described && part.format != AttestationFormat::AndroidKey { Err(TrustError::ApplicationKey(part.format)) } else { Ok(()) }
}

fn in_entry(model: &Model) -> String {
    let description = &model.entry.description;
    if model.anchors.is_empty() { format!("mds ({description}: no anchors)") } else { format!("mds ({description})") }
}

/// Section 8.2 and 8.6 leave it to what is known of the model whether a certificate is a batch's or one authenticator's.
fn attestation_type(part: &Part<'_>, models: &[&Model]) -> AttestationType {
    let is_open = matches!(part.format, AttestationFormat::Packed | AttestationFormat::FidoU2f);
    if !is_open || part.attestation_type != AttestationType::Basic {
        return part.attestation_type;
    }
    let types = said(models, |model| &model.entry.attestation_types);
    let by_ca = types.iter().copied().find(|t| matches!(t, AttestationType::AttCa | AttestationType::AnonCa));
    if types.contains(&AttestationType::Basic) { AttestationType::Basic } else { by_ca.unwrap_or(AttestationType::Basic) }
}

/// What all entries together list; nothing where one of them does not say.
fn said<T: Copy>(models: &[&Model], list: impl Fn(&Model) -> &[T]) -> Vec<T> {
    let lists: Vec<_> = models.iter().map(|model| list(model)).collect();
    if lists.iter().any(|list| list.is_empty()) { Vec::new() } else { lists.concat() }
}

fn named(certificate: &X509Ref) -> PathCertificate {
    PathCertificate { subject: name(certificate.subject_name()), sha256: sha256(certificate) }
}

#[cfg(test)]
mod tests;
