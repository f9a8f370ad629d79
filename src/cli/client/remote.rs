//! A server that runs: by its Unix socket, or by its admin listener.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use bytes::Bytes;
use hyper::header;
use reqwest::{Certificate, Client, ClientBuilder, Identity, redirect};
use tokio::net::UnixStream;
use url::Url;
use zeroize::Zeroizing;

use super::{
    super::{Failure, Setup},
    Call, CallError, Reply,
};
use crate::domain::AdminToken;

/// How long an answer may take: a 4096-bit RSA key on a small HSM takes a minute.
const LIMIT: Duration = Duration::from_mins(3);

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The most bytes of an answer. An inventory of thousands of tenants comes in pages.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A way to a server.
pub(super) struct Remote {
    client: Client,
    /// Without the slash at its end.
    base: String,
    /// The configuration of the server on this host.
    setup: Option<Box<Setup>>,
}

/// Whether somebody answers at the socket.
///
/// # Errors
/// When it is not for us, or is somebody else's: what is sent may be a secret.
pub(super) async fn answers(socket: &Path) -> Result<bool, Failure> {
    let refused = |why: &str| Failure::new(format!("{}: {why}", socket.display()));
    match UnixStream::connect(socket).await {
        Ok(_) => {
            let owner = fs::metadata(socket)?.uid();
            let own = rustix::process::geteuid().as_raw();
            if own != 0 && owner != 0 && owner != own {
                return Err(refused(&format!("the socket belongs to user {owner}, who is not this one")));
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(refused("the server's socket is not for this user: run this as the server's own user"))
        }
        // None, or one that a dead server left behind.
        Err(_) => Ok(false),
    }
}

impl Remote {
    /// The server on this host.
    pub(super) fn socket(setup: Box<Setup>) -> Result<Self, Failure> {
        let builder = builder().no_proxy().unix_socket(setup.config.admin.socket.clone());
        let client = builder.build().map_err(|e| Failure::from_error(&e))?;
        Ok(Self { client, base: "http://localhost".to_owned(), setup: Some(setup) })
    }

    /// A server elsewhere. `roots` and `identity` (certificate and key) are PEM.
    pub(super) fn url(url: &Url, plain: bool, roots: Option<&[u8]>, identity: Option<(&[u8], &[u8])>) -> Result<Self, Failure> {
        let unusable = |what: &str, e: &reqwest::Error| Failure::usage(format!("{what}: {}", Failure::from_error(e)));
        let mut builder = builder();
        if plain {
            builder = builder.no_proxy();
        }
        if let Some(pem) = roots {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(|e| unusable("--server-ca", &e))?);
        }
        if let Some((certificate, key)) = identity {
            builder = builder.identity(Identity::from_pkcs8_pem(certificate, key).map_err(|e| unusable("--client-certificate", &e))?);
        }
        let client = builder.build().map_err(|e| unusable("--server", &e))?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned(), setup: None })
    }

    /// The server's configuration, where it is the one on this host.
    pub(super) fn setup(&self) -> Option<&Setup> {
        self.setup.as_deref()
    }

    pub(super) async fn send(&self, call: Call, token: Option<&AdminToken>) -> Result<Reply, CallError> {
        let lost = |e: reqwest::Error| {
            let server = if self.setup.is_some() { "the server on this host" } else { &self.base };
            let unknown = if e.is_connect() { "" } else { "; whether it was done is unknown" };
            CallError::unanswered(format!("{server} did not answer: {}{unknown}", Failure::from_error(&e.without_url())))
        };
        let mut request = self.client.request(call.method, format!("{}{}", self.base, call.path));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, bearer(token)?);
        }
        if let Some(body) = call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(Bytes::from_owner(body));
        }
        let mut response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(CallError::unanswered(format!("the answer is longer than {MAX_ANSWER} bytes")));
            }
        }
        Ok(Reply { status, headers, body })
    }
}

/// A token goes to no other place than the one that was named.
fn builder() -> ClientBuilder {
    Client::builder().timeout(LIMIT).connect_timeout(CONNECT_LIMIT).redirect(redirect::Policy::none()).user_agent("passkey-hsm")
}

/// The header that shows the token, marked as a secret.
pub(super) fn bearer(token: &AdminToken) -> Result<header::HeaderValue, CallError> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose().as_str()));
    let mut value = header::HeaderValue::from_str(&text).map_err(|e| CallError::unanswered(e.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}
