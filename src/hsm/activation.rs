//! Taking the HSM into service and out of it by hand: who may start signer processes, and with which PIN.

use std::io::PipeReader;

use tokio::time::timeout;

use super::{
    Activation, Error, Signer, SignerCommand,
    connection::lock,
    keeper::{Keeper, MAX_PIN},
    process::{Ending, Process},
    signer::{EXIT_CONFIGURATION, EXIT_PIN},
    supervisor::Shared,
};
use crate::domain::Pin;

/// Whether signer processes are started.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) activation: Activation,
    /// Why none is started, where that is not for [`Gate::activation`] alone to say: the PIN was refused, or its keeper is gone.
    pub(super) closed: Option<String>,
    /// Those that run have to end.
    pub(super) ending: bool,
}

impl Gate {
    /// As a server finds it when it starts.
    pub(super) fn new(operator: bool) -> Self {
        let activation = if operator { Activation::Waiting } else { Activation::Automatic };
        Self { activation, closed: None, ending: false }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none() && matches!(self.activation, Activation::Automatic | Activation::Activated)
    }

    /// What to tell one who waits for a process to come up, and cannot be helped by waiting.
    pub(super) fn refusal(&self) -> Option<Error> {
        match (self.activation, &self.closed) {
            (Activation::Automatic | Activation::Activated, None) => None,
            (Activation::Automatic | Activation::Activated, Some(why)) => Some(Error::PinRefused(why.clone())),
            (Activation::Waiting | Activation::Deactivated, _) => Some(Error::NotActivated(self.advice())),
        }
    }

    fn advice(&self) -> String {
        let state = self.activation.advice().unwrap_or_default();
        self.closed.as_ref().map_or_else(|| state.to_owned(), |why| format!("{state} ({why})"))
    }
}

/// The PIN for a process that is about to start.
pub(super) enum Handed {
    /// The process finds it where the configuration says.
    Configured,
    /// It comes through this pipe.
    Pipe(PipeReader),
    /// There is none.
    Nothing,
}

impl Shared {
    /// Whether signer processes are started now.
    pub(super) fn is_open(&self) -> bool {
        self.gate.borrow().is_open()
    }

    pub(super) async fn opened(&self) {
        let _ = self.gate.subscribe().wait_for(Gate::is_open).await;
    }

    /// Waits until the processes that run have to end, though this server goes on.
    pub(super) async fn deactivated(&self) {
        let _ = self.gate.subscribe().wait_for(|gate| gate.ending).await;
    }

    fn change_gate(&self, change: impl FnOnce(&mut Gate)) {
        self.gate.send_modify(change);
        self.pool.notify();
    }

    /// The token refused the PIN. Before the next process gets its turn: it is not tried again.
    pub(super) fn refused(&self, why: &str) {
        drop(lock(&self.keeper).take());
        self.change_gate(|gate| {
            gate.closed.get_or_insert_with(|| why.to_owned());
            if gate.activation == Activation::Activated {
                gate.activation = Activation::Waiting;
            }
        });
    }

    /// The PIN for a process that is about to start.
    pub(super) fn hand_over(&self) -> Handed {
        if self.options.keeper.is_none() {
            return Handed::Configured;
        }
        self.look_after_keeper();
        let handed = lock(&self.keeper).as_ref().map(Keeper::hand_over);
        match handed {
            Some(Ok(pipe)) => Handed::Pipe(pipe),
            Some(Err(error)) => {
                self.refused(&format!("the PIN keeper does not answer: {error}"));
                Handed::Nothing
            }
            None => Handed::Nothing,
        }
    }

    /// The keeper's process id. One that has ended took the PIN with it: what runs goes on, and what ends is not replaced.
    pub(super) fn look_after_keeper(&self) -> Option<u32> {
        let pid = lock(&self.keeper).as_mut().map(Keeper::pid)?;
        if pid.is_none() {
            tracing::error!("the PIN keeper has ended: a signer process that ends is not replaced until `passkey-hsm hsm activate`");
            self.refused("the PIN keeper has ended");
        }
        pid
    }
}

