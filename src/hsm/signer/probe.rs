//! What `doctor` checks of the HSM. Run in a process of its own: a module can crash whoever loads it.

use cryptoki::{
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, ObjectClass},
    session::Session,
    slot::Slot,
};

use super::{
    Error, PinSource, TokenConfig, attributes, fault,
    index::find,
    mechanism::{Hashing, sign},
    process::harden,
    template::{self, Step as TemplateStep},
    token::Module,
    turn::Turn,
};
use crate::{domain::SigningAlgorithm, hsm::health::HEALTH_KEY};

/// One check.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was looked at.
    pub name: &'static str,
    /// What was found; or what is wrong, with what to do about it.
    pub outcome: Result<String, String>,
}

/// All checks up to the first that makes the next ones pointless.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order in which they were made.
    pub steps: Vec<Step>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.steps.iter().all(|step| step.outcome.is_ok())
    }

    fn add<T>(&mut self, name: &'static str, outcome: Result<T, String>, describe: impl FnOnce(&T) -> String) -> Option<T> {
        let (value, outcome) = match outcome {
            Ok(value) => {
                let text = describe(&value);
                (Some(value), Ok(text))
            }
            Err(text) => (None, Err(text)),
        };
        self.steps.push(Step { name, outcome });
        value
    }
}

/// Checks module, token, PIN, login, mechanisms, a signature that is verified, and the health key. Logs in once, makes a session key that
/// vanishes, changes nothing on the token.
pub fn probe(config: &TokenConfig) -> Report {
    harden();
    let mut report = Report::default();
    let _ = checks(config, &mut report);
    report
}

fn checks(config: &TokenConfig, report: &mut Report) -> Option<()> {
    let turn = Turn::wait(&config.module);
    let module = report.add("module", Module::load(&config.module).map_err(|e| explain(&e)), Module::describe)?;
    let token = report.add("token", module.find(&config.token).map_err(|e| explain(&e)), |t| {
        let info = t.info();
        format!("label {:?}, serial {:?}, {} {}, firmware {}", info.label, info.serial, info.manufacturer, info.model, info.firmware)
    })?;
    report.add("token flags", token.check_flags().map_err(|e| explain(&e)), |()| "nothing speaks against a login".to_owned())?;
    if config.pin == PinSource::Operator {
        let text = "is the operator's, who enters it with `passkey-hsm hsm activate`: nothing after this step was tried";
        report.add("pin", Ok(text), |text| (*text).to_owned());
        return None;
    }
    let pin = token.pin(&config.pin).map_err(|e| format!("{e}; {PIN_ADVICE}"));
    report.add("pin", pin, |pin| {
        if pin.is_some() { "can be read, by its owner alone" } else { "is entered at the token's keypad" }.to_owned()
    })?;
    let session = report
        .add("login", token.login(|token| token.pin(&config.pin)).map_err(|e| explain(&e)), |_| "the token accepts the PIN".to_owned())?;
    drop(turn);
    report.add("mechanisms", mechanisms(&module, token.slot), Clone::clone)?;
    report.add("test signature", test_signature(&session), Clone::clone)?;
    report.add("health key", health_key(&session), Clone::clone)?;
    Some(())
}

const PIN_ADVICE: &str =
    "correct the PIN source in the [hsm] section; a PIN file has mode 0600 and belongs to the user that runs the server";

fn explain(error: &Error) -> String {
    let remedy = match error {
        Error::Pin(_) => {
            "nothing tries again by itself; correct the PIN (or unlock it) with the vendor's tool, then start the server again"
        }
        Error::Configuration(_) => "correct the [hsm] section",
        Error::Token(_) => "compare `token` in the [hsm] section with what the module shows; for SoftHSM2 see to SOFTHSM2_CONF in hsm.env",
        Error::Module(_) | Error::Io(_) => "see to the module's own configuration and log; for SoftHSM2 to SOFTHSM2_CONF in hsm.env",
    };
    format!("{error}; {remedy}")
}

fn mechanisms(module: &Module, slot: Slot) -> Result<String, String> {
    let listed = module.pkcs11.get_mechanism_list(slot).map_err(|e| {
        format!("cannot be listed: {}; the token may just have gone: look at its own tools, then try again", fault::name(&e))
    })?;
    let needed = [
        ("ES256/ES384", [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA]),
        ("RS256", [MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::RSA_PKCS]),
        ("PS256", [MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::RSA_PKCS_PSS]),
        ("EdDSA", [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA]),
    ];
    let (have, lack): (Vec<_>, Vec<_>) = needed.iter().partition(|(_, both)| both.iter().all(|m| listed.contains(m)));
    let names = |list: Vec<&(&str, _)>| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if have.is_empty() {
        return Err("the token lists no mechanism that signs tokens: another slot, partition or firmware is needed".to_owned());
    }
    let (have, lack) = (names(have), names(lack));
    Ok(if lack.is_empty() { have } else { format!("{have}; not listed (tenants cannot use them): {lack}") })
}

/// A key that lives as long as the session, made for the first algorithm that the token has.
fn test_signature(session: &Session) -> Result<String, String> {
    let mut refusals = Vec::new();
    for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
        match try_algorithm(session, algorithm) {
            Ok(way) => return Ok(format!("{algorithm}, {way}, verified")),
            Err(why) => refusals.push(format!("{algorithm}: {why}")),
        }
    }
    Err(format!("{}; the user may lack the right to make and use keys", refusals.join("; ")))
}

fn try_algorithm(session: &Session, algorithm: SigningAlgorithm) -> Result<&'static str, String> {
    let named = |e: &cryptoki::error::Error| fault::name(e);
    let (mechanism, public, private) = template::key_pair(HEALTH_KEY, algorithm, 2048, TemplateStep::OtherUses);
    let of_session = |template: Vec<Attribute>| -> Vec<Attribute> {
        let other = |a: &Attribute| !matches!(a, Attribute::Token(_) | Attribute::Id(_) | Attribute::Label(_));
        template.into_iter().filter(other).chain([Attribute::Token(false)]).collect()
    };
    let (public, private) =
        session.generate_key_pair(&mechanism as &Mechanism, &of_session(public), &of_session(private)).map_err(|e| named(&e))?;
    let key = attributes::public_key(session, public, algorithm).map_err(|e| named(&e))?.map_err(|e| e.to_string())?;
    let message = b"\0passkey-hsm doctor";
    for (hashing, way) in [(Hashing::Raw, "hashed here"), (Hashing::Combined, "hashed in the token")] {
        if sign(session, private, algorithm, hashing, message).is_ok_and(|signature| key.verify(message, &signature)) {
            return Ok(way);
        }
    }
    Err("no signature that verifies".to_owned())
}

fn health_key(session: &Session) -> Result<String, String> {
    let id = || Attribute::Id(HEALTH_KEY.as_bytes().to_vec());
    let count = |class| find(session, class, id()).map(|found| found.len()).map_err(|e| fault::name(&e));
    match (count(ObjectClass::PRIVATE_KEY)?, count(ObjectClass::PUBLIC_KEY)?) {
        (0, 0) => Ok("not there yet: it is made when the server starts".to_owned()),
        (0, _) | (_, 0) => Ok("only half of it is there: it is made anew when the server starts".to_owned()),
        _ => Ok("there".to_owned()),
    }
}
