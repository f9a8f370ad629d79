//! TLS of the admin listener (RFC 8446, and RFC 5246 for clients without it), and the certificates of its clients.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    pin::Pin,
};

use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    ssl::{AlpnError, Ssl, SslAcceptor, SslAcceptorBuilder, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode, select_next_proto},
    stack::Stack,
    x509::{X509, X509VerifyResult},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;
use zeroize::Zeroizing;

use crate::domain::AdminHash;

/// The files of a listener that speaks TLS, all in PEM.
#[derive(Debug, Clone, Copy)]
pub struct TlsFiles<'a> {
    /// The listener's certificate, then those between it and a root.
    pub certificate: &'a Path,
    /// Its private key, which nobody but its owner can read.
    pub key: &'a Path,
    /// The roots that clients' certificates may lead to; clients are asked for none without.
    pub client_roots: Option<&'a Path>,
}

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there, or not for us.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// It is not what it should be.
    #[error("{0} holds no {1} in PEM")]
    Content(PathBuf, &'static str),
    /// Others can read the private key.
    #[error("others can read the private key {0} (mode {1:03o}): chmod 600 it, and think about a new key")]
    Exposed(PathBuf, u32),
    /// Of another certificate.
    #[error("the private key {0} does not belong to the certificate {1}")]
    Mismatch(PathBuf, PathBuf),
    /// OpenSSL refuses, for the reason given: a key that is too weak, most often.
    #[error("{0} cannot be used for TLS: {1}")]
    Refused(PathBuf, #[source] ErrorStack),
}

/// The most bytes read of a file: certificates of many roots.
const MAX_FILE: u64 = 4 << 20;

/// What turns a TCP connection into one of TLS. Cheap to clone.
#[derive(Clone)]
pub struct Tls(SslAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file is missing, is not what it should be, or does not go with the others.
    pub fn load(files: &TlsFiles<'_>) -> Result<Self, TlsError> {
        let chain = certificates(files.certificate)?;
        let key = private_key(files.key)?;
        if chain.first().and_then(|leaf| leaf.public_key().ok()).is_none_or(|public| !public.public_eq(&key)) {
            return Err(TlsError::Mismatch(files.key.to_owned(), files.certificate.to_owned()));
        }
        let roots = files.client_roots.map(|path| Ok((path, certificates(path)?))).transpose()?;
        let refused = |error| TlsError::Refused(files.certificate.to_owned(), error);
        let mut builder = builder(chain, &key).map_err(refused)?;
        if let Some((path, roots)) = roots {
            ask_for_certificates(&mut builder, roots).map_err(|error| TlsError::Refused(path.to_owned(), error))?;
        }
        Ok(Self(builder.build()))
    }

    /// The handshake, and what is registered of the client's certificate, if it showed one. A certificate that leads to none of the roots ends
    /// the handshake.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(SslStream<S>, Option<AdminHash>), openssl::ssl::Error> {
        let mut stream = SslStream::new(Ssl::new(self.0.context())?, stream)?;
        Pin::new(&mut stream).accept().await?;
        let ssl = stream.ssl();
        let certificate = ssl.peer_certificate().filter(|_| ssl.verify_result() == X509VerifyResult::OK);
        let certificate = certificate.map(|certificate| Ok::<_, ErrorStack>(AdminHash::of_certificate(&certificate.to_der()?)));
        let certificate = certificate.transpose()?;
        Ok((stream, certificate))
    }
}

fn builder(chain: Vec<X509>, key: &PKey<Private>) -> Result<SslAcceptorBuilder, ErrorStack> {
    // TLS 1.2 with forward secrecy and authenticated encryption, and 1.3.
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    for (n, certificate) in chain.into_iter().enumerate() {
        if n == 0 { builder.set_certificate(&certificate)? } else { builder.add_extra_chain_cert(certificate)? }
    }
    builder.set_private_key(key)?;
    builder.set_alpn_select_callback(|_, offered| select_next_proto(b"\x08http/1.1", offered).ok_or(AlpnError::NOACK));
    // Each connection is judged anew: a session taken up again would bring the certificate of a day when it was good.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
    builder.set_num_tickets(0)?;
    Ok(builder)
}

