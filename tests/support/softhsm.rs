//! A throw-away SoftHSM2 token of its own, which no system token and no other test ever sees.
//!
//! PINs are random, lie in files of mode 0600, and reach SoftHSM's tools through their environment: an argument could be read by everybody.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part of this")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use passkey_hsm::domain::{Rng, SystemRng};
use tempfile::TempDir;

/// Where Debian, Fedora and others put the module; `SOFTHSM2_MODULE` overrides it.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// The module under test.
pub(crate) fn module() -> PathBuf {
    let found = std::env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    found.or_else(|| MODULES.iter().map(PathBuf::from).find(|p| p.exists())).expect("install SoftHSM2 (package softhsm2)")
}

/// A directory with tokens, gone when dropped.
pub(crate) struct SoftHsm {
    dir: TempDir,
    pin: String,
}

impl SoftHsm {
    /// One token, labelled `passkey-test`.
    pub(crate) fn new() -> Self {
        let hsm = Self::empty();
        hsm.add_token("passkey-test");
        hsm
    }

    /// No token yet. In memory where there is a place for that: keys are made in a millisecond instead of a hundred.
    pub(crate) fn empty() -> Self {
        let parent = Path::new("/dev/shm");
        let parent = if parent.is_dir() { parent.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("passkey-hsm-").tempdir_in(parent).unwrap();
        fs::create_dir(dir.path().join("tokens")).unwrap();
        fs::set_permissions(dir.path().join("tokens"), fs::Permissions::from_mode(0o700)).unwrap();
        let tokens = dir.path().join("tokens");
        fs::write(
            dir.path().join("softhsm2.conf"),
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display()),
        )
        .unwrap();
        let hsm = Self { dir, pin: digits(10) };
        hsm.write_pin(&hsm.pin);
        hsm
    }

    /// Adds a token; two may have one label.
    pub(crate) fn add_token(&self, label: &str) {
        let so_pin = digits(10);
        self.tool(&["--init-token", "--slot-index", &self.free_slot(), "--label", label, "--so-pin", "env:SO_PIN"], &so_pin);
        let slot = self.slot_of_last();
        self.tool(&["--login", "--login-type", "so", "--so-pin", "env:SO_PIN", "--init-pin", "--pin", "env:PIN", "--slot", &slot], &so_pin);
    }

    /// `SOFTHSM2_CONF` for whoever shall see these tokens.
    pub(crate) fn conf(&self) -> PathBuf {
        self.path().join("softhsm2.conf")
    }

    /// Where everything is; tests put their own files there.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where the tokens are.
    pub(crate) fn token_dir(&self) -> PathBuf {
        self.path().join("tokens")
    }

    /// The file with the user PIN, mode 0600.
    pub(crate) fn pin_file(&self) -> PathBuf {
        self.path().join("pin")
    }

    /// The user PIN of every token here.
    pub(crate) fn pin(&self) -> &str {
        &self.pin
    }

    /// Writes another PIN to the file.
    pub(crate) fn write_pin(&self, pin: &str) {
        let path = self.pin_file();
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
        file.write_all(pin.as_bytes()).unwrap();
    }

    /// `[hsm]` of a configuration file, written to `name` in this directory.
    pub(crate) fn config(&self, name: &str, token: &str, more: &str) -> PathBuf {
        let path = self.path().join(name);
        let text = format!(
            "[hsm]\nmodule = \"{}\"\n{token}\npin_file = \"{}\"\nenv = {{ SOFTHSM2_CONF = \"{}\" }}\n{more}\n",
            module().display(),
            self.pin_file().display(),
            self.conf().display()
        );
        // At once: a signer that was just started with this file never reads half of it.
        let whole = path.with_extension("new");
        fs::write(&whole, text).unwrap();
        fs::rename(whole, &path).unwrap();
        path
    }

    /// Runs `pkcs11-tool` on these tokens with the PINs in its environment, and returns what it prints.
    pub(crate) fn tool(&self, args: &[&str], so_pin: &str) -> String {
        let output = Command::new("pkcs11-tool")
            .arg("--module")
            .arg(module())
            .args(args)
            .env("SOFTHSM2_CONF", self.conf())
            .env("PIN", &self.pin)
            .env("SO_PIN", so_pin)
            .output()
            .expect("install pkcs11-tool (package opensc)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "pkcs11-tool {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// SoftHSM always shows one slot without a token, the last.
    fn free_slot(&self) -> String {
        (self.list_slots().matches("Slot ").count() - 1).to_string()
    }

    /// The slot number of the token that was initialized last: they are listed before the free one, in the order of their directories, so
    /// that the one without a user PIN is looked for.
    fn slot_of_last(&self) -> String {
        let list = self.list_slots();
        let slot = list.split("\nSlot ").find(|s| s.contains("token initialized") && !s.contains("PIN initialized")).unwrap_or_default();
        let number = slot.split(['(', ')']).nth(1).unwrap_or_default();
        u64::from_str_radix(number.trim_start_matches("0x"), 16).unwrap().to_string()
    }

    fn list_slots(&self) -> String {
        format!("\n{}", self.tool(&["--list-slots"], ""))
    }
}

/// Random decimal digits.
fn digits(n: usize) -> String {
    let rng: &dyn Rng = &SystemRng;
    (0..n).map(|_| char::from(b'0' + rng.bytes::<1>()[0] % 10)).collect()
}
