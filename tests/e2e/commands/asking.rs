//! What is asked before something is ended, and who answers.

use super::{ask, keys::tenant, refusal};
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ended_that_nobody_agreed_to() {
    let server = Server::sqlite().await;
    let tenant = tenant(&server);
    let (id, kid) = (tenant.id.as_str(), tenant.kid.as_str());
    let ending = [
        &["key", "compromise", kid][..],
        &["key", "destroy", kid],
        &["key", "retire", kid],
        &["key", "suspend", kid],
        &["key", "rotate", id, "--emergency"],
        &["key", "rotate", "--all"],
        &["tenant", "delete", id],
        &["hsm", "deactivate"],
    ];
    for command in ending {
        let said = refusal(&server, 2, command);
        assert!(said.contains("say --yes"), "{command:?}: {said}");
    }
    assert_eq!(ask(&server, &["key", "show", kid])["state"], "active");

    // At a terminal: what will happen is said first, and only the right answer goes on.
    for answer in ["", "y", "00000000", kid[..7].to_owned().as_str()] {
        let mut terminal = server.at_terminal(&["key", "compromise", kid]);
        terminal.wait_for("Type the first 8 characters of the kid to go on: ");
        let said = terminal.shown();
        for part in [kid, id, "active", "signs since", "1 s (JWKS max-age)", "leaves the JWKS at once", "503"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        terminal.type_line(answer);
        let (status, said) = terminal.end();
        assert_eq!((status.code(), said.contains("nothing was done")), (Some(1), true), "{answer}: {said}");
    }
    let mut terminal = server.at_terminal(&["key", "suspend", kid]);
    terminal.wait_for("Go on? [y/N] ");
    terminal.type_line("");
    assert_eq!(terminal.end().0.code(), Some(1));
    assert_eq!(ask(&server, &["key", "show", kid])["state"], "active");

    let mut terminal = server.at_terminal(&["key", "compromise", kid]);
    terminal.wait_for("to go on: ");
    terminal.type_line(&kid[..8]);
    let (status, said) = terminal.end();
    assert!(status.success(), "{said}");
    assert_eq!(ask(&server, &["key", "show", kid])["state"], "compromised");
}
