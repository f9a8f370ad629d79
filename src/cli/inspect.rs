//! `passkey-hsm inspect`: verifies stored evidence again, without a server, a database or a network.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Failure, output, setup::instant};
use crate::{
    domain::{Challenge, Clock, ClonePolicy, Origin, SystemClock, Timestamp},
    services::{Anchors, ClaimedTransaction, Evidence, EvidenceKind, StoredKey, inspect},
};

/// The most bytes of a line, its end apart: a credential's body at its largest, with certificates beside it.
const MAX_LINE: u64 = 4 * 1024 * 1024;

/// What the relying party wrote down may be padded, or not.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON object a line, as `credential evidence` and `transaction evidence` write them; `-` for standard input
    file: PathBuf,
    /// The instant at which certificates must be valid, where a line does not say: RFC 3339; the present if left out
    #[arg(long, value_name = "TIME", value_parser = instant)]
    now: Option<Timestamp>,
    /// A PEM file of trust anchors to judge every chain by. A line's own anchors count too
    #[arg(long, value_name = "FILE")]
    anchors: Vec<PathBuf>,
    /// Refuse chains that lead to none of the anchors, whether or not a line asks for it. A registration must then come with anchors
    #[arg(long)]
    check_chain: bool,
}

/// A line: what the relying party expected, what the browser answered, and what was known of the credential. Members that are not named
/// here are ignored.
#[derive(Debug, Deserialize)]
struct Line {
    name: Option<String>,
    kind: Option<EvidenceKind>,
    rp_id: String,
    origin: OneOrMore,
    challenge_b64url: String,
    #[serde(default)]
    user_verification_required: bool,
    /// As it came: read strictly by whoever judges it.
    credential: Box<RawValue>,
    stored: Option<Stored>,
    /// Left out, they are refused.
    clones_refused: Option<bool>,
    transaction_id: Option<String>,
    data: Option<String>,
    #[serde(default)]
    trust_anchor_pem: OneOrMore,
    #[serde(default)]
    check_chain: bool,
    at_time: Option<String>,
    certs_valid_at: Option<String>,
    #[serde(default)]
    cross_origin_allowed: bool,
    #[serde(default)]
    top_origin: OneOrMore,
}

/// A text, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
    /// `null`.
    Nothing(()),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::Nothing(())
    }
}

impl OneOrMore {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
            Self::Nothing(()) => &[],
        }
    }

    /// Those that are origins. No ceremony runs anywhere else, so that the others match nothing.
    fn origins(&self) -> Vec<Origin> {
        self.as_slice().iter().filter_map(|text| text.parse().ok()).collect()
    }
}

/// What the relying party knew of a credential before it was used.
#[derive(Debug, Deserialize)]
struct Stored {
    credential_id: String,
    cose_public_key: String,
    #[serde(default)]
    sign_count: u32,
    #[serde(default)]
    backup_eligible: bool,
    #[serde(default)]
    backup_state: bool,
    user_handle: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut anchors = Anchors::default();
    for file in &args.anchors {
        let pem = fs::read(file).map_err(|e| unreadable(file, &e))?;
        anchors.add_pem(&pem).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
    }
    let mut input: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&args.file).map_err(|e| unreadable(&args.file, &e))?))
    };
    let mut all_read = true;
    for number in 1.. {
        let mut line = Vec::new();
        if input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line).map_err(|e| unreadable(&args.file, &e))? == 0 {
            break;
        }
        // The rest of a line that is too long is no line of its own.
        if line.len() as u64 > MAX_LINE && !line.ends_with(b"\n") {
            input.skip_until(b'\n').map_err(|e| unreadable(&args.file, &e))?;
            all_read = false;
            output::warn(&format!("line {number}: longer than {MAX_LINE} bytes"));
            continue;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match judge(&line, args, &anchors) {
            Ok(finding) => output::line(&finding)?,
            Err(fault) => {
                all_read = false;
                output::warn(&format!("line {number}: {fault}"));
            }
        }
    }
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is found of a line, as one line of JSON; or why it cannot be read.
fn judge(line: &[u8], args: &Args, anchors: &Anchors) -> Result<String, String> {
    let line: Line = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let own: Vec<_> = line.trust_anchor_pem.as_slice().iter().map(String::as_bytes).collect();
    // Without anchors no chain is judged: an "accept" would be taken for more than it is.
    if args.check_chain && args.anchors.is_empty() && own.is_empty() && line.stored.is_none() {
        return Err("--check-chain: there is no trust anchor, neither in the line nor by --anchors".to_owned());
    }
    let at = [&line.at_time, &line.certs_valid_at].into_iter().flatten().next().map(|text| instant(text)).transpose()?;
    let evidence = Evidence {
        name: line.name.as_deref(),
        rp_id: &line.rp_id,
        origins: &line.origin.origins(),
        challenge: &Challenge::from_bytes(&bytes("challenge_b64url", &line.challenge_b64url)?),
        user_verification_required: line.user_verification_required,
        kind: line.kind,
        credential: line.credential.get(),
        stored: line.stored.as_ref().map(Stored::key).transpose()?,
        clones: if line.clones_refused.unwrap_or(true) { ClonePolicy::Refuse } else { ClonePolicy::Report },
        transaction: line.transaction()?,
        allow_cross_origin: line.cross_origin_allowed || !line.top_origin.as_slice().is_empty(),
        top_origins: &line.top_origin.origins(),
        anchors: &own,
        common_anchors: anchors,
        check_chain: line.check_chain || args.check_chain,
        at: at.or(args.now).unwrap_or_else(|| SystemClock.now()),
    };
    let finding = inspect(&evidence).map_err(|e| e.to_string())?;
    serde_json::to_string(&finding).map_err(|e| e.to_string())
}

impl Line {
    /// Half of a transaction would be judged as none: an "accept" would be taken for more than it is.
    fn transaction(&self) -> Result<Option<ClaimedTransaction<'_>>, String> {
        match (self.transaction_id.as_deref(), self.data.as_deref()) {
            (Some(id), Some(data)) => Ok(Some(ClaimedTransaction { id, data })),
            (None, None) => Ok(None),
            (Some(_), None) => Err("transaction_id without data".to_owned()),
            (None, Some(_)) => Err("data without transaction_id".to_owned()),
        }
    }
}

impl Stored {
    fn key(&self) -> Result<StoredKey, String> {
        Ok(StoredKey {
            credential_id: bytes("stored.credential_id", &self.credential_id)?,
            public_key: bytes("stored.cose_public_key", &self.cose_public_key)?,
            sign_count: self.sign_count,
            backup_eligible: self.backup_eligible,
            backup_state: self.backup_state,
            user_handle: self.user_handle.as_deref().map(|text| bytes("stored.user_handle", text)).transpose()?,
        })
    }
}

fn bytes(name: &str, text: &str) -> Result<Vec<u8>, String> {
    BASE64URL.decode(text).map_err(|e| format!("{name}: {e}"))
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", file.display()))
}
