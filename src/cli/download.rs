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
    let failed = |error: reqwest::Error| Failure::from_error(&error);
    let client = reqwest::Client::builder().timeout(LIMIT).user_agent("passkey-hsm").build().map_err(failed)?;
    let mut response = client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    within(response.content_length().unwrap_or(0), url)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        within(bytes.len() as u64, url)?;
    }
    Ok(bytes)
}
