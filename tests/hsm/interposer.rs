//! A module that forwards to SoftHSM2 and hangs in one `C_Sign` when a file appears. Built from a page of C: no Rust crate may stand
//! between, and the build needs a C compiler anyway.

use std::{fs, path::Path, process::Command};

use passkey_hsm::hsm::SignerCommand;

use super::{
    deployment,
    softhsm::{SoftHsm, module},
};

const SOURCE: &str = r#"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef unsigned long ulong;
typedef ulong (*sign_fn)(ulong, void *, ulong, void *, ulong *);
/* CK_FUNCTION_LIST 2.40: a version (padded to 8 bytes) and 68 functions. C_Sign is the 43rd. */
struct list { void *version; void *functions[68]; };
enum { C_GETFUNCTIONLIST = 3, C_SIGN = 43 };
static struct list ours;
static sign_fn real_sign;
static ulong hanging_sign(ulong session, void *data, ulong length, void *signature, ulong *signature_length) {
    const char *file = getenv("HANG_FILE");
    if (signature && file && unlink(file) == 0) sleep(600);
    return real_sign(session, data, length, signature, signature_length);
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
    *out = &ours;
    return 0;
}
"#;

/// Signer processes behind the interposer, which hangs once for each time that `hang` is made.
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
