//! FIDO metadata on a running server: BLOBs that are taken and refused, and what they change.

mod registrations;
mod update;

use std::{fs, path::PathBuf, process::Output, time::Duration};

use serde_json::Value;

use crate::support::{
    metadata::{Publisher, SIGNER},
    server::{Server, text},
};

/// How long a server may judge by metadata that was replaced: five seconds by its documentation, and what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A metadata service that a server's configuration trusts.
struct Trusted {
    publisher: Publisher,
    root: String,
}

impl Trusted {
    fn by(server: &Server) -> Self {
        let publisher = Publisher::new();
        let root = written(server, "mds-root.pem", &publisher.authorities.root.to_pem().unwrap());
        Self { publisher, root: root.to_str().unwrap().to_owned() }
    }

    /// A command with this service's root and name in its configuration.
    fn cli(&self, server: &Server, args: &[&str]) -> Output {
        self.fed(server, b"", args)
    }

    fn fed(&self, server: &Server, input: &[u8], args: &[&str]) -> Output {
        let env = [("PASSKEY_HSM_METADATA__ROOT", self.root.as_str()), ("PASSKEY_HSM_METADATA__SIGNER", SIGNER)];
        server.cli_fed(input, &env, args)
    }

    /// `mds update` of these bytes, which succeeds. Returns what it says of them.
    fn update(&self, server: &Server, blob: &[u8], options: &[&str]) -> Value {
        let output = self.fed(server, blob, &[&["--json", "mds", "update", "--file", "-"], options].concat());
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `mds update` of these bytes, which fails with this exit code. Returns why.
    fn refusal(&self, server: &Server, code: i32, blob: &[u8], options: &[&str]) -> String {
        said(&self.fed(server, blob, &[&["--json", "mds", "update", "--file", "-"], options].concat()), code)
    }
}

/// What a command says when it fails with this exit code: the same on both outputs.
fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(output)));
    let error = error["error"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains(error), "{}", text(output));
    error.to_owned()
}

/// Writes bytes into a file of the server's folder.
fn written(server: &Server, name: &str, bytes: &[u8]) -> PathBuf {
    let file = server.folder.path().join(name);
    fs::write(&file, bytes).unwrap();
    file
}

/// Waits until a server judges by the metadata of this number. Returns the seconds until the next is due.
async fn followed(server: &Server, no: u32) -> i64 {
    let started = std::time::Instant::now();
    loop {
        let metrics = server.admin_api().get("/metrics").await.body;
        let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<i64>().ok());
        if value("mds_number ") == Some(i64::from(no)) {
            return value("mds_next_update_seconds ").unwrap();
        }
        assert!(started.elapsed() < PATIENCE, "no metadata no. {no} after {PATIENCE:?}:\n{metrics}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
