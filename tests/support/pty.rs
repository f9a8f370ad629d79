//! A terminal with a person at it: a command asks, and is answered.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

/// How long a command gets to say what it is waited for to say.
const PATIENCE: Duration = Duration::from_mins(1);

/// A command at a terminal of its own; it is killed when this is dropped.
pub struct Terminal {
    master: File,
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts `command` with all its streams on the terminal.
    pub fn start(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || File::from(open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        // The command's own copies are the last ones now: its end is the terminal's.
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, seen) = (master.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut chunk) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        });
        Self { master, child, shown }
    }

    /// All that the terminal has shown so far.
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until the terminal shows `text`.
    pub fn wait_for(&mut self, text: &str) {
        let started = Instant::now();
        while !self.shown().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "{text:?} is not shown ({ended:?}): {}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.master).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Types a line.
    pub fn type_line(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).and_then(|()| self.master.write_all(b"\n")).unwrap();
    }

    /// Types keys as they are.
    pub fn type_keys(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    /// SIGINT, as Ctrl-C would send.
    pub fn interrupt(&self) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    }

    /// Waits until the command has ended.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the command does not end: {}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How the command ended, and all that was shown.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.wait_for_end();
        // What was written last is read a moment later.
        std::thread::sleep(Duration::from_millis(50));
        (status, self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
