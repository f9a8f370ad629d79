//! One change of one key: what will happen, whether that is meant, the request, and what came of it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    super::{
        Failure, Output, approval,
        client::{AdminClient, Answer},
        output::line,
        terminal::{Question, Sure},
    },
    Adopt, Command, Generate, Key, One, Rotate, path, render,
};
use crate::domain::{KeyId, TenantId};

pub(super) async fn run(client: &AdminClient, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    let answer = match command {
        Command::Generate(args) => generate(client, args).await?,
        Command::Publish(one) => act(client, &one, "publish", json!({})).await?,
        Command::Activate { one, accept_exposure, sure } => activate(client, &one, accept_exposure, sure).await?,
        Command::Rotate(args) => rotate(client, &args).await?,
        Command::Rollback { tenant, why } => client.post(&format!("/tenants/{tenant}/signing_keys/rollback"), &why.with(json!({}))).await?,
        Command::Suspend { one, replace, sure } => suspend(client, &one, replace, sure).await?,
        Command::Resume(one) => act(client, &one, "resume", json!({})).await?,
        Command::Retire { one, sure } => retire(client, &one, sure).await?,
        Command::Compromise { one, accept_exposure, sure } => compromise(client, &one, accept_exposure, sure).await?,
        Command::Destroy { one, sure } => destroy(client, &one, sure).await?,
        Command::Adopt(args) => adopt(client, args).await?,
        Command::List { .. } | Command::Show { .. } | Command::Evidence(_) | Command::Inventory { .. } => {
            return Err(Failure::usage("this changes no key"));
        }
    };
    match answer {
        Answer::Done(changed) => {
            output.show(&changed, render_outcome)?;
            if !client.is_served() && !output.is_json() {
                line("\nNo server runs: what becomes due is done when one does.")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Answer::Waits(approval) => approval::waits(&approval, output),
    }
}

async fn act(client: &AdminClient, one: &One, act: &str, body: Value) -> Result<Answer, Failure> {
    Ok(client.post(&path(one.kid, act), &one.why.with(body)).await?)
}

async fn generate(client: &AdminClient, args: Generate) -> Result<Answer, Failure> {
    if let Some(kid) = args.resume {
        return Ok(client.post(&path(kid, "finish"), &args.why.with(json!({}))).await?);
    }
    let tenant = args.tenant.ok_or_else(|| Failure::usage("say for which tenant"))?;
    let mut body = json!({ "plan": plan(args.publish, args.activate) });
    if let Some(members) = body.as_object_mut() {
        members.extend(args.algorithm.map(|algorithm| ("algorithm".to_owned(), json!(algorithm))));
        members.extend(args.rsa_bits.map(|bits| ("rsa_bits".to_owned(), json!(bits))));
    }
    Ok(client.post(&format!("/tenants/{tenant}/signing_keys"), &args.why.with(body)).await?)
}

const fn plan(publish: bool, activate: bool) -> &'static str {
    match (publish, activate) {
        (_, true) => "activate",
        (true, false) => "publish",
        (false, false) => "none",
    }
}

async fn adopt(client: &AdminClient, args: Adopt) -> Result<Answer, Failure> {
    let mut body = json!({ "algorithm": args.algorithm, "plan": plan(args.publish, args.activate) });
    if let Some(members) = body.as_object_mut() {
        members.extend(args.cka_id.map(|id| ("cka_id".to_owned(), json!(id))));
        members.extend(args.label.map(|label| ("label".to_owned(), json!(label))));
    }
    Ok(client.post(&format!("/tenants/{}/signing_keys/adopt", args.tenant), &args.why.with(body)).await?)
}

async fn activate(client: &AdminClient, one: &One, accept_exposure: bool, sure: Sure) -> Result<Answer, Failure> {
    if accept_exposure {
        let key = Subject::find(client, one.kid).await?;
        sure.ask(&format!("{key} signs from now on, whether or not verifiers have it.\n{}", key.exposure()), Question::Plain)?;
        return act(client, one, "activate", json!({ "accept_exposure": true })).await;
    }
    act(client, one, "activate", json!({})).await
}

async fn rotate(client: &AdminClient, args: &Rotate) -> Result<Answer, Failure> {
    let tenant = args.tenant.ok_or_else(|| Failure::usage("say which tenant's key"))?;
    if args.emergency {
        let what = match Subject::active(client, tenant).await? {
            Some(key) if args.accept_exposure => {
                format!(
                    "{key} signs no more from now on, and the tenant's standby signs, whether or not verifiers have it.\n{}",
                    key.exposure()
                )
            }
            Some(key) => {
                format!("{key} signs no more from now on, and the tenant's standby does. Clients see another kid, which is in their JWKS.")
            }
            None => format!("Tenant {tenant} has no active key. Its standby signs from now on."),
        };
        args.sure.ask(&what, Question::Plain)?;
    }
    let body = json!({ "emergency": args.emergency, "accept_exposure": args.accept_exposure });
    Ok(client.post(&format!("/tenants/{tenant}/signing_keys/rotate"), &args.why.with(body)).await?)
}

async fn suspend(client: &AdminClient, one: &One, replace: bool, sure: Sure) -> Result<Answer, Failure> {
    let key = Subject::find(client, one.kid).await?;
    let then = if replace {
        "The tenant's standby signs in its place."
    } else {
        "Nothing signs in its place: the tenant's users cannot register or sign in until a key is active (503)."
    };
    sure.ask(&format!("{key} signs no more for now. {then}\nTokens that it signed are good until they expire."), Question::Plain)?;
    act(client, one, "suspend", json!({ "replace": replace })).await
}

async fn retire(client: &AdminClient, one: &One, sure: Sure) -> Result<Answer, Failure> {
    let key = Subject::find(client, one.kid).await?;
    let what = format!(
        "{key} will never sign again. It stays in the JWKS as long as a token of its can be good, and its private half is destroyed."
    );
    sure.ask(&what, Question::Plain)?;
    act(client, one, "retire", json!({})).await
}

async fn compromise(client: &AdminClient, one: &One, accept_exposure: bool, sure: Sure) -> Result<Answer, Failure> {
    let key = Subject::find(client, one.kid).await?;
    let mut what =
        format!("{key} is distrusted, for good. It leaves the JWKS at once, and its private half is destroyed.\n{}", key.distrust());
    if key.key.state == "active" {
        what.push_str(
            "\nThe tenant's standby signs in its place; where none may, its users cannot register or sign in until a key is active (503).",
        );
    }
    sure.ask(&what, Question::Grave("kid", &key.key.kid))?;
    act(client, one, "compromise", json!({ "accept_exposure": accept_exposure })).await
}

async fn destroy(client: &AdminClient, one: &One, sure: Sure) -> Result<Answer, Failure> {
    let key = Subject::find(client, one.kid).await?;
    let mut what =
        format!("{key}: its private half is destroyed on token {}, for good.", key.key.token_serial.as_deref().unwrap_or("(none)"));
    if key.key.in_jwks {
        what.push_str(" It leaves the JWKS at once: tokens that it signed are refused as soon as verifiers fetch it anew.");
    }
    sure.ask(&what, Question::Grave("kid", &key.key.kid))?;
    act(client, one, "destroy", json!({})).await
}

/// A key, and what is to be known before it is changed.
struct Subject {
    key: Key,
    tenant: String,
    /// Seconds.
    max_age: Option<u64>,
}

impl Subject {
    async fn find(client: &AdminClient, kid: KeyId) -> Result<Self, Failure> {
        let key = Key::read(&client.get(&path(kid, "")).await?);
        Ok(Self::of(client, key).await)
    }

    async fn active(client: &AdminClient, tenant: TenantId) -> Result<Option<Self>, Failure> {
        let keys = client.list(&format!("/tenants/{tenant}/signing_keys")).await?;
        let active = keys.iter().map(Key::read).find(|key| key.state == "active");
        Ok(match active {
            Some(key) => Some(Self::of(client, key).await),
            None => None,
        })
    }

    /// The tenant is for the text alone: whoever may not see it is asked without.
    async fn of(client: &AdminClient, key: Key) -> Self {
        let tenant = client.get(&format!("/tenants/{}", key.tenant_id)).await.unwrap_or_default();
        let settings = client.get(&format!("/tenants/{}/settings", key.tenant_id)).await.unwrap_or_default();
        let name = tenant.get("display_name").and_then(Value::as_str).unwrap_or_default();
        let max_age = settings.pointer("/keys/jwks_max_age_seconds").and_then(Value::as_u64);
        Self { tenant: format!("{name} ({})", key.tenant_id).trim_start().to_owned(), key, max_age }
    }

    fn max_age(&self) -> String {
        self.max_age.map_or_else(|| "JWKS max-age".to_owned(), |seconds| format!("{seconds} s (JWKS max-age)"))
    }

    /// How long verifiers may lack a key.
    fn exposure(&self) -> String {
        format!(
            "Verifiers that hold an older JWKS refuse its tokens until they fetch it anew: for up to {}, or longer where they ignore that.",
            self.max_age()
        )
    }

    /// How long verifiers may go on trusting a key.
    fn distrust(&self) -> String {
        format!(
            "Verifiers that hold the JWKS go on accepting its tokens until they fetch it anew: for up to {}, or longer where they ignore that.",
            self.max_age()
        )
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Key { kid, state, activated_at, .. } = &self.key;
        write!(f, "Key {kid} ({}, {state}", self.key.kind())?;
        match activated_at {
            Some(since) if state == "active" => write!(f, ", signs since {since}")?,
            _ => {}
        }
        write!(f, ") of tenant {}", self.tenant)
    }
}

/// A key, or what was said of several.
fn render_outcome(outcome: &Value) -> String {
    let Some(members) = outcome.as_object() else { return String::new() };
    if members.contains_key("kid") {
        return render(outcome);
    }
    let part = |(name, value): (&String, &Value)| match value {
        Value::Object(_) => Some(format!("{}\n{}", name.replace('_', " "), indented(&render(value)))),
        // Of a key that was distrusted.
        Value::Null if name == "active" => {
            Some("active: none. The tenant's users cannot register or sign in until a key is active".to_owned())
        }
        Value::Null => None,
        Value::String(text) => Some(format!("{}: {text}", name.replace('_', " "))),
        other => Some(format!("{}: {other}", name.replace('_', " "))),
    };
    members.iter().filter_map(part).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
