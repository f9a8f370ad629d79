//! The `compound` statement format (WebAuthn L3 section 8.9): several statements about one credential.

use super::{Attestation, StatementError, Subject};
use crate::domain::AttestationFormat;
use crate::webauthn::cbor::Value;

/// The most statements in one. Each may cost what a registration of its own does.
const MAX_PARTS: usize = 4;

/// The most characters of an unknown format's name that are repeated.
const MAX_SHOWN: usize = 32;

/// Why a statement of this format was refused. Its parts are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompoundError {
    /// A part is no statement with its format.
    #[error("part {part} must be a map with {member}")]
    NotAStatement {
        /// Which one.
        part: usize,
        /// What it lacks.
        member: &'static str,
    },
    /// A part of a format that is not known.
    #[error("part {part}: the statement format {format:?} is not supported")]
    UnknownFormat {
        /// Which one.
        part: usize,
        /// As sent, cut.
        format: String,
    },
    /// A part of a format that may not be one.
    #[error("part {part}: a statement of the format {format} cannot be part of a compound one")]
    NotAPart {
        /// Which one.
        part: usize,
        /// Its format.
        format: AttestationFormat,
    },
    /// A part of a format that the policy does not accept.
    #[error("part {part}: statements of the format {format} are not accepted")]
    NotAccepted {
        /// Which one.
        part: usize,
        /// Its format.
        format: AttestationFormat,
    },
    /// A part is no good.
    #[error("part {part}: {format}: {error}")]
    Part {
        /// Which one.
        part: usize,
        /// Its format.
        format: AttestationFormat,
        /// What is wrong with it.
        error: StatementError,
    },
}

/// The verification procedure.
pub(super) fn verify<'a>(statement: &Value<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    let parts = statement.as_array().filter(|parts| (2..=MAX_PARTS).contains(&parts.len()));
    let parts = parts.ok_or(StatementError::Mistyped("attStmt", "an array of 2 to 4 statements"))?;

    // 1. For each subStmt of attStmt, evaluate the verification procedure corresponding to subStmt.fmt. If validation fails for one or more
    //    subStmt, decide the appropriate result based on Relying Party policy: the whole is refused.
    let verified = parts.iter().enumerate().map(|(part, statement)| verify_part(part, statement, subject));

    // 2. If sufficiently many (as determined by Relying Party policy) items of attStmt verify successfully, return any combination of
    //    outputs from successful verification procedures: all of them.
    verified.collect::<Result<_, _>>().map(Attestation::Compound).map_err(|error| Box::new(error).into())
}

