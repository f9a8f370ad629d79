//! A PostgreSQL server for one test process: made in a temporary directory, reached through a Unix socket in it, and gone with the
//! process however that ends.
//!
//! A shell stands between: it starts the server and waits for the end of its standard input, a pipe whose other end only the test process
//! holds. When that process exits, panics or is killed, the pipe closes; the shell stops the server and removes the directory.

#![expect(clippy::expect_used, reason = "without the server there are no tests to run")]

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use passkey_hsm::storage::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Whom the server runs as when the tests run as root, which PostgreSQL refuses: nobody.
const NOBODY: u32 = 65534;

/// `fsync` stays on: with the write-ahead log of a throw-away server the whole suite takes no measurably longer.
const SETTINGS: &str = "-c listen_addresses= -c max_connections=300 -c fsync=on -c shared_buffers=32MB";

const WATCHDOG: &str = r#"
    "$@" >"$DIR/log" 2>&1 </dev/null &
    server=$!
    cat >/dev/null
    kill -QUIT $server
    wait $server
    rm -rf "$DIR"
"#;

/// The server of this process.
pub struct Server {
    dir: PathBuf,
    /// Holds the pipe that keeps the server alive.
    _watchdog: Child,
}

impl Server {
    /// The server, started when it is first asked for.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// A new database with the tables in it, and its URL.
    pub async fn database(&self) -> String {
        static MIGRATED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        // A copy of a database is much faster made than its tables. Nobody may be connected to what is copied.
        MIGRATED
            .get_or_init(|| async {
                self.create("template_migrated", "template1").await;
                let store = Store::open(&self.url("template_migrated"), 1).await.expect("the template opens");
                store.migrate().await.expect("the template migrates");
                store.close().await;
            })
            .await;
        self.copy_of("template_migrated").await
    }

    /// A new database without tables, and its URL.
    pub async fn empty_database(&self) -> String {
        self.copy_of("template1").await
    }

    /// A connection that is nobody's but the test's.
    pub async fn connect(url: &str) -> PgConnection {
        PgConnection::connect(url).await.expect("the server of the tests accepts connections")
    }

    async fn copy_of(&self, template: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.create(&name, template).await;
        self.url(&name)
    }

    async fn create(&self, name: &str, template: &str) {
        // One at a time: a template is locked while it is copied.
        static COPYING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _copying = COPYING.lock().await;
        let mut conn = Self::connect(&self.url("postgres")).await;
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.expect("a database is made");
        conn.close().await.expect("the connection closes");
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir.display())
    }

    fn start() -> Self {
        // Short, because the name of a Unix socket has at most 107 bytes.
        let dir = tempfile::Builder::new().prefix("pkhsm-pg.").tempdir_in("/tmp").expect("a temporary directory").keep();
        let bin = binaries();
        let root = rustix::process::geteuid().is_root();
        if root {
            std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).expect("the directory changes hands");
        }
        let data = dir.join("data");
        let initdb = as_nobody(root, &bin.join("initdb"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .expect("initdb starts");
        assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));
        let server = as_nobody(root, &bin.join("postgres"));
        let mut watchdog = Command::new("/bin/sh");
        watchdog.args(["-c", WATCHDOG, "watchdog"]).arg(server.get_program()).args(server.get_args()).arg("-D").arg(&data);
        watchdog.args(SETTINGS.split(' ')).arg("-c").arg(format!("unix_socket_directories={}", dir.display()));
        // A group of its own: what interrupts the tests in a terminal must not reach it before the pipe does.
        watchdog.env("DIR", &dir).current_dir("/").stdin(Stdio::piped()).process_group(0);
        let server = Self { _watchdog: watchdog.spawn().expect("the shell starts"), dir };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        // The last word of this file says whether connections are accepted (PostgreSQL's manual, "Database File Layout").
        let pid_file = self.dir.join("data/postmaster.pid");
        while !fs::read_to_string(&pid_file).is_ok_and(|text| text.trim_end().ends_with("ready")) {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A command that runs as nobody if the tests run as root.
fn as_nobody(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]).arg(program);
    command
}

/// The directory of the server's programs: `POSTGRES_BIN`, else the newest of Debian's, else where PATH says.
fn binaries() -> PathBuf {
    let is_there = |dir: &PathBuf| fs::metadata(dir.join("initdb")).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    let chosen = env::var_os("POSTGRES_BIN").map(PathBuf::from);
    let mut debian: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path()).collect();
    debian.sort_by_key(|dir| dir.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok()));
    let debian = debian.into_iter().rev().map(|dir| dir.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut all = chosen.into_iter().chain(debian).chain(env::split_paths(&path));
    all.find(is_there)
        .expect("PostgreSQL's server programs: install the package postgresql, or set POSTGRES_BIN to the directory of initdb")
}
