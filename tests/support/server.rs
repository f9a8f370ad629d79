//! The real program, in a process of its own, with a token, a database and a folder of its own.
//!
//! Its environment is empty: what it needs is in its configuration file. What it prints is kept, to be searched for secrets.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use passkey_hsm::storage::Store;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::{
    api::{Api, Tenant},
    pty::Terminal,
    softhsm::{SoftHsm, module},
};

/// How long the program gets to serve, or to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// A PostgreSQL URL; `None` is an SQLite file in the server's folder.
    pub database: Option<String>,
    /// `dev` instead of `serve`.
    pub dev: bool,
    /// Lines of TOML for the `[http]` section, such as `body_limit_bytes = 1000`.
    pub http: Vec<String>,
    /// Whether it does what is due with keys.
    pub scheduler: bool,
    /// Lines of TOML for the `[keys]` section, such as `follow_ms = 100`.
    pub keys: Vec<String>,
    /// Lines of TOML for the `[admin]` section, such as `dual_control = "on"`.
    pub admin: Vec<String>,
    /// What is logged.
    pub log_level: &'static str,
    /// Environment of the program, beyond nothing.
    pub env: Vec<(String, String)>,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            database: None,
            dev: false,
            http: Vec::new(),
            scheduler: false,
            keys: Vec::new(),
            admin: Vec::new(),
            log_level: "info",
            env: Vec::new(),
        }
    }
}

/// A running server; it is killed when this is dropped.
pub struct Server {
    /// Everything of this server's, its token too.
    pub folder: SoftHsm,
    spec: ServerSpec,
    /// The PIN of its token: never to be seen in what it prints.
    pub pin: String,
    database: String,
    child: Child,
    log: Arc<Mutex<String>>,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Server {
    /// On SQLite, with nothing unusual.
    pub async fn sqlite() -> Self {
        Self::start(ServerSpec::default()).await
    }

    /// On the PostgreSQL database at `url`.
    pub async fn on(url: &str) -> Self {
        Self::start(ServerSpec { database: Some(url.to_owned()), ..ServerSpec::default() }).await
    }

    /// Makes a token, writes the configuration, migrates, starts the program and waits until it serves.
    pub async fn start(spec: ServerSpec) -> Self {
        let folder = SoftHsm::new();
        let pin = folder.pin().to_owned();
        let database = spec.database.clone().unwrap_or_else(|| format!("sqlite:{}", folder.path().join("data.db").display()));
        fs::write(folder.path().join("passkey-hsm.toml"), configuration(&spec, &folder, &database)).unwrap();
        let migrated = run(folder.path(), &spec.env, &["migrate"]);
        assert!(migrated.status.success(), "migrate: {}", text(&migrated));
        let log = Arc::new(Mutex::new(String::new()));
        let (child, public, admin) = spawn(folder.path(), &spec, &log).await;
        let server = Self { folder, spec, pin, database, child, log, public, admin };
        server.wait_until_ready().await;
        server
    }

    /// Runs the program again with the same token and data, after [`Server::kill`] or [`Server::terminate`].
    pub async fn restart(&mut self) {
        self.restart_unready().await;
        self.wait_until_ready().await;
    }

    /// The same, where something keeps it from ever being ready.
    pub async fn restart_unready(&mut self) {
        self.spec.env.clear();
        (self.child, self.public, self.admin) = spawn(self.folder.path(), &self.spec, &self.log).await;
    }

    /// A second server with the same token and data, ready, which prints into the same log.
    pub async fn beside(&self) -> Beside {
        self.beside_with(self.spec.env.clone()).await
    }

    /// The same with another environment.
    pub async fn beside_with(&self, env: Vec<(String, String)>) -> Beside {
        let spec = ServerSpec { env, ..self.spec.clone() };
        let (child, public, admin) = spawn(self.folder.path(), &spec, &self.log).await;
        let beside = Beside { child, public, admin };
        wait_until_ready(&beside.admin_api()).await;
        beside
    }

    /// Waits until the program says that database, HSM and root secret are there; it listens before that.
    pub async fn wait_until_ready(&self) {
        // The socket speaks no TLS.
        let api = if self.spec.admin.iter().any(|line| line.starts_with("tls_")) { self.local_api() } else { self.admin_api() };
        wait_until_ready(&api).await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Waits until the program has ended by itself, as at a failpoint.
    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "still running after {PATIENCE:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and how the program ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its signer processes.
    pub fn signers(&self) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
        let children = children.collect::<Vec<_>>().join(" ");
        children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// All that the program has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The base URL of the public listener, by the name that browsers treat as secure.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.public.port())
    }

    /// Both listeners, over HTTP.
    pub fn api(&self) -> Api {
        Api::new(&self.url())
    }

    pub fn admin_api(&self) -> Api {
        Api::new(&format!("http://{}", self.admin))
    }

    /// The Unix socket of its admin API.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("passkey-hsm.sock")
    }

