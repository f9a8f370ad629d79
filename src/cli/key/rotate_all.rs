//! Every tenant's key rotated: with its progress, and in a way that can be broken off and taken up again.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    super::{
        Failure, Output,
        client::{AdminClient, Answer, CallError},
        output::warn,
        progress::Progress,
        terminal::Question,
    },
    Rotate, Why,
};
use crate::domain::Timestamp;

/// Rotations at once: the HSM makes their successors one by one anyhow, and has tokens to sign.
const AT_ONCE: usize = 4;

/// How often a rotation is asked for again where the server is busy or lost, and the pause before each.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// What a shell reports of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What came of the run.
#[derive(Debug, Default)]
struct Counts {
    done: u32,
    planned: u32,
    not_needed: u32,
    /// Why, by tenant.
    failed: BTreeMap<String, String>,
}

/// What came of one tenant's rotation.
enum One {
    Done,
    Planned,
    NotNeeded,
}

pub(super) async fn run(client: &AdminClient, args: &Rotate, output: &Output) -> Result<ExitCode, Failure> {
    let since = match args.since {
        Some(since) => since,
        None => client.now().await?,
    };
    let tenants = tenants(client, args.due).await?;
    args.sure.ask(&what_happens(tenants.len(), args.due), Question::Plain)?;
    let (started, total) = (Instant::now(), tenants.len());
    let (counts, broken_off) = rotate(client, tenants, since, &args.why).await?;
    let resume = resume_command(args, since);
    let result = json!({
        "since": since.to_string(),
        "tenants": total,
        "done": counts.done,
        "planned": counts.planned,
        "not_needed": counts.not_needed,
        "failed": counts.failed.iter().map(|(tenant, why)| json!({ "tenant_id": tenant, "error": why })).collect::<Vec<_>>(),
        "broken_off": broken_off,
        "resume": if broken_off || !counts.failed.is_empty() { Some(&resume) } else { None },
        "seconds": started.elapsed().as_millis() / 1000,
    });
    output.show(&result, |_| render(&counts, total, broken_off, &resume))?;
    Ok(match (broken_off, counts.failed.is_empty()) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// Those that have an active key; or of them those whose rotation is due.
async fn tenants(client: &AdminClient, due: bool) -> Result<Vec<String>, Failure> {
    let keys = client.list(if due { "/signing_keys?state=active&due=true" } else { "/signing_keys?state=active" }).await?;
    let text = |key: &Value, member: &str| key.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut tenants: Vec<_> = keys.iter().map(|key| text(key, "tenant_id")).collect();
    tenants.sort_unstable();
    tenants.dedup();
    Ok(tenants)
}

fn what_happens(tenants: usize, due: bool) -> String {
    let which = if due { "whose rotation is due" } else { "that have an active key" };
    format!(
        "The keys of {tenants} tenants {which} are rotated: each one's standby signs from now on, and its key stays in the JWKS until its last\n\
         token has expired. Where the standby is too young, or there is none, the rotation is planned. Ctrl-C ends the run between two tenants."
    )
}

/// The run; and whether it was broken off.
async fn rotate(client: &AdminClient, tenants: Vec<String>, since: Timestamp, why: &Why) -> Result<(Counts, bool), Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut progress = Progress::new(tenants.len());
    let (mut counts, stop) = (Counts::default(), AtomicBool::new(false));
    let total = tenants.len();
    let mut seen = 0;
    let under_way = tenants.into_iter().map_while(|tenant| (!stop.load(Ordering::Relaxed)).then_some(tenant));
    let mut results = stream::iter(under_way).map(|tenant| one(client, tenant, since, why)).buffer_unordered(AT_ONCE);
    loop {
        let (tenant, result) = tokio::select! {
            _ = interrupt.recv() => { stop.store(true, Ordering::Relaxed); progress.note("finishing what is under way"); continue }
            _ = terminate.recv() => { stop.store(true, Ordering::Relaxed); progress.note("finishing what is under way"); continue }
            next = results.next() => match next { Some(next) => next, None => break },
        };
        seen += 1;
        match result {
            Ok(One::Done) => counts.done += 1,
            Ok(One::Planned) => counts.planned += 1,
            Ok(One::NotNeeded) => counts.not_needed += 1,
            Err(error) => {
                progress.above(|| warn(&format!("tenant {tenant}: {}", error.text)));
                counts.failed.insert(tenant, error.text);
            }
        }
        progress.step();
    }
    progress.end();
    Ok((counts, seen < total))
}

/// One tenant's rotation. Asking again is safe: a key that signs since after `since` stays.
async fn one(client: &AdminClient, tenant: String, since: Timestamp, why: &Why) -> (String, Result<One, CallError>) {
    let path = format!("/tenants/{tenant}/signing_keys/rotate");
    let body = why.with(json!({ "if_active_before": since.to_string() }));
    for _ in 1..TRIES {
        match client.post(&path, &body).await {
            Err(error) if error.is_passing() || error.status.is_none() => tokio::time::sleep(PAUSE).await,
            other => return (tenant, other.and_then(read)),
        }
    }
    let last = client.post(&path, &body).await.and_then(read);
    (tenant, last)
}

fn read(answer: Answer) -> Result<One, CallError> {
    let Answer::Done(body) = answer else { return Err(unreadable()) };
    match body.get("rotation").and_then(Value::as_str) {
        Some("done") => Ok(One::Done),
        Some("planned") => Ok(One::Planned),
        Some("not_needed") => Ok(One::NotNeeded),
        _ => Err(unreadable()),
    }
}

fn unreadable() -> CallError {
    CallError { status: Some(200), text: "the answer is none to a rotation".to_owned() }
}

fn resume_command(args: &Rotate, since: Timestamp) -> String {
    let due = if args.due { " --due" } else { "" };
    format!("passkey-hsm key rotate --all{due} --since {since}")
}

fn render(counts: &Counts, total: usize, broken_off: bool, resume: &str) -> String {
    let Counts { done, planned, not_needed, failed } = counts;
    let summary = format!("{done} rotated, {planned} planned, {not_needed} not needed, {} failed, of {total} tenants.", failed.len());
    match (broken_off, failed.is_empty()) {
        (true, _) => format!("{summary}\nThe run was broken off. This takes it up again:\n\n  {resume}"),
        (false, false) => format!("{summary}\nThis tries the failed ones again:\n\n  {resume}"),
        (false, true) => summary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_broken_off_is_said_with_the_command_that_resumes() {
        let failed = BTreeMap::from([("t".to_owned(), "why".to_owned())]);
        let counts = Counts { done: 3, planned: 1, not_needed: 0, failed };
        let said = render(&counts, 10, true, "passkey-hsm key rotate --all --since X");
        assert!(
            said.starts_with("3 rotated, 1 planned, 0 not needed, 1 failed, of 10 tenants.\n") && said.ends_with("--since X"),
            "{said}"
        );
        assert!(render(&counts, 5, false, "R").contains("tries the failed ones again"));
        assert!(!render(&Counts::default(), 0, false, "R").contains('R'));
    }

    #[test]
    fn an_answer_is_one_of_three() {
        for (word, good) in [("done", true), ("planned", true), ("not_needed", true), ("other", false)] {
            assert_eq!(read(Answer::Done(json!({ "rotation": word }))).is_ok(), good, "{word}");
        }
        assert!(read(Answer::Waits(json!({}))).is_err());
    }
}