fn verify_part<'a>(
    part: usize,
    statement: &Value<'a>,
    subject: &Subject<'_>,
) -> Result<(AttestationFormat, Attestation<'a>), CompoundError> {
    let member = |member| statement.as_map().and_then(|map| map.text(member)).ok_or(CompoundError::NotAStatement { part, member });
    let format = member("fmt")?.as_text().ok_or(CompoundError::NotAStatement { part, member: "fmt" })?;
    let statement = member("attStmt")?;
    let unknown = |_| CompoundError::UnknownFormat { part, format: format.chars().take(MAX_SHOWN).collect() };
    let format: AttestationFormat = format.parse().map_err(unknown)?;

    // The syntax leaves out compound, so that nothing nests. It would allow none, which is the absence of a statement: where a statement is
    // required, two of none would be one.
    if matches!(format, AttestationFormat::Compound | AttestationFormat::None) {
        return Err(CompoundError::NotAPart { part, format });
    }
    // What is not accepted alone is not accepted in company (section 7.1, step 21).
    if !subject.policy.formats.contains(&format) {
        return Err(CompoundError::NotAccepted { part, format });
    }
    let attestation = super::verify(format, statement, subject).map_err(|error| CompoundError::Part { part, format, error })?;
    Ok((format, attestation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{AttestationPolicy, AttestationTrust},
        webauthn::{
            CoseAlgorithm, Refusal, SignatureError,
            cbor::Map,
            testing::{CertificateSpec, KeyPair, Maker, Statement, compound},
        },
    };

    fn certified() -> Statement {
        let key = KeyPair::generate(CoseAlgorithm::Es256).private;
        let certificate = CertificateSpec::default().make(&key, None).to_der().unwrap();
        Statement::Packed(key, CoseAlgorithm::Es256, vec![certificate])
    }

    fn u2f() -> Statement {
        let key = KeyPair::generate(CoseAlgorithm::Es256).private;
        let certificate = CertificateSpec::default().make(&key, None).to_der().unwrap();
        Statement::U2f(key, vec![certificate])
    }

    fn maker(parts: Vec<Statement>) -> Maker {
        Maker::attested(Statement::Compound(parts))
    }

    fn raw(format: &str) -> Statement {
        Statement::Raw(format.to_owned(), Value::Map(Map::from_entries(vec![])).to_vec())
    }

    fn refused(maker: &Maker) -> StatementError {
        let error = maker.verify().unwrap_err();
        assert_eq!(error.step(), 22);
        let Refusal::Statement { error, .. } = error.refusal() else { panic!("{error}") };
        error.clone()
    }

    fn part_refused(parts: Vec<Statement>) -> CompoundError {
        let StatementError::Compound(error) = refused(&maker(parts)) else { panic!() };
        *error
    }

    #[test]
    fn two_and_more() {
        let registration = maker(vec![certified(), Statement::PackedSelf]).verify().unwrap();
        assert_eq!(registration.attestation_type, "compound");
        assert_eq!(registration.attestation.trust, AttestationTrust::Untrusted);
        assert!(maker(vec![u2f(), certified()]).verify().is_ok());
        assert!(maker((0..MAX_PARTS).map(|_| Statement::PackedSelf).collect()).verify().is_ok());
    }

    #[test]
    fn how_many() {
        let expected = StatementError::Mistyped("attStmt", "an array of 2 to 4 statements");
        for n in [0, 1, MAX_PARTS + 1] {
            assert_eq!(refused(&maker((0..n).map(|_| Statement::PackedSelf).collect())), expected, "{n}");
        }
        assert_eq!(refused(&Maker::attested(raw("compound"))), expected);
    }

    #[test]
    fn every_part_must_verify() {
        // The certificate is another key's.
        let Statement::Packed(_, algorithm, certificates) = certified() else { panic!() };
        let key = KeyPair::generate(CoseAlgorithm::Es256).private;
        let error = part_refused(vec![Statement::PackedSelf, Statement::Packed(key, algorithm, certificates)]);
        let invalid = StatementError::Signature(SignatureError::Invalid);
        assert_eq!(error, CompoundError::Part { part: 1, format: AttestationFormat::Packed, error: invalid });
        assert_eq!(error.to_string(), "part 1: packed: the signature does not verify");
        let missing = StatementError::Missing("sig");
        let error = part_refused(vec![raw("fido-u2f"), Statement::PackedSelf]);
        assert_eq!(error, CompoundError::Part { part: 0, format: AttestationFormat::FidoU2f, error: missing });
    }

    #[test]
    fn formats_of_parts() {
        use AttestationFormat as F;
        let part = |statement| part_refused(vec![Statement::PackedSelf, statement]);
        assert_eq!(part(Statement::None), CompoundError::NotAPart { part: 1, format: F::None });
        let nested = Statement::Compound(vec![Statement::PackedSelf, Statement::PackedSelf]);
        assert_eq!(part(nested), CompoundError::NotAPart { part: 1, format: F::Compound });
        assert_eq!(part(raw("Packed")), CompoundError::UnknownFormat { part: 1, format: "Packed".to_owned() });
        assert_eq!(part(raw(&"x".repeat(99))), CompoundError::UnknownFormat { part: 1, format: "x".repeat(32) });
        assert_eq!(part(raw("android-safetynet")), CompoundError::NotAccepted { part: 1, format: F::AndroidSafetynet });
        let attestation = AttestationPolicy { formats: vec![F::Compound, F::Packed], ..AttestationPolicy::default() };
        let error = refused(&Maker { attestation, ..maker(vec![u2f(), Statement::PackedSelf]) });
        assert_eq!(error, Box::new(CompoundError::NotAccepted { part: 0, format: F::FidoU2f }).into());
    }

    #[test]
    fn parts_are_maps_of_two_members() {
        let good = Value::parse(&compound(&[("none".to_owned(), vec![0xa0])])).unwrap().as_array().unwrap()[0].to_vec();
        let shape = |part: Value<'_>| {
            let whole = Value::Array(vec![part, Value::parse(&good).unwrap()]).to_vec();
            let StatementError::Compound(error) = refused(&Maker::attested(Statement::Raw("compound".to_owned(), whole))) else { panic!() };
            *error
        };
        let entries = |entries: &[(&'static str, Value<'static>)]| {
            Value::Map(Map::from_entries(entries.iter().map(|(name, value)| (Value::Text(name), value.clone())).collect()))
        };
        let empty = || Value::Map(Map::from_entries(vec![]));
        let lacks = |member| CompoundError::NotAStatement { part: 0, member };
        assert_eq!(shape(Value::Null), lacks("fmt"));
        assert_eq!(shape(entries(&[("attStmt", empty())])), lacks("fmt"));
        assert_eq!(shape(entries(&[("fmt", 1.into()), ("attStmt", empty())])), lacks("fmt"));
        assert_eq!(shape(entries(&[("fmt", Value::Text("packed"))])), lacks("attStmt"));
        let mistyped = StatementError::Mistyped("attStmt", "a map");
        let part = entries(&[("fmt", Value::Text("packed")), ("attStmt", Value::Null)]);
        assert_eq!(shape(part), CompoundError::Part { part: 0, format: AttestationFormat::Packed, error: mistyped });
    }
}
