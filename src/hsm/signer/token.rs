//! From a configuration to a token that is open and logged in.

use std::{fmt::Write as _, fs, io, path::Path};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error as P11Error, RvError},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use openssl::sha::Sha256;

use super::{
    Error, PinError, PinSource, TokenAddress,
    address::trim,
    fault::{self, Class},
};
use crate::{domain::Pin, hsm::TokenInfo};

/// A loaded and initialized module. One a process: two would be one to the library.
pub(super) struct Module {
    pub(super) pkcs11: Pkcs11,
    path: String,
    sha256: String,
    library: String,
}

impl Module {
    /// Loads the file and initializes it for several threads. Never finalized: while threads sign, that crashes most modules, and the end
    /// of the process does the same.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let sha256 = file_sha256(path).map_err(|e| Error::Configuration(format!("cannot read the module {}: {e}", path.display())))?;
        let pkcs11 =
            Pkcs11::new(path).map_err(|e| Error::Configuration(format!("{} is no PKCS#11 module: {}", path.display(), fault::name(&e))))?;
        // A clone that is never dropped: unloading the library under its own threads and exit handlers crashes.
        std::mem::forget(pkcs11.clone());
        pkcs11
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|e| Error::Module(format!("the module {} does not initialize: {}", path.display(), fault::name(&e))))?;
        let library = pkcs11.get_library_info().map_or_else(
            |_| "unknown".to_owned(),
            |info| {
                let text = |s: &str| trim(s).to_owned();
                let (by, what) = (text(info.manufacturer_id()), text(info.library_description()));
                format!("{by}, {what} {}, PKCS#11 {}", info.library_version(), info.cryptoki_version())
            },
        );
        Ok(Self { pkcs11, path: path.display().to_string(), sha256, library })
    }

    /// In one line, for people.
    pub(super) fn describe(&self) -> String {
        format!("{} ({}), SHA-256 {}", self.path, self.library, self.sha256)
    }

    /// The one token that `address` means.
    pub(super) fn find(&self, address: &TokenAddress) -> Result<Token<'_>, Error> {
        let slots = self.pkcs11.get_slots_with_token().map_err(|e| Error::Module(format!("cannot list slots: {}", fault::name(&e))))?;
        let mut found = Vec::new();
        let mut others = Vec::new();
        for slot in slots {
            match self.pkcs11.get_token_info(slot) {
                Ok(info) if !info.token_initialized() => {}
                Ok(info) if address.matches(info.label(), info.serial_number(), info.manufacturer_id(), info.model()) => {
                    found.push(Token { module: self, slot, info });
                }
                Ok(info) => others.push(describe(&info)),
                Err(e) => others.push(format!("one that cannot be read ({})", fault::name(&e))),
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(token), true) => Ok(token),
            (Some(last), false) => {
                let twins: Vec<_> = found.iter().chain([&last]).map(|t| describe(&t.info)).collect();
                Err(Error::Token(format!("{} tokens match {address}: {}; add serial= to tell them apart", twins.len(), twins.join(", "))))
            }
            (None, _) if others.is_empty() => {
                Err(Error::Token(format!("no token matches {address}: the module shows no initialized token")))
            }
            (None, _) => Err(Error::Token(format!("no token matches {address}; there are: {}", others.join(", ")))),
        }
    }
}

fn describe(info: &cryptoki::slot::TokenInfo) -> String {
    format!(
        "label {:?} serial {:?} manufacturer {:?} model {:?}",
        trim(info.label()),
        trim(info.serial_number()),
        trim(info.manufacturer_id()),
        trim(info.model())
    )
}

fn file_sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(&fs::read(path)?);
    Ok(hex(&hash.finish()))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A token that was found and not touched yet.
pub(super) struct Token<'a> {
    module: &'a Module,
    pub(super) slot: Slot,
    info: cryptoki::slot::TokenInfo,
}

impl Token<'_> {
    /// What it says of itself, for people and for evidence.
    pub(super) fn info(&self) -> TokenInfo {
        TokenInfo {
            label: trim(self.info.label()).to_owned(),
            serial: trim(self.info.serial_number()).to_owned(),
            manufacturer: trim(self.info.manufacturer_id()).to_owned(),
            model: trim(self.info.model()).to_owned(),
            firmware: self.info.firmware_version().to_string(),
            module: self.module.path.clone(),
            module_sha256: self.module.sha256.clone(),
            library: self.module.library.clone(),
        }
    }

    /// Refuses to spend a PIN try where the flags say that it would be lost or the last one.
    pub(super) fn check_flags(&self) -> Result<(), Error> {
        let flags = [
            (self.info.user_pin_locked(), "its user PIN is locked: unlock it with the security officer's tool"),
            (self.info.user_pin_final_try(), "one wrong PIN is left before it locks: log in once with the vendor's tool to prove the PIN"),
            (self.info.user_pin_to_be_changed(), "its user PIN has to be changed first, with the vendor's tool"),
        ];
        // Not a reason to stop for good: no try can be lost, and the PIN may be set at any moment.
        if !self.info.user_pin_initialized() {
            let label = trim(self.info.label());
            return Err(Error::Token(format!("token {label:?}: its user PIN was never set: set it with the security officer's tool")));
        }
        match flags.iter().find(|(raised, _)| *raised) {
            Some((_, text)) => Err(Error::Pin(format!("token {:?}: {text}", trim(self.info.label())))),
            None => Ok(()),
        }
    }

    /// The PIN to log in with; `None` where it is entered at the token's own keypad.
    pub(super) fn pin(&self, source: &PinSource) -> Result<Option<Pin>, PinError> {
        if *source == PinSource::Keypad && self.info.protected_authentication_path() { Ok(None) } else { source.read().map(Some) }
    }

    /// Opens the anchor session and logs in: every other session of the process inherits the login, and loses it with this one.
    pub(super) fn login(&self, pin: impl FnOnce(&Self) -> Result<Option<Pin>, PinError>) -> Result<Session, Error> {
        self.check_flags()?;
        let anchor = self
            .module
            .pkcs11
            .open_rw_session(self.slot)
            .map_err(|e| Error::Module(format!("cannot open a session: {}", fault::name(&e))))?;
        let pin = pin(self).map_err(|e| Error::Configuration(e.to_string()))?;
        match anchor.login(UserType::User, pin.map(|pin| AuthPin::from(pin.expose())).as_ref()) {
            Ok(()) | Err(P11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(anchor),
            Err(e) if fault::login_may_be_retried(&e) => Err(Error::Module(format!("cannot log in: {}", fault::name(&e)))),
            Err(e) if fault::classify(&e) == Class::Pin => Err(Error::Pin(format!("the token refused it ({})", fault::name(&e)))),
            Err(e) => Err(Error::Pin(format!("the login failed in a way that may have cost a try ({})", fault::name(&e)))),
        }
    }
}
