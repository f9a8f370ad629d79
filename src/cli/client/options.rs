//! How commands find a server elsewhere, and show who they are.

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use url::{Host, Url};
use zeroize::Zeroizing;

use super::{super::Failure, Remote};
use crate::{config::ADMIN_TOKEN_VARIABLE, domain::AdminToken};

/// The most bytes a token file may have.
const MAX_TOKEN_FILE: u64 = 1024;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ClientOptions {
    /// Command the server whose admin listener is at this URL, in the place of the one on this host
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    server: Option<Url>,
    /// A PEM file with the roots that its certificate leads to; by default the system's
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    server_ca: Option<PathBuf>,
    /// A PEM file with the client certificate to show it
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    client_certificate: Option<PathBuf>,
    /// A PEM file (PKCS#8) with the certificate's private key, for nobody else to read
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    client_key: Option<PathBuf>,
    /// A file with an admin token, for nobody else to read; or the token is in PASSKEY_HSM_ADMIN_TOKEN
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    admin_token_file: Option<PathBuf>,
}

impl ClientOptions {
    /// Whether a server elsewhere is meant.
    pub(super) fn is_remote(&self) -> bool {
        self.server.is_some() || self.server_ca.is_some() || self.client_certificate.is_some() || self.client_key.is_some()
    }

    /// The way to that server.
    pub(super) fn remote(&self) -> Result<Remote, Failure> {
        let url =
            self.server.as_ref().ok_or_else(|| Failure::usage("--server-ca, --client-certificate and --client-key go with --server"))?;
        let plain = match url.scheme() {
            "https" => false,
            "http" if is_loopback(url) => true,
            _ => return Err(Failure::usage("--server: an admin token goes over https alone, or over http to this very host")),
        };
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::usage("--server: say no user, query or fragment"));
        }
        let roots = self.server_ca.as_deref().map(read).transpose()?;
        let identity = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read_private(key)?)),
            (None, None) => None,
            _ => return Err(Failure::usage("--client-certificate and --client-key go together")),
        };
        Remote::url(url, plain, roots.as_deref(), identity.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice())))
    }

    /// The token to show, if there is one.
    pub(in crate::cli) fn admin_token(&self) -> Result<Option<AdminToken>, Failure> {
        if let Some(file) = &self.admin_token_file {
            let bytes = read_private(file)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| Failure::usage(format!("{}: no text", file.display())))?;
            return text.parse().map(Some).map_err(|e| Failure::usage(format!("{}: {e}", file.display())));
        }
        match env::var(ADMIN_TOKEN_VARIABLE).map(Zeroizing::new) {
            Ok(text) => text.parse().map(Some).map_err(|e| Failure::usage(format!("{ADMIN_TOKEN_VARIABLE}: {e}"))),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{ADMIN_TOKEN_VARIABLE}: no text"))),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|e| unreadable(file, &e))
}

/// A secret, which nobody else may read.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |e| unreadable(path, &e);
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // A pipe would be waited for, for ever.
    if !metadata.is_file() {
        return Err(Failure::usage(format!("{}: it is no file", path.display())));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "others can read {} (mode {mode:03o}): chmod 600 it, and replace what is in it",
            path.display()
        )));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    file.by_ref().take(16 * MAX_TOKEN_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: ClientOptions,
    }

    fn options(args: &[&str]) -> ClientOptions {
        Cli::parse_from(["passkey-hsm"].iter().chain(args)).options
    }

    #[test]
    fn a_token_goes_over_https_or_to_this_host() {
        for good in ["https://hsm.example.org:8001", "http://localhost:8001/", "http://127.0.0.1:8001", "http://[::1]:8001"] {
            assert!(options(&["--server", good]).remote().is_ok(), "{good}");
        }
        for bad in ["http://hsm.example.org", "http://10.0.0.1:8001", "ftp://localhost", "https://a:b@localhost/", "https://localhost/?a"] {
            let said = options(&["--server", bad]).remote().map(|_| ()).unwrap_err();
            assert!(said.to_string().starts_with("--server: "), "{bad}: {said}");
        }
        assert!(options(&["--server-ca", "/nowhere"]).remote().map(|_| ()).unwrap_err().to_string().contains("go with --server"));
        let one = options(&["--server", "https://localhost", "--client-key", "/nowhere"]).remote().map(|_| ()).unwrap_err();
        assert!(one.to_string().contains("go together"), "{one}");
    }

    #[test]
    fn a_token_file_is_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = AdminToken::random(&crate::domain::SystemRng);
        fs::write(&path, format!("{}\n", token.expose().as_str())).unwrap();
        let told = options(&["--admin-token-file", path.to_str().unwrap()]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(told.admin_token().unwrap_err().to_string().contains("mode 640"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(told.admin_token().unwrap().unwrap().hash(), token.hash());
        fs::write(&path, "secret mistyped").unwrap();
        let said = told.admin_token().unwrap_err().to_string();
        assert!(said.contains("an admin token is") && !said.contains("mistyped"), "{said}");
        assert!(options(&["--admin-token-file", "/dev/zero"]).admin_token().unwrap_err().to_string().contains("no file"));
    }
}
