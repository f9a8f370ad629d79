//! The PIN by hand: given to the running server, and taken from it.

use std::process::ExitCode;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    super::{
        Failure, Output,
        client::{AdminClient, Need, Reach, with_client},
        setup::token_name,
        terminal::{Question, Sure, ask_pin},
    },
    Activate, Why, finish,
};
use crate::{
    domain::{ApprovalId, Pin},
    hsm::PinSource,
};

/// What is sent. Written straight into a buffer that is wiped.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

pub(super) fn activate(reach: &Reach<'_>, args: &Activate, output: &Output) -> Result<ExitCode, Failure> {
    with_client(reach, Need::Records, async |client| {
        only_a_server(client)?;
        let pin = pin(client, args)?;
        let body = Body { pin: pin.as_ref().map(Pin::expose), approval: args.approval, reason: args.why.reason.as_deref() };
        // Room for the longest PIN with every character escaped: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, &body)?;
        finish(client.post_bytes("/hsm/activate", bytes).await?, "The HSM is in service.", output)
    })
}

pub(super) fn deactivate(reach: &Reach<'_>, why: &Why, sure: Sure, output: &Output) -> Result<ExitCode, Failure> {
    with_client(reach, Need::Records, async |client| {
        if !client.is_served() {
            return Err(no_server());
        }
        let what = "The HSM is taken out of service on this server, and its PIN is forgotten. Until `passkey-hsm hsm activate` its users can \
                    neither register nor sign in (503).";
        sure.ask(what, Question::Plain)?;
        let answer = client.post("/hsm/deactivate", &why.with(serde_json::json!({}))).await?;
        finish(answer, "The HSM is out of service.", output)
    })
}

/// The PIN goes over the Unix socket alone.
fn only_a_server(client: &AdminClient) -> Result<(), Failure> {
    match (client.is_served(), client.setup()) {
        (false, _) => Err(no_server()),
        (true, None) => {
            Err(Failure::usage("the PIN goes over the socket of the server on this host alone: run this there, without --server"))
        }
        (true, Some(_)) => Ok(()),
    }
}

fn no_server() -> Failure {
    Failure::new("no server runs on this host: start it first, for it is the server that the PIN is for")
}

/// None where the server has it from its configuration, or where who asks has to be given leave first.
fn pin(client: &AdminClient, args: &Activate) -> Result<Option<Pin>, Failure> {
    if let Some(file) = &args.pin_file {
        return PinSource::File(file.clone()).read().map(Some).map_err(|e| Failure::usage(e.to_string()));
    }
    let Some(config) = client.setup().map(|setup| &setup.config) else { return Ok(None) };
    if config.admin.dual_control && args.approval.is_none() {
        return Ok(None);
    }
    if config.hsm.pin_operator { ask_pin(&token_name(&config.hsm)).map(Some) } else { Ok(None) }
}
