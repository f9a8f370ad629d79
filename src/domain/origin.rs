//! Origins that a tenant accepts ceremonies from.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

/// A text that is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an origin: write scheme://host[:port], android:apk-key-hash:... or ios:bundle-id:...")]
pub struct OriginError(String);

/// An origin as configured, with the form that a client's origin is compared to.
///
/// A web origin is scheme, host and port (RFC 6454 section 6.2): a trailing `/` and a default port are dropped, the host is written in
/// its ASCII form. Origins of native applications (`android:apk-key-hash:`, `ios:bundle-id:`) are compared as they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    configured: String,
    canonical: String,
}

impl Origin {
    /// The origin as it was configured.
    pub fn as_str(&self) -> &str {
        &self.configured
    }

    /// Whether `client`, the `origin` member of client data, is this origin.
    ///
    /// Scheme and host are case-insensitive; a path, a query, user information or a trailing `/` in the client's text never matches.
    pub fn matches(&self, client: &str) -> bool {
        if self.is_web() { self.canonical.eq_ignore_ascii_case(client) } else { self.canonical == client }
    }

    /// The origin as browsers write it, if it is one of the web: scheme `https` or `http`.
    pub fn web(&self) -> Option<&str> {
        ["https://", "http://"].iter().any(|scheme| self.canonical.starts_with(scheme)).then_some(self.canonical.as_str())
    }

    /// Whether this is a web origin, not a native application's.
    pub fn is_web(&self) -> bool {
        !is_native(&self.configured)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(s: &str) -> Result<Self, OriginError> {
        let refuse = || OriginError(s.to_owned());
        if is_native(s) {
            return Ok(Self { configured: s.to_owned(), canonical: s.to_owned() });
        }
        let url = Url::parse(s).map_err(|_| refuse())?;
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(refuse)?;
        // A native one with its scheme in capitals would be compared as a web origin.
        if !bare || !matches!(url.path(), "" | "/") || is_native(url.as_str()) {
            return Err(refuse());
        }
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        Ok(Self { configured: s.to_owned(), canonical: format!("{}://{host}{port}", url.scheme()) })
    }
}

fn is_native(text: &str) -> bool {
    text.starts_with("android:") || text.starts_with("ios:")
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(s: String) -> Result<Self, OriginError> {
        s.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.configured
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.configured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_scheme_host_and_port_only() {
        for (configured, client, matches) in [
            ("https://example.org", "https://example.org", true),
            ("https://example.org/", "https://example.org", true),
            ("https://example.org:443", "https://example.org", true),
            ("https://Example.org", "HTTPS://EXAMPLE.ORG", true),
            ("https://bücher.example", "https://xn--bcher-kva.example", true),
            ("https://example.org:8443", "https://example.org:8443", true),
            ("https://example.org", "https://example.org/", false),
            ("https://example.org", "https://example.org/path", false),
            ("https://example.org", "https://user@example.org", false),
            ("https://example.org", "http://example.org", false),
            ("https://example.org", "https://example.org:8443", false),
            ("https://example.org", "https://example.org.evil.test", false),
            ("android:apk-key-hash:AbC", "android:apk-key-hash:AbC", true),
            ("android:apk-key-hash:AbC", "android:apk-key-hash:abc", false),
            ("ios:bundle-id:org.example", "ios:bundle-id:org.example", true),
            ("ios:bundle-id:a://b", "ios:bundle-id:A://b", false),
        ] {
            assert_eq!(configured.parse::<Origin>().unwrap().matches(client), matches, "{configured} {client}");
        }
    }

    #[test]
    fn the_webs_are_told_as_browsers_write_them() {
        for (configured, web) in [
            ("https://Example.org:443/", Some("https://example.org")),
            ("http://localhost:8000", Some("http://localhost:8000")),
            ("android:apk-key-hash:AbC", None),
            ("ios:bundle-id:org.example", None),
            ("chrome-extension://abcdef", None),
        ] {
            assert_eq!(configured.parse::<Origin>().unwrap().web(), web, "{configured}");
        }
    }

    #[test]
    fn refuses_what_is_no_origin() {
        for bad in [
            "",
            "example.org",
            "https://",
            "https://example.org/app",
            "https://example.org?x",
            "https://a@example.org",
            "mailto:a@b",
            "Android://b",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
