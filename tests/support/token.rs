//! A SoftHSM2 token of a test's own.

use std::{fs, path::Path, process::Command};

use openssl::rand::rand_bytes;

use super::server::text;

/// SoftHSM2's module.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Makes a token of the folder's own; its PIN is random and lies in a file that only we can read. Returns the PIN.
pub fn make_token(folder: &Path) -> String {
    let conf = folder.join("softhsm2.conf");
    fs::create_dir(folder.join("tokens")).unwrap();
    let tokens = folder.join("tokens");
    fs::write(&conf, format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display())).unwrap();
    let (so_pin, pin) = (random_digits(), random_digits());
    for args in [
        &["--init-token", "--label", "test", "--so-pin", "env:SO"][..],
        &["--login", "--login-type", "so", "--so-pin", "env:SO", "--init-pin", "--new-pin", "env:PIN"],
    ] {
        let output = Command::new("pkcs11-tool")
            .args(["--module", MODULE, "--slot-index", "0"])
            .args(args)
            .envs([("SO", so_pin.as_str()), ("PIN", pin.as_str())])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .unwrap_or_else(|e| panic!("pkcs11-tool does not start ({e}): install opensc"));
        assert!(output.status.success(), "pkcs11-tool: {}", text(&output));
    }
    private_file(&folder.join("pin"), &pin);
    pin
}

fn private_file(path: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
}

fn random_digits() -> String {
    let mut bytes = [0; 16];
    rand_bytes(&mut bytes).unwrap();
    bytes.iter().map(|b| char::from(b'0' + b % 10)).collect()
}
