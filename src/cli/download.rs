//! Bytes from a file, standard input or a URL, with a bound.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use url::Url;

use super::Failure;

/// The most bytes that are taken. The metadata BLOB has some 10 MB.
const MAX_LEN: u64 = 64 * 1024 * 1024;

/// How long a download may take.
const LIMIT: Duration = Duration::from_mins(2);

/// All of a file, or of standard input for `-`.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(|e| fault(path, &e))?) };
    let mut bytes = Vec::new();
    source.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(|e| fault(path, &e))?;
    within(bytes.len() as u64, path.display()).map(|()| bytes)
}

fn fault(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn within(length: u64, what: impl std::fmt::Display) -> Result<(), Failure> {
    if length > MAX_LEN { Err(Failure::new(format!("{what} is longer than {MAX_LEN} bytes"))) } else { Ok(()) }
}

/// What is at a URL.
pub(super) async fn get(url: &Url) -> Result<Vec<u8>, Failure> {
    let shown = shown(url);
    let failed = |error: reqwest::Error| Failure::new(format!("{shown}: {}", Failure::from_error(&error.without_url())));
    let client = reqwest::Client::builder().timeout(LIMIT).user_agent("passkey-hsm").build().map_err(failed)?;
    let mut response = client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    within(response.content_length().unwrap_or(0), &shown)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        within(bytes.len() as u64, &shown)?;
    }
    Ok(bytes)
}

/// A URL without what may be secret in it: user, password, and the query, where some services want a key.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // What has no host has no user either.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    shown.set_query(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_may_be_secret_in_a_url_is_not_shown() {
        for text in ["http://ann:secret@127.0.0.1:1/blob?key=secret", "ftp://ann:secret@127.0.0.1:1/blob?key=secret"] {
            let said = get(&text.parse().unwrap()).await.unwrap_err().to_string();
            assert!(said.contains("://127.0.0.1:1/blob: ") && !said.contains("secret") && !said.contains("ann"), "{said}");
        }
        assert_eq!(shown(&"file:///etc/x".parse().unwrap()), "file:///etc/x");
    }
}
