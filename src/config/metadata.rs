//! `[metadata]`: where FIDO metadata comes from, and whose signature counts.

use std::path::PathBuf;

use url::Url;

use super::reader::Reader;

/// `[metadata]`
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Where `mds update` fetches the BLOB.
    pub url: Url,
    /// PEM file with the roots that its signature may lead to. `None`: FIDO's pinned root, out of the system's own certificates.
    pub root: Option<PathBuf>,
    /// The host name that the signer's certificate must be for. `None` takes any that the root certifies.
    pub signer: Option<String>,
}

/// FIDO's address for its metadata, and the name in its signer's certificate.
const FIDO_URL: &str = "https://mds3.fidoalliance.org/";
const FIDO_SIGNER: &str = "mds.fidoalliance.org";

impl Metadata {
    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        let expected = "a URL such as \"https://mds3.fidoalliance.org/\"";
        let url = r.text(("metadata", "url"), expected, |text| match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
            // It may have a password in it.
            _ if text.contains('@') => Err(format!("must be {expected}")),
            _ => Err(format!("must be {expected}; found {text:?}")),
        });
        let signer = r.text(("metadata", "signer"), "a host name, or \"*\"", |text| Ok::<_, &str>(text.to_owned()));
        Some(Self {
            url: match url {
                Some(url) => url,
                None => Url::parse(FIDO_URL).ok()?,
            },
            root: r.path(("metadata", "root")),
            signer: Some(signer.unwrap_or_else(|| FIDO_SIGNER.to_owned())).filter(|name| name != "*"),
        })
    }
}
