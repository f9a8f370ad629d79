//! The root secret in a running server: opened as soon as a signer process is up, and followed from then on.

use std::time::Duration;

use super::{Failure, hsm::REWRAP_ADVICE};
use crate::services::{Context, RootSecretError, TRUST_REFRESH};

/// The first pause after a try that failed. It doubles up to [`TRUST_REFRESH`], at which an open secret is looked after too.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Opens the secret, and opens it anew whenever it was replaced, for ever. Whoever needs it meanwhile is told that it is not there.
pub(super) async fn follow(context: Context) {
    let (mut pause, mut said) = (FIRST_PAUSE, None);
    loop {
        // Nobody needs to hear that an HSM is not up yet: its supervisor says so itself.
        if !context.root_secret.is_open() && context.signer.wait_ready(TRUST_REFRESH).await.is_err() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(TRUST_REFRESH);
            continue;
        }
        match context.root_secret.follow(&context).await {
            Ok(opened) => {
                if opened {
                    tracing::info!("the root secret is open");
                }
                (pause, said) = (TRUST_REFRESH, None);
            }
            Err(error) => {
                let why = describe(&error);
                // Once for each cause, until it is over.
                if said.as_ref() != Some(&why) {
                    tracing::warn!(error = %why, "the root secret is {}: {why}", if context.root_secret.is_open() { "not followed" } else { "closed" });
                    said = Some(why);
                }
                pause = (pause * 2).min(TRUST_REFRESH);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn describe(error: &RootSecretError) -> String {
    let why = Failure::from_error(error);
    match error {
        RootSecretError::NoEnvelope(_) | RootSecretError::DoesNotOpen(_) => format!("{why}; {REWRAP_ADVICE}"),
        _ => why.to_string(),
    }
}
