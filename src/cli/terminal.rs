//! What is asked of the person at the terminal: whether to go on, and the PIN.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{Failure, output::plain};
use crate::domain::Pin;

/// Whether to ask.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Sure {
    /// Ask nothing: for scripts
    #[arg(long, short)]
    yes: bool,
}

/// What goes on after a yes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question<'a> {
    /// y or N.
    Plain,
    /// What the first 8 characters of have to be typed: it cannot be undone.
    Grave(&'static str, &'a str),
}

/// The most bytes of a PIN: see the signer's own limit.
const MAX_PIN: usize = 1024;

impl Sure {
    /// Says what will happen, and asks whether to go on.
    ///
    /// # Errors
    /// Wrong usage where there is nobody to ask and no `--yes`; a failure where the answer is no.
    pub(super) fn ask(self, what_happens: &str, question: Question<'_>) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let said = |text: &str| write!(io::stderr(), "{}", plain(text)).and_then(|()| io::stderr().flush());
        said(&format!("{what_happens}\n"))?;
        if !io::stdin().is_terminal() {
            return Err(Failure::usage("there is no terminal to ask at: say --yes if that is what you want"));
        }
        let agreed = match question {
            Question::Plain => {
                said("Go on? [y/N] ")?;
                matches!(read_line()?.trim(), "y" | "Y" | "yes")
            }
            Question::Grave(what, id) => {
                said(&format!("Type the first 8 characters of the {what} to go on: "))?;
                let first: String = id.chars().take(8).collect();
                read_line()?.trim() == first
            }
        };
        if agreed { Ok(()) } else { Err(Failure::new("nothing was done")) }
    }
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line)
}

/// Asks for the token's PIN, without an echo.
///
/// # Errors
/// Wrong usage where there is no terminal; a failure where nothing is entered.
pub(super) fn ask_pin(token: &str) -> Result<Pin, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for the PIN at"));
    }
    let silence = Silence::begin()?;
    write!(io::stderr(), "PIN of {}: ", plain(token)).and_then(|()| io::stderr().flush())?;
    let entered = read_silently();
    drop(silence);
    writeln!(io::stderr())?;
    match entered? {
        Some(pin) if !pin.is_empty() => Ok(Pin::new(pin)),
        _ => Err(Failure::new("no PIN was entered: nothing was done")),
    }
}

/// A line, key by key; `None` where it was given up. Ctrl-C comes as a character: a signal would leave the terminal mute.
fn read_silently() -> Result<Option<Zeroizing<String>>, Failure> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PIN));
    // Unbuffered: no copy of the PIN stays in a buffer of standard input's.
    let mut stdin = std::fs::File::from(rustix::io::dup(io::stdin()).map_err(io::Error::from)?);
    let mut key = Zeroizing::new([0_u8]);
    loop {
        if stdin.read(key.as_mut_slice())? == 0 {
            return Ok(None);
        }
        let [key] = *key;
        match key {
            b'\n' | b'\r' => break,
            INTERRUPT | END => return Ok(None),
            0x7f | 0x08 => drop(bytes.pop()),
            other if bytes.len() < MAX_PIN => bytes.push(other),
            _ => return Err(Failure::new(format!("a PIN has at most {MAX_PIN} bytes"))),
        }
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new("the PIN is no UTF-8"))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// The terminal without echo, until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> Result<Self, Failure> {
        let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut mute = before.clone();
        mute.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &mute).map_err(io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