    /// The admin API over the Unix socket, for whoever is not otherwise known.
    pub fn local_api(&self) -> Api {
        Api::over_socket(&self.socket())
    }

    /// The admin API over the network for a new administrator of this role, with a token made over the socket.
    pub async fn admin_as(&self, role: &str, tenants: &[&str]) -> Api {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let new = serde_json::json!({"name": format!("{role} {number}"), "role": role, "tenants": tenants});
        let made = self.local_api().post("/admin_tokens", new.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        self.admin_api().with_token(made.json()["token"].as_str().unwrap())
    }

    /// One command of the program, with this server's configuration.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_with(&[], args)
    }

    /// The same with something in its environment.
    pub fn cli_with(&self, env: &[(&str, &str)], args: &[&str]) -> Output {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        run(self.folder.path(), &env, args)
    }

    /// The same with these bytes on its standard input.
    pub fn cli_fed(&self, input: &[u8], env: &[(&str, &str)], args: &[&str]) -> Output {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        fed(command(self.folder.path(), &env).args(args), input)
    }

    /// The same at a terminal.
    pub fn at_terminal(&self, args: &[&str]) -> Terminal {
        Terminal::start(command(self.folder.path(), &[("TERM".to_owned(), "xterm".to_owned())]).args(args))
    }

