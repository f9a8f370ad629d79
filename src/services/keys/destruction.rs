//! The end of a private half: the intent first, then the token, then the proof that it is gone. Whatever dies in between, the intent names what
//! is left, and destroying it again finishes it.

use super::{By, Error, Keys, contended, rules};
use crate::{
    domain::{AuditEventType, KeyChange, KeyId, KeyState, SigningKey},
    failpoint,
};

impl Keys {
    /// Destroys a key that does not sign, on the token and for good, and proves that it is gone. Also finishes what was cut short.
    pub async fn destroy(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        self.end(kid, true, by).await
    }

    /// The same, by command or because its time has come: then its state stays what it is.
    pub(super) async fn end(&self, kid: KeyId, by_command: bool, by: &By) -> Result<SigningKey, Error> {
        let key = self.get(kid).await?;
        // Without a command it is the tenant's end that an active key is destroyed for, and the database knows of that.
        if by_command {
            rules::successor(&key)?;
        }
        if key.private_destroyed_at.is_some() || key.state == KeyState::Destroyed {
            return Ok(key);
        }
        self.on_token(&key)?;
        let key = self.begin_the_end(key, by_command, by).await?;
        failpoint::hit("key.destruction_begun");
        // It looks again: what it answers is that nothing of that id is there any more, on a token that works.
        self.context.signer.destroy(kid, key.cka_id.as_deref()).await?;
        failpoint::hit("key.destroyed_on_token");
        let event = self.event(&key, AuditEventType::SigningKeyPrivateDestroyed, by);
        match self.change(&key, KeyChange::FinishDestruction, &[event]).await? {
            Some(key) => Ok(key),
            // Somebody else was at it too, and finished first.
            None => self.get(kid).await,
        }
    }

    /// From here on it cannot come back.
    async fn begin_the_end(&self, key: SigningKey, by_command: bool, by: &By) -> Result<SigningKey, Error> {
        if key.destroying_at.is_some() && !by_command {
            return Ok(key);
        }
        let event = self.event(&key, AuditEventType::SigningKeyDestructionBegun, by);
        if let Some(begun) = self.change(&key, KeyChange::BeginDestruction { by_command }, &[event]).await? {
            return Ok(begun);
        }
        let key = self.get(key.id).await?;
        rules::successor(&key)?;
        if key.destroying_at.is_some() { Ok(key) } else { Err(contended()) }
    }
}
