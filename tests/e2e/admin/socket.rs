//! The Unix socket: whose it is, and what dual control leaves of it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

use reqwest::Method;
use rustix::process::geteuid;
use serde_json::json;

use crate::support::server::{Server, ServerSpec};

#[tokio::test]
async fn the_socket_is_the_servers_users_own() {
    let mut server = Server::sqlite().await;
    assert_eq!(fs::metadata(server.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.local_api().get("/admin_tokens").await.status, 200);
    assert_eq!(server.local_api().get("/health/alive").await.status, 200);
    // One beside it leaves it alone, says so, and serves.
    let beside = server.beside().await;
    super::logged(&server, "another server answers at").await;
    drop(beside);
    assert_eq!(server.local_api().get("/admin_tokens").await.status, 200);
    // What a killed server leaves is replaced; who stops in order leaves nothing.
    server.kill();
    assert!(server.socket().exists());
    server.restart().await;
    assert_eq!(server.local_api().get("/admin_tokens").await.status, 200);
    assert!(server.terminate().success());
    assert!(!server.socket().exists());
}

/// Says what a user who is not the server's gets from the socket, were the file's mode wrong.
#[tokio::test]
async fn another_user_gets_nothing() {
    if !geteuid().is_root() {
        return;
    }
    let server = Server::sqlite().await;
    let opened = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    opened(server.folder.path(), 0o711);
    opened(&server.socket(), 0o666);
    let script = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0) or die; connect(S, pack_sockaddr_un($ARGV[0])) or die qq(connect: $!); \
                  $SIG{PIPE} = 'IGNORE'; syswrite(S, qq(GET /health/alive HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n)); print <S>";
    let ask = |uid: u32| {
        let output = Command::new("perl").args(["-e", script]).arg(server.socket()).uid(uid).gid(uid).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(ask(0).contains(r#"{"alive":true}"#), "{}", ask(0));
    assert_eq!(ask(65_534), "");
    super::logged(&server, "user 65534 called the admin socket").await;
}

#[tokio::test]
async fn under_dual_control_who_shows_no_token_may_look() {
    let spec = ServerSpec { admin: vec![r#"dual_control = "on""#.to_owned()], ..ServerSpec::default() };
    let server = Server::start(spec).await;
    let local = server.local_api();
    assert_eq!(local.get("/admin_tokens").await.json(), json!([]));
    // Somebody has to be the first; an auditor is not one who could make others.
    let post = async |name: &str, role: &str| local.post("/admin_tokens", json!({"name": name, "role": role}).to_string()).await;
    assert_eq!(post("eve", "auditor").await.status, 201);
    let made = post("ann", "admin").await;
    assert_eq!(made.status, 201);
    let (ann, token) = (super::text(&made.json(), "id"), super::text(&made.json(), "token"));
    assert_eq!(post("bob", "admin").await.problem(403, "Forbidden"), "the role auditor does not have change-admins");
    local.delete(&format!("/admin_tokens/{ann}")).await.problem(403, "Forbidden");
    assert_eq!(local.get("/admin_tokens").await.status, 200);
    // A token says who it is, here too.
    let ann = server.local_api().with_token(&token);
    assert_eq!(ann.send(Method::POST, "/admin_tokens", &json!({"name": "bob", "role": "admin"})).await.status, 201);
    super::nobody(&server.local_api().with_token("phsm_admin_x"), "/admin_tokens").await;
    // But one administrator alone makes no second approver from afar, and so approves nothing of its own by another name.
    let afar = server.admin_api().with_token(&token);
    for role in ["admin", "key-custodian"] {
        let refused = afar.send(Method::POST, "/admin_tokens", &json!({"name": "own second", "role": role})).await;
        assert!(refused.problem(403, "Forbidden").contains("on the server's own host"));
    }
    assert_eq!(afar.send(Method::POST, "/admin_tokens", &json!({"name": "looker", "role": "auditor"})).await.status, 201);
    // When nobody is left who could, the host's user can again.
    server.execute("UPDATE admins SET expires_at = 1").await;
    assert_eq!(post("carol", "admin").await.status, 201);
    post("dave", "admin").await.problem(403, "Forbidden");
}
