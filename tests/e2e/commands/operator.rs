//! The PIN by hand: at the prompt, without an echo, for the server and for commands that do their work themselves.

use std::fs;

use super::{ask, keys::tenant, refusal};
use crate::support::{pty::Terminal, server::Server};

/// A server that was started without a PIN, and a tenant of its.
async fn waiting() -> (Server, String) {
    let mut server = Server::sqlite().await;
    let tenant = tenant(&server);
    assert!(server.terminate().success());
    let config = server.folder.path().join("passkey-hsm.toml");
    let with_file = fs::read_to_string(&config).unwrap();
    let operated = |line: &str| if line.starts_with("pin_file") { "pin_operator = \"on\"".to_owned() } else { line.to_owned() };
    fs::write(&config, with_file.lines().map(operated).collect::<Vec<_>>().join("\n")).unwrap();
    // The environment of the signer processes stood behind the PIN's file on its line or the next: it is still there.
    assert!(fs::read_to_string(&config).unwrap().contains("SOFTHSM2_CONF"));
    server.restart_unready().await;
    (server, tenant.id)
}

/// A command that asks for the PIN, up to where it does.
fn prompted(server: &Server, args: &[&str]) -> Terminal {
    let mut terminal = server.at_terminal(args);
    terminal.wait_for("PIN of token passkey-test: ");
    assert!(!terminal.echoes());
    terminal
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pin_is_entered_at_the_prompt_and_shown_nowhere() {
    let (mut server, id) = waiting().await;
    let pin = server.pin.clone();
    assert!(refusal(&server, 2, &["hsm", "activate"]).contains("no terminal to ask for the PIN at"));
    assert_eq!(ask(&server, &["hsm", "info"])["activation"], "waiting");

    let mut given_up = prompted(&server, &["hsm", "activate"]);
    given_up.type_keys(b"12\x03");
    given_up.wait_for_end();
    assert!(given_up.echoes(), "the terminal stays mute");
    let (status, said) = given_up.end();
    assert_eq!((status.code(), said.contains("no PIN was entered")), (Some(1), true), "{said}");

    let mut wrong = prompted(&server, &["hsm", "activate"]);
    wrong.type_line("not-the-pin");
    let (status, said) = wrong.end();
    assert!(status.code() == Some(1) && !said.contains("not-the-pin"), "{said}");
    assert_eq!(ask(&server, &["hsm", "info"])["activation"], "waiting");

    // A slip of the finger is taken back.
    let mut right = prompted(&server, &["hsm", "activate", "--reason", "after a restart"]);
    right.type_keys(b"x\x7f");
    right.type_line(&pin);
    let (status, said) = right.end();
    assert!(status.success() && said.contains("The HSM is in service.") && !said.contains(&pin), "{said}");
    assert_eq!(ask(&server, &["hsm", "info"])["activation"], "activated");
    ask(&server, &["key", "generate", &id]);

    ask(&server, &["hsm", "deactivate", "--yes"]);
    assert_eq!(ask(&server, &["hsm", "info"])["activation"], "deactivated");
    assert_eq!(server.admin_api().get("/health/ready").await.status, 503);
    ask(&server, &["hsm", "activate", "--pin-file", server.folder.pin_file().to_str().unwrap()]);
    assert_eq!(ask(&server, &["hsm", "info"])["ready"], true);
    let url = format!("http://{}", server.admin);
    assert!(refusal(&server, 2, &["--server", &url, "hsm", "activate"]).contains("over the socket of the server on this host alone"));

    // Without a server there is nothing to activate; a command that needs the token asks for itself.
    assert!(server.terminate().success());
    assert!(refusal(&server, 1, &["hsm", "activate"]).contains("no server runs on this host"));
    assert!(refusal(&server, 2, &["key", "rollback", &id]).contains("no terminal to ask for the PIN at"));
    let mut direct = prompted(&server, &["hsm", "info"]);
    direct.type_line(&pin);
    let (status, said) = direct.end();
    assert!(status.success() && said.contains("activated") && !said.contains(&pin), "{said}");
    assert!(!server.log().contains(&pin));
}
