//! Chains of certificates as OpenSSL judges them, within the rules of RFC 5280 section 6. What a chain must be beyond that is for those to say
//! who ask: `trust` for statements, `metadata` for BLOBs.

use openssl::{
    error::ErrorStack,
    stack::Stack,
    x509::{
        X509, X509NameEntryRef, X509NameRef, X509Ref, X509StoreContext, X509StoreContextRef, X509VerifyResult,
        store::X509StoreBuilder,
        verify::{X509VerifyParam, X509VerifyParamRef},
    },
};

use crate::domain::Timestamp;

/// The security level of OpenSSL: 112 bits, so no RSA below 2048 bits, no curve below 224, and no signature with SHA-1 or MD5. The
/// signature on an anchor itself is not looked at.
const SECURITY_LEVEL: i32 = 2;

/// The most characters of a name that are shown, and the most parts of it.
const MAX_NAME: usize = 256;
const MAX_NAME_PARTS: usize = 16;

/// Why OpenSSL found no path, and at which certificate, so far as it says.
#[derive(Debug)]
pub(super) struct NoPath {
    pub(super) error: Option<X509VerifyResult>,
    pub(super) certificate: Option<X509>,
}

impl NoPath {
    const NOT_JUDGED: Self = Self { error: None, certificate: None };

    /// In OpenSSL's words.
    pub(super) fn why(&self) -> &'static str {
        self.error.map_or("OpenSSL could not judge it", |error| error.error_string())
    }
}

/// The path that OpenSSL finds from `leaf` to one of `anchors`, both included, by way of `others` as needed. At `now` each certificate must be
/// valid; `configure` says what else is demanded.
pub(super) fn find_path<'a>(
    leaf: &X509Ref,
    others: &[X509],
    anchors: impl IntoIterator<Item = &'a X509>,
    now: Timestamp,
    configure: impl FnOnce(&mut X509VerifyParamRef) -> Result<(), ErrorStack>,
) -> Result<Vec<X509>, NoPath> {
    let search = || -> Result<_, ErrorStack> {
        let mut param = X509VerifyParam::new()?;
        param.set_time(now.as_secs());
        param.set_auth_level(SECURITY_LEVEL);
        configure(&mut param)?;
        let mut store = X509StoreBuilder::new()?;
        store.set_param(&param)?;
        for anchor in anchors {
            store.add_cert(anchor.clone())?;
        }
        let mut untrusted = Stack::new()?;
        for certificate in others {
            untrusted.push(certificate.clone())?;
        }
        X509StoreContext::new()?.init(&store.build(), leaf, &untrusted, |context| Ok(verdict(context)))
    };
    let found = search().unwrap_or(Err(NoPath::NOT_JUDGED));
    // A path that failed leaves its errors behind. They are not the next caller's.
    drop(ErrorStack::get());
    found
}

fn verdict(context: &mut X509StoreContextRef) -> Result<Vec<X509>, NoPath> {
    let found = context.verify_cert();
    let certificate = |context: &X509StoreContextRef| context.current_cert().map(X509Ref::to_owned);
    match (found, context.error()) {
        (Ok(true), X509VerifyResult::OK) => Ok(context.chain().into_iter().flatten().map(X509Ref::to_owned).collect()),
        // Two answers that must agree: neither alone is taken for a yes.
        (_, X509VerifyResult::OK) => Err(NoPath { certificate: certificate(context), ..NoPath::NOT_JUDGED }),
        (_, error) => Err(NoPath { error: Some(error), certificate: certificate(context) }),
    }
}

/// Whether one certificate names the other as its issuer and has its signature.
pub(super) fn is_issued_by(subject: &X509Ref, issuer: &X509Ref) -> bool {
    let signed = || issuer.public_key().is_ok_and(|key| subject.verify(&key).unwrap_or(false));
    let is_issued = issuer.issued(subject) == X509VerifyResult::OK && signed();
    drop(ErrorStack::get());
    is_issued
}

/// A name for people: `CN=.., O=..` in the certificate's order, escaped and cut.
pub(super) fn name(name: &X509NameRef) -> String {
    let part = |entry: &X509NameEntryRef| {
        let kind = entry.object().nid().short_name().ok().filter(|kind| *kind != "UNDEF");
        let kind = kind.map_or_else(|| entry.object().to_string(), ToOwned::to_owned);
        let text = entry.data().to_string().unwrap_or_else(|_| "?".to_owned());
        format!("{kind}={}", escaped(&text.chars().take(MAX_NAME).collect::<String>()))
    };
    let parts: Vec<_> = name.entries().take(MAX_NAME_PARTS).map(part).collect();
    if parts.is_empty() { "(no subject)".to_owned() } else { parts.join(", ").chars().take(MAX_NAME).collect() }
}

fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use openssl::x509::X509NameBuilder;

    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        let shown = |texts: &[&str]| {
            let mut builder = X509NameBuilder::new().unwrap();
            for text in texts {
                builder.append_entry_by_text("CN", text).unwrap();
            }
            name(&builder.build())
        };
        assert_eq!(shown(&[]), "(no subject)");
        assert_eq!(shown(&["a\nb\u{1b}[31m"]), "CN=a\\nb\\u{1b}[31m");
        let long = "x".repeat(60);
        assert_eq!(shown(&[long.as_str(); 30]).chars().count(), MAX_NAME);
    }
}
