//! TLS of the admin listener, and client certificates in each mode.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use reqwest::Method;
use serde_json::json;

use super::{nobody, text, unauthorized};
use crate::support::{
    api::{Answer, Api},
    server::{Server, ServerSpec},
    softhsm::SoftHsm,
    tls::{Authority, Issued, Use},
};

/// A server that speaks TLS, its own authority, and that of its clients.
struct Bench {
    server: Server,
    root: Authority,
    clients: Authority,
    /// Where the certificates are: longer than the server lives.
    _folder: SoftHsm,
}

impl Bench {
    async fn start(authentication: &str, more: &[&str]) -> Self {
        let folder = SoftHsm::new();
        let file = |name: &str| folder.path().join(name);
        let (root, clients) = (Authority::new("Example Servers"), Authority::new("Example Administrators"));
        root.issue("localhost", Use::Server).write(&file("server.pem"), &file("server.key"));
        clients.write(&file("clients.pem"));
        let mut admin = vec![
            format!("tls_certificate = {:?}", file("server.pem").to_str().unwrap()),
            format!("tls_key = {:?}", file("server.key").to_str().unwrap()),
            format!("authentication = {authentication:?}"),
        ];
        if authentication != "token" {
            admin.push(format!("client_ca = {:?}", file("clients.pem").to_str().unwrap()));
        }
        admin.extend(more.iter().map(|line| (*line).to_owned()));
        let http = vec!["header_timeout_ms = 1000".to_owned()];
        let server = Server::start(ServerSpec { http, admin, ..ServerSpec::default() }).await;
        Self { server, root, clients, _folder: folder }
    }

    fn api(&self, shown: Option<&Issued>) -> Api {
        Api::with(&format!("https://{}", self.server.admin), |client| {
            let client = client.tls_certs_only([self.root.trusted()]);
            if let Some(shown) = shown { client.identity(shown.identity()) } else { client }
        })
    }

    async fn register(&self, name: &str, certificate: &Issued) -> String {
        let pem = String::from_utf8(certificate.certificate.clone()).unwrap();
        let made =
            self.server.local_api().post("/admin_tokens", json!({"name": name, "role": "auditor", "certificate": pem}).to_string()).await;
        assert_eq!((made.status, made.json()["token"].is_null()), (201, true), "{}", made.body);
        assert_eq!(text(&made.json(), "kind"), "certificate");
        text(&made.json(), "id")
    }

