//! Points at which a test kills the process, as a power cut or `kill -9` would.
//!
//! Without the `failpoints` feature, which no release has, every function here is empty. With it, the environment variable
//! `PASSKEY_HSM_FAILPOINT` names one point, and the first time it is reached the process sends itself SIGKILL: nothing is flushed, no
//! destructor runs. Names are `layer.place` with the unit of work where several pass there, such as `storage.before_commit.registration`.

/// Dies here if the environment names this point.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn hit(_name: &str) {}

/// Dies here if the environment names this point.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    static CHOSEN: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| std::env::var("PASSKEY_HSM_FAILPOINT").ok());
    if CHOSEN.as_deref() == Some(name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way: not one step further.
        loop {
            std::thread::park();
        }
    }
}

/// [`hit`] for a point that several units of work pass: the name is `point.unit`, put together only where it can matter.
#[inline]
pub fn hit_in(point: &str, unit: &str) {
    if cfg!(feature = "failpoints") {
        hit(&format!("{point}.{unit}"));
    }
}
