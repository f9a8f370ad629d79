//! What costs a client little must not cost the server much, and what a client chose must not reach where it means something else.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{
    engines,
    support::{
        api::Answer,
        authenticator::Format,
        ceremonies::Kind,
        keys::Algorithm,
        postgres::Server as Postgres,
        server::{Server, ServerSpec, TenantSpec},
    },
};

engines! { clients_that_leave_take_nothing_with_them, one_credential_for_many_users, strangers_do_not_drown_backends }

/// Sends `request` and reads until the server closes the connection, or sends no more for a while.
async fn exchange(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    stream.write_all(request).await.unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(n @ 1..)) = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut part)).await {
        answer.extend_from_slice(&part[..n]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A method is any word: one that the metrics remembered for ever would be memory that anybody can take.
#[tokio::test]
async fn invented_methods_leave_nothing_behind() {
    let server = Server::sqlite().await;
    for n in 0..50 {
        let method = Method::from_bytes(format!("INVENTED{n}").as_bytes()).unwrap();
        assert_eq!(Answer::to(server.api().request(method, "/")).await.status, 405);
    }
    let metrics = server.admin_api().get("/metrics").await.body;
    assert!(metrics.contains("http_requests_total") && !metrics.contains("INVENTED"), "{metrics}");
}

/// Whoever asks and asks and never takes the answers holds a place; it is given to somebody else.
#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let http = ["header_timeout_ms = 500", "max_connections = 1"].map(str::to_owned).to_vec();
    let server = Server::start(ServerSpec { http, ..ServerSpec::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut deaf = socket.connect(server.public).await.unwrap();
    let request = format!("GET /x HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {}\r\n\r\n", "x".repeat(20_000));
    // Answers pile up until the server cannot get rid of them and reads no more.
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(300), deaf.write_all(request.as_bytes())).await {}
    let begun = Instant::now();
    let next = tokio::time::timeout(Duration::from_secs(10), server.api().get("/")).await;
    assert!(next.is_ok_and(|answer| answer.status == 200), "the only place is still taken after {:?}", begun.elapsed());
}

/// RFC 9112 section 3.2: a request without a host, or with two, is read differently by different hops.
#[tokio::test]
async fn a_request_has_one_host() {
    let server = Server::sqlite().await;
    for (hosts, status) in [("", 400), ("Host: a\r\nHost: b\r\n", 400), ("Host: a\r\nHost: a\r\n", 400), ("Host: a\r\n", 200)] {
        let answer = exchange(&server, format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{hosts:?}: {answer}");
        assert!(status == 200 || answer.contains(r#","status":400}"#), "{hosts:?}: {answer}");
    }
    assert!(exchange(&server, b"GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
}

/// A name that an attacker's DNS points here makes the attacker's page one of ours to the browser: it must not be served what has no key.
#[tokio::test]
async fn the_development_page_goes_by_its_own_names_only() {
    let server = Server::start(ServerSpec { dev: true, ..ServerSpec::default() }).await;
    let port = server.public.port();
    let ask = async |method: Method, path: &str, host: &str| {
        let request = server.api().request(method, path).header("Host", host).header("Content-Type", "application/json");
        Answer::to(request.body(r#"{"username":"ann"}"#)).await
    };
    for host in
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:80", "localhost@evil.example", "192.0.2.1"]
    {
        for (method, path) in [(Method::GET, "/"), (Method::GET, "/dev/info"), (Method::POST, "/dev/register/initialize")] {
            ask(method, path, host).await.problem(421, "Misdirected Request");
        }
    }
    assert_eq!(server.count("ceremonies").await, 0);
    for host in
        [format!("localhost:{port}"), "LOCALHOST".to_owned(), format!("127.0.0.1:{port}"), "[::1]:9".to_owned(), "a.localhost".to_owned()]
    {
        assert_eq!(ask(Method::GET, "/dev/info", &host).await.status, 200, "{host}");
    }
    for (method, path) in [(Method::POST, "/"), (Method::PUT, "/dev/info"), (Method::GET, "/dev/register/initialize")] {
        ask(method, path, "localhost").await.problem(405, "Method Not Allowed");
    }
}

/// A body that says that it is too long is refused for what it says.
#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_at_once() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", tenant.path("/registration/finalize"));
    let answer = exchange(&server, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains(r#""status":413}"#), "{answer:?}");
}

/// What a client wrote comes back cut and escaped, and is one line in the log.
#[tokio::test]
async fn echoes_are_short_and_harmless() {
    let mut server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let name = "k".repeat(50_000);
    for body in [format!(r#"{{"{name}":1,"{name}":1}}"#), format!(r#""{name}""#)] {
        let details = tenant.initialize(body).await.problem(400, "unable to process request");
        assert!(details.len() < 1500, "{} bytes come back", details.len());
    }
    let details = tenant.initialize(r#"{"a\n\u001b[31m":1,"a\n\u001b[31m":1}"#).await.problem(400, "unable to process request");
    assert!(!details.contains(['\n', '\u{1b}']), "{details:?}");
    tenant.get(&format!("/{}", "p".repeat(20_000))).await.problem(400, "tenant_id must be a valid uuid4");
    assert!(server.terminate().success());
    let log = server.log();
    assert!(log.lines().all(|line| line.len() < 4000), "a line of the log has {:?} bytes", log.lines().map(str::len).max());
}

/// Clients that leave while their registration is finished: nothing is half done, and no place in the signing queue is lost.
async fn clients_that_leave_take_nothing_with_them(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let (mut bodies, gone) = (Vec::new(), 100);
    for n in 0..gone {
        let body = tenant.draft(&format!("u{n}"), Format::None, Algorithm::Es256).await.body().to_string();
        let path = tenant.path("/registration/finalize");
        let mut stream = TcpStream::connect(server.public).await.unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_micros(n * 40)).await;
        drop(stream);
        bodies.push(body);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stored = server.count("credentials").await;
    let mut tokens = 0;
    for body in bodies {
        let answer = tenant.finalize(body).await;
        match answer.status {
            200 => tokens += 1,
            _ => drop(answer.problem(400, "received challenge does not match with any stored one")),
        }
    }
    assert!(server.admin_api().get("/metrics").await.body.contains(r#"status="none""#), "who left is not counted");
    // Each registration was finished once: behind the client's back, or now.
    assert_eq!(stored + tokens, i64::try_from(gone).unwrap(), "{stored} stored while their clients left");
    assert_eq!(server.count("credentials").await, i64::try_from(gone).unwrap());
}

/// Whatever a client calls its request, the log and the audit trail have that name: one that they cannot hold is not taken.
#[tokio::test]
async fn a_request_id_is_what_the_log_says() {
    let mut server = Server::sqlite().await;
    let mut names = Vec::new();
    for id in [&b"caf\xe9"[..], b"\x9b31m", b"a\tb\xff"] {
        let head = [b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: ", id, b"\r\n\r\n"].concat();
        let answer = exchange(&server, &head).await;
        let ours = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        assert!(ours.len() == 32 && ours.chars().all(|c| c.is_ascii_alphanumeric()), "{ours:?}");
        names.push(ours.to_owned());
    }
    assert!(server.terminate().success());
    let log = server.log();
    assert!(names.iter().all(|name| log.contains(name)), "{names:?}");
}

/// One credential id, claimed under as many challenges by as many users at once: one has it, the others are told, and no challenge is left.
async fn one_credential_for_many_users(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let mut bodies = Vec::new();
    for n in 0..12 {
        let mut draft = tenant.draft(&format!("u{n}"), Format::PackedSelf, Algorithm::Es256).await;
        draft.credential_id = vec![7; 32];
        bodies.push(draft.body().to_string());
    }
    let answers = futures::future::join_all(bodies.iter().map(|body| tenant.finalize(body.clone()))).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1, "{answers:?}");
    for answer in bad {
        assert_eq!(answer.problem(400, "failed to validate attestation"), "the credential is already registered");
    }
    assert_eq!((server.count("credentials").await, server.count("ceremonies").await), (1, 0));
}

/// The audit log has so much room for what strangers send; what a backend is refused has its own.
async fn strangers_do_not_drown_backends(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let mut forged = tenant.assertion(Kind::Login, "", &passkey).await;
    forged.client_data["challenge"] = json!("A".repeat(43));
    let (path, body) = (tenant.path("/login/finalize"), forged.text());
    for _ in 0..8 {
        let many: Vec<_> = (0..25).map(|_| tenant.post(&path, body.clone())).collect();
        for answer in futures::future::join_all(many).await {
            answer.problem(401, "failed to get session data");
        }
    }
    let recorded = async |event: &str| server.count(&format!("audit_events WHERE event_type = '{event}'")).await;
    let strangers = recorded("webauthn_authentication_final_failed").await;
    assert!((100..200).contains(&strangers), "{strangers} of 200 were recorded");
    tenant.initialize("{}").await.problem(400, "unable to validate request");
    assert_eq!(recorded("webauthn_registration_init_failed").await, 1);
    let unknown = tenant.draft("bob", Format::None, Algorithm::Es256).await.body().to_string();
    tenant.end(Kind::MfaRegistration, unknown).await.problem(400, "received challenge does not match with any stored one");
    assert_eq!(recorded("mfa_registration_final_failed").await, 1);
}

/// What is refused is not signed for: while the database takes its time to write that down, others sign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_keeps_nobody_from_signing() {
    let url = Postgres::shared().empty_database().await;
    let env = vec![("PASSKEY_HSM_HSM__MAX_IN_FLIGHT".to_owned(), "1".to_owned())];
    let server = Server::start(ServerSpec { database: Some(url.clone()), env, ..ServerSpec::default() }).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let draft = tenant.draft("bob", Format::None, Algorithm::Es256).await.body().to_string();
    let mut forged = tenant.assertion(Kind::Login, "", &passkey).await;
    forged.signature = Some(forged.key.sign(b"something else"));

    let mut lock = Postgres::connect(&url).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE used_challenges IN SHARE MODE").execute(&mut lock).await.unwrap();
    let path = tenant.path("/login/finalize");
    let refused = tenant.post(&path, forged.text());
    let signed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answer = tenant.finalize(draft).await;
        sqlx::raw_sql("COMMIT").execute(&mut lock).await.unwrap();
        answer
    };
    let (refused, signed) = futures::join!(refused, signed);
    signed.token();
    refused.problem(401, "failed to validate assertion");
}