    /// A token of an auditor's.
    async fn token(&self) -> String {
        let made = self.server.local_api().post("/admin_tokens", r#"{"name":"token","role":"auditor"}"#).await;
        text(&made.json(), "token")
    }
}

/// Whether the handshake fails; the client of TLS 1.3 hears of it when it asks.
async fn is_cut(api: &Api) -> bool {
    api.request(Method::GET, "/health/alive").send().await.is_err()
}

#[tokio::test]
async fn tls_and_nothing_else_is_spoken() {
    let bench = Bench::start("token", &[]).await;
    let token = bench.token().await;
    assert_eq!(bench.api(None).with_token(&token).get("/admin_tokens").await.status, 200);
    nobody(&bench.api(None), "/admin_tokens").await;
    // A certificate that was not asked for is not looked at.
    nobody(&bench.api(Some(&bench.clients.issue("ann", Use::Client))), "/admin_tokens").await;
    assert!(Api::new(&format!("http://{}", bench.server.admin)).request(Method::GET, "/health/alive").send().await.is_err());
    for (version, is_spoken) in [(SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true), (SslVersion::TLS1_3, true)] {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        // Or the client itself would refuse what is old.
        connector.set_cipher_list("DEFAULT@SECLEVEL=0").unwrap();
        connector.set_min_proto_version(Some(version)).unwrap();
        connector.set_max_proto_version(Some(version)).unwrap();
        let spoken = connector.build().connect("localhost", TcpStream::connect(bench.server.admin).unwrap());
        assert_eq!(spoken.is_ok(), is_spoken, "{version:?}");
    }
}

#[tokio::test]
async fn tokens_in_the_clear_are_warned_of() {
    let everywhere = |admin: Vec<String>| ServerSpec {
        env: vec![("PASSKEY_HSM_HTTP__ADMIN_ADDRESS".to_owned(), "0.0.0.0:0".to_owned())],
        admin,
        ..ServerSpec::default()
    };
    let warning = "can be reached from other hosts and speaks no TLS";
    super::logged(&Server::start(everywhere(Vec::new())).await, warning).await;
    let folder = SoftHsm::new();
    let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    Authority::new("Example Servers").issue("localhost", Use::Server).write(&certificate, &key);
    let admin = vec![format!("tls_certificate = {:?}", certificate.to_str().unwrap()), format!("tls_key = {:?}", key.to_str().unwrap())];
    let server = Server::start(everywhere(admin)).await;
    super::logged(&server, "listening on").await;
    assert!(!server.log().contains(warning));
    // A file that is wrong is found before anything is served.
    drop(std::fs::write(&certificate, "nothing"));
    let ready = server.folder.path().join("second.json");
    let refused = server.cli(&["serve", "--ready-file", ready.to_str().unwrap()]);
    let said = crate::support::server::text(&refused);
    assert!(!refused.status.success() && said.contains("server.pem holds no certificate in PEM"), "{said}");
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let bench = Bench::start("token", &[]).await;
    let started = Instant::now();
    for begun in [&b""[..], b"\x16\x03\x01"] {
        let mut silent = TcpStream::connect(bench.server.admin).unwrap();
        silent.write_all(begun).unwrap();
        silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(matches!(silent.read(&mut [0; 100]), Ok(0) | Err(_)));
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
    // Neither at a stop.
    let _silent = TcpStream::connect(bench.server.admin).unwrap();
    let (mut bench, stopping) = (bench, Instant::now());
    assert!(bench.server.terminate().success());
    assert!(stopping.elapsed() < Duration::from_secs(8), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn a_certificate_says_who_it_is() {
    let bench = Bench::start("certificate", &[r#"cors_origins = ["https://console.example"]"#]).await;
    let certificate = bench.clients.issue("ann", Use::Client);
    let ann = bench.api(Some(&certificate));
    assert_eq!(nobody(&ann, "/admin_tokens").await, "the client certificate is not registered, or is revoked or expired");
    let id = bench.register("ann", &certificate).await;
    let rows = ann.get("/admin_tokens").await.json();
    assert_eq!(text(&rows[0], "name"), "ann");
    assert_eq!(ann.post("/admin_tokens", "{}").await.problem(403, "Forbidden"), "the role auditor does not have change-admins");

    let token = bench.token().await;
    assert_eq!(nobody(&bench.api(None).with_token(&token), "/admin_tokens").await, "a TLS client certificate is needed");
    // Monitoring has neither.
    assert_eq!(bench.api(None).get("/health/alive").await.status, 200);
    for unknown in [
        Authority::new("Example Administrators").issue("ann", Use::Client),
        bench.clients.issue_until("ann", Use::Client, 1_600_000_000),
        bench.clients.issue("ann", Use::Server),
    ] {
        assert!(is_cut(&bench.api(Some(&unknown))).await);
    }
    // A browser shows the certificate for whichever page asks.
    for (origin, is_served) in [("https://console.example", true), ("https://evil.example", false), ("null", false)] {
        let answer = Answer::to(ann.request(Method::GET, "/admin_tokens").header("Origin", origin)).await;
        assert_eq!(answer.status == 200, is_served, "{origin}");
        assert!(is_served || unauthorized(&answer) == "the page is of no origin in admin.cors_origins");
    }
    // On a connection that is open, too.
    assert_eq!(bench.server.local_api().delete(&format!("/admin_tokens/{id}")).await.status, 204);
    nobody(&ann, "/admin_tokens").await;
    let pem = String::from_utf8(certificate.certificate.clone()).unwrap();
    let again = json!({"name": "ann 2", "role": "admin", "certificate": pem}).to_string();
    let again = bench.server.local_api().post("/admin_tokens", again).await;
    again.problem(409, "there is or was an administrator named ann 2, or one with that certificate");
}

#[tokio::test]
async fn either_will_do() {
    let bench = Bench::start("either", &[]).await;
    let (ann, unregistered) = (bench.clients.issue("ann", Use::Client), bench.clients.issue("bob", Use::Client));
    bench.register("ann", &ann).await;
    let token = bench.token().await;
    assert_eq!(bench.api(Some(&ann)).get("/admin_tokens").await.status, 200);
    assert_eq!(bench.api(None).with_token(&token).get("/admin_tokens").await.status, 200);
    assert_eq!(nobody(&bench.api(None), "/admin_tokens").await, "an admin token or a TLS client certificate is needed");
    // Where both are shown the token says who it is: a bad one is not made good by the certificate.
    assert_eq!(bench.api(Some(&unregistered)).with_token(&token).get("/admin_tokens").await.status, 200);
    let refused = bench.api(Some(&ann)).with_token(&token.replace(&token[20..24], "AAAA"));
    assert_eq!(nobody(&refused, "/admin_tokens").await, "the admin token is unknown, revoked or expired");
    let foreign = Authority::new("Example Administrators").issue("ann", Use::Client);
    assert!(is_cut(&bench.api(Some(&foreign)).with_token(&token)).await);
}

#[tokio::test]
async fn both_are_needed() {
    let bench = Bench::start("both", &[]).await;
    let ann = bench.clients.issue("ann", Use::Client);
    bench.register("ann", &ann).await;
    let token = bench.token().await;
    let why = "an admin token and a TLS client certificate are needed";
    assert_eq!(nobody(&bench.api(Some(&ann)), "/admin_tokens").await, why);
    assert_eq!(nobody(&bench.api(None).with_token(&token), "/admin_tokens").await, why);
    assert_eq!(bench.api(Some(&ann)).with_token(&token).get("/admin_tokens").await.status, 200);
    let foreign = Authority::new("Example Administrators").issue("ann", Use::Client);
    assert!(is_cut(&bench.api(Some(&foreign)).with_token(&token)).await);
}
