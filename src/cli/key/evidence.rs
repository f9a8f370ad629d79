//! A key's evidence: written, added to, and checked offline.

use std::{fs, path::Path, process::ExitCode};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    super::{
        Failure, Output,
        client::{Answer, Need, Reach, with_client},
        output::{line, outline},
    },
    Evidence, path,
};
use crate::services::verify_key_evidence;

/// The most bytes of a file that is attached or checked.
const MAX_FILE: u64 = 4 * 1024 * 1024;

pub(super) fn run(reach: &Reach<'_>, args: &Evidence, output: &Output) -> Result<ExitCode, Failure> {
    if let Some(file) = &args.verify {
        return verify(file, output);
    }
    let kid = args.kid.ok_or_else(|| Failure::usage("say which key's"))?;
    if let Some(file) = &args.attach {
        let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(|| Failure::usage("--attach: a file with a name"))?;
        let body = json!({ "name": name, "content": STANDARD.encode(read(file)?) });
        return with_client(reach, Need::Change, async |client| {
            let Answer::Done(_) = client.post(&path(kid, "attachments"), &args.why.with(body)).await? else {
                return Err(Failure::new("the answer is none to an attachment"));
            };
            output.show(&json!({ "attached": name, "kid": kid }), |_| format!("Attached {name} to {kid}."))?;
            Ok(ExitCode::SUCCESS)
        });
    }
    let evidence = with_client(reach, Need::Records, async |client| Ok(client.get(&path(kid, "evidence")).await?))?;
    let text = serde_json::to_string_pretty(&evidence)?;
    match &args.out {
        Some(file) => {
            fs::write(file, format!("{text}\n")).map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
            output.show(&json!({ "written": file }), |_| format!("Wrote {}.", file.display()))?;
        }
        None => line(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(file: &Path, output: &Output) -> Result<ExitCode, Failure> {
    let finding = verify_key_evidence(&read(file)?);
    output.show(&serde_json::to_value(&finding)?, outline)?;
    Ok(if finding.is_accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::usage(format!("{}: {e}", file.display()));
    let bytes = fs::read(file).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        Err(Failure::usage(format!("{} is longer than {MAX_FILE} bytes", file.display())))
    } else {
        Ok(bytes)
    }
}
