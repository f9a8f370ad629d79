//! `passkey-hsm migrate`

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, Setup, setup::block_on};

/// Applies what is missing, and says what that was.
pub(super) fn run(setup: &Setup, output: &Output) -> Result<ExitCode, Failure> {
    block_on(async {
        let store = setup.open_store().await?;
        let applied = store.migrate().await?;
        store.close().await;
        output.show(&json!({ "applied": applied }), |_| match applied.as_slice() {
            [] => "The database is up to date.".to_owned(),
            some => format!("Applied {} migration(s): {}", some.len(), some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        })?;
        Ok(ExitCode::SUCCESS)
    })
}