    /// The same, started and not waited for; what it prints is kept.
    pub fn begin(&self, args: &[&str]) -> Child {
        let mut command = command(self.folder.path(), &[]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A tenant for `http://localhost:8000` made on the command line, with its first API key.
    pub fn create_tenant(&self, spec: &TenantSpec) -> Tenant {
        self.create_tenant_with(&[], spec)
    }

    /// The same with something in the command's environment.
    pub fn create_tenant_with(&self, env: &[(&str, &str)], spec: &TenantSpec) -> Tenant {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let config = self.folder.path().join(format!("tenant-{number}.json"));
        fs::write(&config, spec.config().to_string()).unwrap();
        let (name, file) = (format!("Tenant {number}"), config.to_str().unwrap());
        let args = ["--json", "tenant", "create", "--name", &name, "--tenant-config", file, "--algorithm", spec.algorithm];
        let output = self.cli_with(env, &args);
        assert!(output.status.success(), "tenant create: {}", text(&output));
        let made: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
        Tenant::new(self.api(), &made, &spec.rp_id, &spec.origins[0])
    }

    /// The database, past the server.
    pub async fn store(&self) -> Store {
        Store::open(&self.database, 2).await.unwrap()
    }

    /// How many rows a table has, read past the server.
    pub async fn count(&self, table: &str) -> i64 {
        let statement = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        if self.spec.database.is_some() {
            sqlx::query_scalar(statement).fetch_one(&mut PgConnection::connect(&self.database).await.unwrap()).await.unwrap()
        } else {
            sqlx::query_scalar(statement).fetch_one(&mut SqliteConnection::connect(&self.database).await.unwrap()).await.unwrap()
        }
    }

    /// Changes the database behind the server's back. Returns how many rows that touched.
    pub async fn execute(&self, statement: &'static str) -> u64 {
        if self.spec.database.is_some() {
            let done = sqlx::query(statement).execute(&mut PgConnection::connect(&self.database).await.unwrap()).await;
            done.unwrap().rows_affected()
        } else {
            let done = sqlx::query(statement).execute(&mut SqliteConnection::connect(&self.database).await.unwrap()).await;
            done.unwrap().rows_affected()
        }
    }
}

async fn wait_until_ready(admin: &Api) {
    let started = Instant::now();
    loop {
        let answer = admin.get("/health/ready").await;
        if answer.status == 200 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "not ready after {PATIENCE:?}: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A server beside another one; it is killed when this is dropped. See [`Server::beside`].
pub struct Beside {
    child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Beside {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    pub fn api(&self) -> Api {
        Api::new(&format!("http://localhost:{}", self.public.port()))
    }

    pub fn admin_api(&self) -> Api {
        Api::new(&format!("http://{}", self.admin))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the server said")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- what the server printed ---\n{}", self.log());
        }
    }
}

/// What a tenant is made with.
#[derive(Debug, Clone)]
pub struct TenantSpec {
    pub algorithm: &'static str,
    pub rp_id: String,
    pub origins: Vec<String>,
    pub allowed_origins: Vec<&'static str>,
    pub timeout: u32,
    pub user_verification: &'static str,
    pub attestation: &'static str,
    /// What the contract does not know: members of `settings`.
    pub settings: Value,
}

impl Default for TenantSpec {
    fn default() -> Self {
        Self {
            algorithm: "ES256",
            rp_id: "localhost".to_owned(),
            origins: vec!["http://localhost:8000".to_owned()],
            allowed_origins: vec!["http://localhost:8000"],
            timeout: 60_000,
            user_verification: "preferred",
            attestation: "direct",
            settings: serde_json::json!({}),
        }
    }
}

impl TenantSpec {
    fn config(&self) -> Value {
        serde_json::json!({
            "cors": {"allowed_origins": self.allowed_origins, "allow_unsafe_wildcard": false},
            "webauthn": {
                "relying_party": {"id": self.rp_id, "display_name": "Example", "origins": self.origins},
                "timeout": self.timeout,
                "user_verification": self.user_verification,
                "attestation_preference": self.attestation,
                "resident_key_requirement": "preferred",
            },
            "settings": self.settings,
        })
    }
}

fn configuration(spec: &ServerSpec, folder: &SoftHsm, database: &str) -> String {
    // `dev` serves a page, whose origin has to be known before it starts; everything else takes any port.
    let port = if spec.dev { free_port() } else { 0 };
    let mut text = format!(
        "[database]\nurl = {database:?}\n\n[http]\npublic_address = \"127.0.0.1:{port}\"\nadmin_address = \"127.0.0.1:0\"\n\
         public_url = \"http://localhost:{port}\"\n"
    );
    for line in &spec.http {
        writeln!(text, "{line}").unwrap();
    }
    // A path is written as a TOML string; these have nothing to escape but what Rust escapes alike.
    let string = |path: PathBuf| format!("{:?}", path.to_str().unwrap());
    writeln!(text, "\n[hsm]\nmodule = {}\ntoken_label = \"passkey-test\"", string(module())).unwrap();
    writeln!(text, "pin_file = {}\nenv = {{ SOFTHSM2_CONF = {} }}", string(folder.pin_file()), string(folder.conf())).unwrap();
    writeln!(text, "\n[keys]\nscheduler = {:?}", if spec.scheduler { "on" } else { "off" }).unwrap();
    for line in &spec.keys {
        writeln!(text, "{line}").unwrap();
    }
    writeln!(text, "\n[admin]").unwrap();
    for line in &spec.admin {
        writeln!(text, "{line}").unwrap();
    }
    writeln!(text, "\n[log]\nformat = \"json\"\nlevel = {:?}", spec.log_level).unwrap();
    text
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_passkey-hsm"))
}

fn command(folder: &Path, env: &[(String, String)]) -> Command {
    let mut command = Command::new(program());
    command.env_clear().envs(env.iter().cloned()).current_dir(folder).arg("--config").arg(folder.join("passkey-hsm.toml"));
    command
}

fn run(folder: &Path, env: &[(String, String)], args: &[&str]) -> Output {
    command(folder, env).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command with these bytes on its standard input, which it need not read to their end.
pub fn fed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).is_ok());
        child.wait_with_output().unwrap()
    })
}

/// Both of a process's outputs, for a panic to show.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Starts the program and waits until it has written where it listens.
async fn spawn(folder: &Path, spec: &ServerSpec, log: &Arc<Mutex<String>>) -> (Child, SocketAddr, SocketAddr) {
    let ready_file = folder.join("ready.json");
    let _ = fs::remove_file(&ready_file);
    let mut child = command(folder, &spec.env)
        .arg(if spec.dev { "dev" } else { "serve" })
        .arg("--ready-file")
        .arg(&ready_file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    keep(child.stdout.take().unwrap(), log);
    keep(child.stderr.take().unwrap(), log);
    let started = Instant::now();
    loop {
        let written = fs::read(&ready_file).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        if let Some(ready) = written {
            let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
            return (child, address("public"), address("admin"));
        }
        let ended = child.try_wait().unwrap();
        if ended.is_some() || started.elapsed() > PATIENCE {
            let _ = child.kill();
            std::thread::sleep(Duration::from_millis(100));
            panic!("the server does not serve ({ended:?}):\n{}", log.lock().unwrap());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Collects what a process prints.
fn keep(stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&String::from_utf8_lossy(&line));
            log.push('\n');
        }
    });
}
