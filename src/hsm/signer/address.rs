//! Which token: a PKCS #11 URI (RFC 7512), or a label and a serial number. Never a slot number: those move.

use std::{fmt, str::FromStr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A text that addresses no token. Never repeats the value of a `pin-value`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenAddressError {
    /// Another scheme, or none.
    #[error("a token is addressed as pkcs11:token=..;serial=.. (RFC 7512)")]
    Scheme,
    /// A slot, which moves when tokens are added or initialized.
    #[error("a slot number or slot name does not address a token for good: use token= and serial=")]
    Slot,
    /// A PIN, which does not belong where everybody reads.
    #[error("a PIN does not belong in a token's URI: use pin_file, pin_credential or pin_env, and change a PIN that was written here")]
    Pin,
    /// An attribute that does not say which token.
    #[error("attribute {0:?} does not belong here: a token is addressed by token, serial, manufacturer and model")]
    Attribute(String),
    /// An attribute twice.
    #[error("attribute {0} is there twice")]
    Twice(&'static str),
    /// A percent sign without two hexadecimal digits, not UTF-8, or no `=`.
    #[error("{0:?} is not a percent-encoded attribute")]
    Encoding(String),
    /// Nothing that says which token.
    #[error("neither a token label nor a serial number is given")]
    Empty,
}

/// What must be equal to address a token; padding is not compared. At least a label or a serial number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenAddress {
    token: Option<String>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
}

impl TokenAddress {
    /// By label, serial number, or both. Empty texts count as not given.
    pub fn new(label: Option<String>, serial: Option<String>) -> Result<Self, TokenAddressError> {
        let given = |text: Option<String>| text.map(|t| trim(&t).to_owned()).filter(|t| !t.is_empty());
        Self { token: given(label), serial: given(serial), ..Self::default() }.complete()
    }

    /// Whether a token with these strings is meant. Strings may still have their padding (blanks, or NUL on some TPMs).
    pub(super) fn matches(&self, label: &str, serial: &str, manufacturer: &str, model: &str) -> bool {
        let equal = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| trim(w) == trim(found));
        equal(&self.token, label) && equal(&self.serial, serial) && equal(&self.manufacturer, manufacturer) && equal(&self.model, model)
    }

    fn complete(self) -> Result<Self, TokenAddressError> {
        // Padding alone would address each token that has not been initialized.
        let says_nothing = |text: &Option<String>| text.as_deref().is_none_or(|text| trim(text).is_empty());
        if says_nothing(&self.token) && says_nothing(&self.serial) { Err(TokenAddressError::Empty) } else { Ok(self) }
    }

    fn attribute(&mut self, name: &str) -> Result<(&'static str, &mut Option<String>), TokenAddressError> {
        match name {
            "token" => Ok(("token", &mut self.token)),
            "serial" => Ok(("serial", &mut self.serial)),
            "manufacturer" => Ok(("manufacturer", &mut self.manufacturer)),
            "model" => Ok(("model", &mut self.model)),
            "slot-id" | "slot-manufacturer" | "slot-description" => Err(TokenAddressError::Slot),
            "pin-value" | "pin-source" => Err(TokenAddressError::Pin),
            other => Err(TokenAddressError::Attribute(other.to_owned())),
        }
    }
}

/// Without the padding of fixed-length fields.
pub(super) fn trim(field: &str) -> &str {
    field.trim_end_matches([' ', '\0'])
}

impl FromStr for TokenAddress {
    type Err = TokenAddressError;

    fn from_str(uri: &str) -> Result<Self, TokenAddressError> {
        let rest = uri.trim().strip_prefix("pkcs11:").ok_or(TokenAddressError::Scheme)?;
        // Wherever it is: with a wrong separator before it, it would be taken for part of a label, and shown.
        if rest.contains("pin-value=") {
            return Err(TokenAddressError::Pin);
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut address = Self::default();
        for part in path.split(';').chain(query.split('&')).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| TokenAddressError::Encoding(part.to_owned()))?;
            let (name, field) = address.attribute(name)?;
            let value = decode(value).ok_or_else(|| TokenAddressError::Encoding(part.to_owned()))?;
            if field.replace(value).is_some() {
                return Err(TokenAddressError::Twice(name));
            }
        }
        address.complete()
    }
}

fn decode(value: &str) -> Option<String> {
    // percent_decode_str lets a stray % through; RFC 7512 does not.
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' && !(bytes.next()?.is_ascii_hexdigit() && bytes.next()?.is_ascii_hexdigit()) {
            return None;
        }
    }
    let decoded = percent_decode_str(value).decode_utf8().ok()?.into_owned();
    (!decoded.is_empty()).then_some(decoded)
}

/// What RFC 7512 lets stand: its unreserved characters, less than it allows.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// As a URI.
impl fmt::Display for TokenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("token", &self.token), ("serial", &self.serial), ("manufacturer", &self.manufacturer), ("model", &self.model)];
        let mut separator = "pkcs11:";
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, "{separator}{name}={}", utf8_percent_encode(value, ENCODED))?;
                separator = ";";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<TokenAddress, TokenAddressError> {
        uri.parse()
    }

    #[test]
    fn reads_and_prints_what_the_rfc_says() {
        let address = parse("pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;serial=a1;model=SoftHSM%20v2;manufacturer=x").unwrap();
        assert_eq!(address.token.as_deref(), Some("The Software PKCS#11 Softtoken"));
        assert_eq!(parse(&address.to_string()), Ok(address));
    }

    #[test]
    fn padding_is_not_compared() {
        let address = parse("pkcs11:token=tok;serial=01").unwrap();
        assert!(address.matches("tok     ", "01\0\0", "anyone", "any"));
        assert!(!address.matches("tok2", "01", "", ""));
        assert!(!address.matches("tok", "02", "", ""));
        assert!(TokenAddress::new(Some("tok ".into()), None).unwrap().matches("tok", "9", "", ""));
    }

    #[test]
    fn refuses_slots_pins_and_the_unknown() {
        use TokenAddressError as E;
        assert_eq!(parse("pkcs11:token=a;slot-id=0"), Err(E::Slot));
        assert_eq!(parse("pkcs11:token=a?pin-value=1234"), Err(E::Pin));
        assert_eq!(parse("pkcs11:token=a;pin-value=1234"), Err(E::Pin));
        assert!(!format!("{:?}", parse("pkcs11:token=a?pin-value=1234")).contains("1234"));
        assert_eq!(parse("pkcs11:token=a&pin-value=1234"), Err(E::Pin));
        assert_eq!(parse("pkcs11:token=50%,pin-value=1234"), Err(E::Pin));
        assert_eq!(parse("pkcs11:token=a;object=b"), Err(E::Attribute("object".into())));
        assert_eq!(parse("pkcs11:token=a;token=b"), Err(E::Twice("token")));
        assert_eq!(parse("pkcs11:model=x"), Err(E::Empty));
        assert_eq!(parse("pkcs11:"), Err(E::Empty));
        assert_eq!(parse("pkcs11:token=%20;serial=%00"), Err(E::Empty));
        assert_eq!(parse("token=a"), Err(E::Scheme));
        for bad in ["pkcs11:token=%2", "pkcs11:token=%zz", "pkcs11:token=%ff", "pkcs11:token", "pkcs11:token="] {
            assert!(matches!(parse(bad), Err(E::Encoding(_))), "{bad}");
        }
        assert_eq!(TokenAddress::new(Some(" ".into()), None), Err(E::Empty));
    }
}
