//! A module that forwards to SoftHSM2, hangs in one `C_Sign` when a file appears, and takes its time for one `C_Login` when another does. Built from a page of C: no Rust crate may stand
//! between, and the build needs a C compiler anyway.

use std::{fs, path::Path, process::Command};

use passkey_hsm::hsm::SignerCommand;

use super::{
    deployment,
    softhsm::{SoftHsm, module},
};

const SOURCE: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef unsigned long ulong;
typedef ulong (*sign_fn)(ulong, void *, ulong, void *, ulong *);
typedef ulong (*login_fn)(ulong, ulong, void *, ulong);
/* CK_FUNCTION_LIST 2.40: a version (padded to 8 bytes) and 68 functions. C_Login is the 19th, C_Sign the 43rd. */
struct list { void *version; void *functions[68]; };
enum { C_LOGIN = 19, C_SIGN = 43 };
static struct list ours;
static sign_fn real_sign;
static login_fn real_login;
static ulong hanging_sign(ulong session, void *data, ulong length, void *signature, ulong *signature_length) {
    const char *file = getenv("HANG_FILE");
    if (signature && file && unlink(file) == 0) sleep(600);
    return real_sign(session, data, length, signature, signature_length);
}
/* FILE.login says to be slow, FILE.begun that a login has begun, FILE.done that it was not cut short. */
static ulong slow_login(ulong session, ulong user, void *pin, ulong length) {
    char slow[4096], begun[4096], done[4096];
    const char *file = getenv("HANG_FILE");
    snprintf(slow, sizeof slow, "%s.login", file);
    snprintf(begun, sizeof begun, "%s.begun", file);
    snprintf(done, sizeof done, "%s.done", file);
    int is_slow = rename(slow, begun) == 0;
    if (is_slow) usleep(500000);
    ulong rv = real_login(session, user, pin, length);
    if (is_slow) rename(begun, done);
    return rv;
}
ulong C_GetFunctionList(struct list **out) {
    void *module = dlopen(getenv("REAL_MODULE"), RTLD_NOW);
    ulong (*get)(struct list **) = (ulong (*)(struct list **))dlsym(module, "C_GetFunctionList");
    struct list *theirs;
    ulong rv = get(&theirs);
    if (rv) return rv;
    memcpy(&ours, theirs, sizeof ours);
    real_sign = (sign_fn)ours.functions[C_SIGN - 1];
    ours.functions[C_SIGN - 1] = (void *)hanging_sign;
    real_login = (login_fn)ours.functions[C_LOGIN - 1];
    ours.functions[C_LOGIN - 1] = (void *)slow_login;
    *out = &ours;
    return 0;
}
"#;

/// Signer processes behind the interposer, which hangs once for each time that `hang` is made, and logs in
/// slowly once for each time that `hang.login` is.
pub(crate) fn command(hsm: &SoftHsm, hang: &Path) -> SignerCommand {
    let (source, library) = (hsm.path().join("hang.c"), hsm.path().join("hang.so"));
    fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(built.expect("install a C compiler").success());
    let config = hsm.config("hang.toml", "token_label = \"passkey-test\"", "sessions = 2");
    let text = fs::read_to_string(&config).unwrap().replace(&module().display().to_string(), &library.display().to_string());
    fs::write(&config, text).unwrap();
    let mut command = deployment::command(hsm, &config);
    command.env.push(("REAL_MODULE".into(), module().into()));
    command.env.push(("HANG_FILE".into(), hang.into()));
    command
}