impl Signer {
    /// Gives the signer processes the PIN, or has them start again with the configured one where it is `None`; waits until one serves.
    ///
    /// The PIN is tried once, by a process that does nothing else. This process keeps no copy of it.
    ///
    /// # Errors
    /// [`Error::PinRefused`] after one try: the PIN is forgotten, and the HSM is as much in service as before. [`Error::Refused`] where there is
    /// nothing to activate, or no PIN was asked for.
    pub async fn activate(&self, pin: Option<Pin>) -> Result<(), Error> {
        let shared = self.shared();
        let _one = shared.changing.lock().await;
        if shared.options.processes == 0 || shared.is_stopping() {
            return refuse("there are no signer processes here");
        }
        shared.look_after_keeper();
        if shared.is_open() {
            return refuse("the HSM is in service already: `passkey-hsm hsm deactivate` first, to change the PIN");
        }
        let activation = match (&shared.options.keeper, pin) {
            (None, None) => Activation::Automatic,
            (None, Some(_)) => return refuse("the configuration says where the PIN is: none has to be entered"),
            (Some(_), None) => return refuse("the PIN is the operator's: it has to be entered"),
            (Some(command), Some(pin)) => {
                let keeper = tried(shared, command, pin).await?;
                *lock(&shared.keeper) = Some(keeper);
                Activation::Activated
            }
        };
        tracing::info!("the HSM is taken into service by hand");
        shared.change_gate(|gate| *gate = Gate { activation, closed: None, ending: false });
        self.wait_ready(shared.options.start_limit).await
    }

    /// Finishes what is under way, ends the processes and forgets the PIN. Nothing signs until [`Signer::activate`]. Once begun it goes on, whether
    /// or not somebody waits for it.
    ///
    /// # Errors
    /// [`Error::Deadline`] when a process has not ended yet. It is on its way, and takes no more requests.
    pub async fn deactivate(&self) -> Result<(), Error> {
        if self.shared().options.processes == 0 {
            return refuse("there are no signer processes here");
        }
        let signer = self.clone();
        tokio::spawn(async move { signer.end_processes().await }).await.unwrap_or(Err(Error::Unavailable))
    }

    async fn end_processes(&self) -> Result<(), Error> {
        let shared = self.shared();
        let _one = shared.changing.lock().await;
        tracing::info!("the HSM is taken out of service by hand");
        // From now on every request is refused; what has its place in the queue is finished.
        shared.change_gate(|gate| (gate.activation, gate.closed) = (Activation::Deactivated, None));
        self.drained().await;
        shared.change_gate(|gate| gate.ending = true);
        let keeper = lock(&shared.keeper).take();
        if let Some(keeper) = keeper {
            keeper.forget().await;
        }
        let mut changes = shared.pool.watch();
        let ended = async {
            loop {
                changes.mark_unchanged();
                if shared.all_stopped() || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(shared.options.start_limit, ended).await.map_err(|_| Error::Deadline)
    }
}

/// A keeper of a PIN with which the token has let a process log in.
async fn tried(shared: &Shared, command: &SignerCommand, pin: Pin) -> Result<Keeper, Error> {
    let text = pin.expose();
    if text.is_empty() || text.len() > MAX_PIN || text.contains(['\n', '\0']) {
        return refuse("a PIN has 1 to 1024 bytes, and no line end");
    }
    let keeper = Keeper::start(command, &pin).map_err(|e| Error::Device(format!("the PIN keeper cannot be started: {e}")))?;
    drop(pin);
    let Err(ending) = try_pin(shared, &keeper).await else { return Ok(keeper) };
    keeper.forget().await;
    Err(match ending.code {
        Some(EXIT_PIN) => {
            // For whoever looks at the health of the server.
            shared.change_gate(|gate| gate.closed = Some(ending.text.clone()));
            Error::PinRefused(ending.text)
        }
        Some(EXIT_CONFIGURATION) => Error::Configuration(ending.text),
        _ => Error::Device(ending.text),
    })
}

/// One login, and a signature with the health key.
async fn try_pin(shared: &Shared, keeper: &Keeper) -> Result<(), Ending> {
    let _start = shared.start.lock().await;
    let unable = |error: std::io::Error| Ending { code: None, text: format!("the PIN cannot be tried: {error}"), reason: "start" };
    let pipe = keeper.hand_over().map_err(unable)?;
    let process = Process::spawn(&shared.options, Some(&pipe)).map_err(unable)?;
    drop(pipe);
    match timeout(shared.options.start_limit, process.introduce(&shared.options)).await {
        Ok(Ok(_)) => {
            process.finish(shared.options.sign_deadline).await;
            Ok(())
        }
        Ok(Err(why)) => Err(process.end("start", why).await),
        Err(_) => Err(process.end("start", "it did not come up in time".to_owned()).await),
    }
}

fn refuse<T>(why: &str) -> Result<T, Error> {
    Err(Error::Refused(why.to_owned()))
}
