//! What `key rotate --all` takes, and what it asks of the HSM: a module between ours and SoftHSM2 counts every PKCS#11 call.
//!
//! `ROTATE_TENANTS=1000 cargo test --release --features failpoints --test e2e -- --ignored --nocapture rotation_of_many_tenants`

use std::{env, fmt::Write as _, fs, path::Path, process::Command, time::Instant};

use super::ask;
use crate::support::{
    server::{Server, text},
    softhsm::module,
};

/// The functions of PKCS#11 2.40 in the order of their list.
const FUNCTIONS: &str = "Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList GetMechanismInfo \
    InitToken InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo GetOperationState SetOperationState Login Logout \
    CreateObject CopyObject DestroyObject GetObjectSize GetAttributeValue SetAttributeValue FindObjectsInit FindObjects FindObjectsFinal \
    EncryptInit Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate DecryptFinal DigestInit Digest DigestUpdate DigestKey \
    DigestFinal SignInit Sign SignUpdate SignFinal SignRecoverInit SignRecover VerifyInit Verify VerifyUpdate VerifyFinal VerifyRecoverInit \
    VerifyRecover DigestEncryptUpdate DecryptDigestUpdate SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair WrapKey \
    UnwrapKey DeriveKey SeedRandom GenerateRandom GetFunctionStatus CancelFunction WaitForSlotEvent";

/// Forwards all 68 functions. None takes more than eight arguments, each a word, and what is passed beyond a function's own is not looked at.
fn source() -> String {
    let (mut wrappers, mut table) = (String::new(), String::new());
    for n in 0..68 {
        let body = format!("__atomic_add_fetch(&counts[{n}], 1, __ATOMIC_RELAXED); return ((any)real[{n}])(a, b, c, d, e, f, g, h);");
        writeln!(wrappers, "static ulong w{n}(ulong a, ulong b, ulong c, ulong d, ulong e, ulong f, ulong g, ulong h) {{ {body} }}")
            .unwrap();
        write!(table, "(void *)w{n}, ").unwrap();
    }
    format!(
        "#include <dlfcn.h>\n#include <fcntl.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
         typedef unsigned long ulong;\ntypedef ulong (*any)(ulong, ulong, ulong, ulong, ulong, ulong, ulong, ulong);\n\
         struct list {{ void *version; void *functions[68]; }};\n\
         static struct list ours;\nstatic void *real[68];\nstatic ulong *counts;\n{wrappers}\
         static void *const wrappers[68] = {{ {table} }};\n\
         ulong C_GetFunctionList(struct list **out) {{\n\
         \x20   void *module = dlopen(getenv(\"REAL_MODULE\"), RTLD_NOW);\n\
         \x20   ulong (*get)(struct list **) = (ulong (*)(struct list **))dlsym(module, \"C_GetFunctionList\");\n\
         \x20   struct list *theirs;\n    ulong rv = get(&theirs);\n    if (rv) return rv;\n\
         \x20   int file = open(getenv(\"COUNTS_FILE\"), O_RDWR);\n\
         \x20   counts = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);\n\
         \x20   if (counts == MAP_FAILED) return 5;\n\
         \x20   memcpy(&ours, theirs, sizeof ours);\n    memcpy(real, theirs->functions, sizeof real);\n\
         \x20   memcpy(ours.functions, wrappers, sizeof wrappers);\n    *out = &ours;\n    return 0;\n}}\n"
    )
}

/// Puts the counting module in the place of the configured one.
fn interpose(folder: &Path) {
    let (code, library, counts) = (folder.join("count.c"), folder.join("count.so"), folder.join("counts"));
    fs::write(&code, source()).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&code).arg("-ldl").output().unwrap();
    assert!(built.status.success(), "{}", text(&built));
    fs::write(counts.clone(), [0; 4096]).unwrap();
    let config = folder.join("passkey-hsm.toml");
    let changed = |line: &str| {
        if line.starts_with("module = ") {
            format!("module = {:?}", library.to_str().unwrap())
        } else if let Some(env) = line.strip_prefix("env = {") {
            format!("env = {{ REAL_MODULE = {:?}, COUNTS_FILE = {:?},{env}", module().to_str().unwrap(), counts.to_str().unwrap())
        } else {
            line.to_owned()
        }
    };
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.lines().map(changed).collect::<Vec<_>>().join("\n")).unwrap();
}

/// How often each function was called so far, by all signer processes.
fn counts(folder: &Path) -> Vec<u64> {
    let bytes = fs::read(folder.join("counts")).unwrap();
    bytes.chunks_exact(8).take(68).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect()
}

#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "what is measured is printed, to two digits")]
fn report(what: &str, tenants: usize, seconds: f64, before: &[u64], after: &[u64]) {
    println!("{what}: {seconds:.1} s for {tenants} tenants, {:.1} ms each", seconds * 1000.0 / tenants as f64);
    for ((name, before), after) in FUNCTIONS.split_whitespace().zip(before).zip(after) {
        if after > before {
            println!("  C_{name:20} {:8.2} each", (after - before) as f64 / tenants as f64);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: minutes for a thousand tenants"]
async fn rotation_of_many_tenants() {
    let tenants: usize = env::var("ROTATE_TENANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut server = Server::sqlite().await;
    assert!(server.terminate().success());
    let folder = server.folder.path().to_owned();
    interpose(&folder);
    server.restart().await;
    let admin = ask(&server, &["admin-token", "create", "--name", "measurement", "--role", "admin"]);
    let (client, token) = (reqwest::Client::new(), admin["token"].as_str().unwrap());
    let post = async |path: String, body: serde_json::Value| {
        let answer = client.post(format!("http://{}{path}", server.admin)).bearer_auth(token).json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };

    let (started, before) = (Instant::now(), counts(&folder));
    let mut ids = Vec::new();
    for number in 0..tenants {
        let origin = "https://localhost";
        let config = serde_json::json!({
            "cors": {"allowed_origins": [origin], "allow_unsafe_wildcard": false},
            "webauthn": {"relying_party": {"id": "localhost", "display_name": "T", "origins": [origin]}, "timeout": 60_000},
        });
        let made = post("/tenants".to_owned(), serde_json::json!({ "display_name": format!("T{number}"), "config": config })).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    report("tenants made", tenants, started.elapsed().as_secs_f64(), &before, &counts(&folder));

    let (started, before) = (Instant::now(), counts(&folder));
    for id in &ids {
        let made = post(format!("/tenants/{id}/signing_keys"), serde_json::json!({})).await;
        post(format!("/signing_keys/{}/publish", made["kid"].as_str().unwrap()), serde_json::json!({})).await;
    }
    report("standbys made and published", tenants, started.elapsed().as_secs_f64(), &before, &counts(&folder));
    // As if P were over; and the server has had the time to look at the JWKS that it serves.
    server.execute("UPDATE signing_keys SET usable_from = 0 WHERE state = 'published'").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;

    let (started, before) = (Instant::now(), counts(&folder));
    let run = ask(&server, &["key", "rotate", "--all", "--yes"]);
    report("key rotate --all", tenants, started.elapsed().as_secs_f64(), &before, &counts(&folder));
    assert_eq!(run["done"], tenants, "{run}");
}