/// A client without a certificate is let in: health needs none, and what does says so in its answer.
fn ask_for_certificates(builder: &mut SslAcceptorBuilder, roots: Vec<X509>) -> Result<(), ErrorStack> {
    let mut names = Stack::new()?;
    for root in roots {
        names.push(root.subject_name().to_owned()?)?;
        builder.cert_store_mut().add_cert(root)?;
    }
    builder.set_client_ca_list(names);
    builder.set_session_id_context(b"passkey-hsm admin")?;
    builder.set_verify(SslVerifyMode::PEER);
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<X509>, TlsError> {
    let content = || TlsError::Content(path.to_owned(), "certificate");
    let chain = X509::stack_from_pem(&read(path)?).map_err(|_| content())?;
    if chain.is_empty() { Err(content()) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PKey<Private>, TlsError> {
    let mode = fs::metadata(path).map_err(|error| TlsError::Read(path.to_owned(), error))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TlsError::Exposed(path.to_owned(), mode));
    }
    // Without a passphrase: OpenSSL would ask for it at a terminal.
    let key = PKey::private_key_from_pem_callback(&read(path)?, |_| Err(ErrorStack::get()));
    key.map_err(|_| TlsError::Content(path.to_owned(), "private key without a passphrase"))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |error| TlsError::Read(path.to_owned(), error);
    // A pipe would be waited for, for ever.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    fs::File::open(path).map_err(failed)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use openssl::{
        asn1::Asn1Time,
        ec::{EcGroup, EcKey},
        hash::MessageDigest,
        nid::Nid,
        symm::Cipher,
    };

    use super::*;

    fn key() -> PKey<Private> {
        PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap()).unwrap()
    }

    fn certificate(key: &PKey<Private>) -> Vec<u8> {
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(key).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(4_102_444_800).unwrap()).unwrap();
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build().to_pem().unwrap()
    }

    /// What loading these two says, and with these roots.
    fn loaded(certificate: &[u8], key: &[u8], mode: u32, roots: Option<&[u8]>) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let (chain, private, trusted) = (folder.path().join("c"), folder.path().join("k"), folder.path().join("r"));
        fs::write(&chain, certificate).unwrap();
        fs::write(&private, key).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&trusted, roots.unwrap_or_default()).unwrap();
        let files = TlsFiles { certificate: &chain, key: &private, client_roots: roots.map(|_| trusted.as_path()) };
        let done = Tls::load(&files).map(drop);
        done.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let (own, other) = (key(), key());
        let (chain, pem) = (certificate(&own), own.private_key_to_pem_pkcs8().unwrap());
        assert_eq!(loaded(&chain, &pem, 0o600, None), Ok(()));
        assert_eq!(loaded(&chain, &pem, 0o600, Some(&chain)), Ok(()));
        let exposed = "others can read the private key k (mode 640): chmod 600 it, and think about a new key";
        assert_eq!(loaded(&chain, &pem, 0o640, None).unwrap_err(), exposed);
        assert_eq!(loaded(b"", &pem, 0o600, None).unwrap_err(), "c holds no certificate in PEM");
        assert_eq!(loaded(&chain, &pem, 0o600, Some(b"")).unwrap_err(), "r holds no certificate in PEM");
        let without = "k holds no private key without a passphrase in PEM";
        assert_eq!(loaded(&chain, b"-----BEGIN PRIVATE KEY-----", 0o600, None).unwrap_err(), without);
        let locked = own.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret").unwrap();
        assert_eq!(loaded(&chain, &locked, 0o600, None).unwrap_err(), without);
        let foreign = other.private_key_to_pem_pkcs8().unwrap();
        assert_eq!(loaded(&chain, &foreign, 0o600, None).unwrap_err(), "the private key k does not belong to the certificate c");
        let nowhere = Path::new("/nonexistent/c");
        let missing = Tls::load(&TlsFiles { certificate: nowhere, key: nowhere, client_roots: None }).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nonexistent/c: No such file"), "{missing}");
    }
}
