//! What may be done to a signing key, and the rules by which it is refused.

use std::time::Duration;

use super::{KeyId, KeyState};

/// A change of a signing key's state. Each is one conditional statement in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// pending, with its evidence -> published. It may sign once `publication` is over, and once what verifiers hold of a JWKS with an older
    /// max-age is.
    Publish {
        /// P.
        publication: Duration,
    },
    /// published -> active, and in the same instant the active key -> what `leaving` says. Not before `usable_from` unless the exposure is
    /// accepted; not while a live server has not seen the key in its JWKS.
    Activate {
        /// The key that signs until now; `None` where none does.
        leaving: Option<Leaving>,
        /// Activate it although verifiers may not have it yet.
        accept_exposure: bool,
        /// How long a server counts as alive after it was seen.
        replica_lease: Duration,
        /// When its successor is due, from now.
        rotate_after: Option<Duration>,
    },
    /// suspended, or retiring inside its rollback window; still in the JWKS -> active, and the active key -> what `leaving` says.
    Reinstate {
        /// The key that signs until now; `None` where none does.
        leaving: Option<Leaving>,
        /// When its successor is due, from now.
        rotate_after: Option<Duration>,
    },
    /// suspended, and out of the JWKS by now -> published: P begins anew.
    Republish {
        /// P.
        publication: Duration,
    },
    /// active -> suspended. The tenant has no active key then.
    Suspend(Times),
    /// pending or published -> retired: it never signed. suspended -> retiring.
    Retire,
    /// retiring -> retired once `withdraw_from` has come; a suspended one leaves the JWKS then, and stays suspended.
    Withdraw,
    /// Any state but destroyed -> compromised, out of the JWKS at once.
    Compromise,
    /// The intent to destroy its private half: retiring or retired once the rollback window is over, compromised, or anything but active where
    /// `by_command`. From here on it cannot come back.
    BeginDestruction {
        /// An administrator asked for it: the rollback window does not matter, and the key is `destroyed` in the end.
        by_command: bool,
    },
    /// The private half was looked for and is not there any more. `destroyed` where that was asked for, or where the key was `pending`.
    FinishDestruction,
    /// What the scheduler does with it: see [`KeyPlan`].
    Plan(KeyPlan),
}

impl KeyChange {
    /// What the unit of work that makes it is called.
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "key_publish",
            Self::Activate { .. } => "key_activate",
            Self::Reinstate { .. } => "key_reinstate",
            Self::Republish { .. } => "key_republish",
            Self::Suspend(_) => "key_suspend",
            Self::Retire => "key_retire",
            Self::Withdraw => "key_withdraw",
            Self::Compromise => "key_compromise",
            Self::BeginDestruction { .. } => "key_begin_destruction",
            Self::FinishDestruction => "key_finish_destruction",
            Self::Plan(_) => "key_plan",
        }
    }
}

/// What becomes of the key that signs until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// Which one that is: the change is not made when it is another.
    pub kid: KeyId,
    /// Retiring, suspended or compromised.
    pub to: KeyState,
    /// How long it is still needed.
    pub times: Times,
}

/// How long a key that ceases to sign is still needed, from that instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// R: until then it stays in the JWKS.
    pub retirement: Duration,
    /// Until then its private half is kept: the rollback window, and before that what servers may still be doing with it.
    pub rollback: Duration,
}

/// What the scheduler does with a key by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyPlan {
    /// Nothing: it waits for a command.
    #[default]
    None,
    /// Publishes it, as the standby.
    Publish,
    /// Publishes it, and has it sign as soon as it may.
    Activate,
}

text_enum!(KeyPlan, "none, publish, activate", {
    None => "none",
    Publish => "publish",
    Activate => "activate",
});

/// How a key came to be on the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyOrigin {
    /// Made for this server by its signer.
    #[default]
    Generated,
    /// Made in a ceremony, and taken over.
    Adopted,
}

text_enum!(KeyOrigin, "generated, adopted", {
    Generated => "generated",
    Adopted => "adopted",
});

/// A rule that a change has to keep. Its name is part of the interface: refusals begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRule {
    /// The change begins in another state.
    State,
    /// P is not over.
    PublicationTime,
    /// A live server does not serve the JWKS with the key yet.
    Replicas,
    /// The token's test signature does not verify with the published JWK, or could not be made.
    TestSignature,
    /// There is no evidence of the key's birth, or it does not verify.
    Evidence,
    /// A strict policy, and attributes that fall short of it.
    StrictPolicy,
    /// Another key of the tenant is active.
    OneActive,
    /// Another key of the tenant is in the making.
    OnePending,
    /// There is no published key that could take over.
    Standby,
    /// The key signs: it needs a successor first.
    Successor,
    /// The rollback window is over, or there was none.
    RollbackWindow,
    /// The private half is gone, or its end has begun.
    PrivateHalf,
    /// The key is on another token than the one that is configured.
    Token,
}

text_enum!(KeyRule, "the name of a rule", {
    State => "state",
    PublicationTime => "publication-time",
    Replicas => "replicas",
    TestSignature => "test-signature",
    Evidence => "evidence",
    StrictPolicy => "strict-policy",
    OneActive => "one-active",
    OnePending => "one-pending",
    Standby => "standby",
    Successor => "successor",
    RollbackWindow => "rollback-window",
    PrivateHalf => "private-half",
    Token => "token",
});

/// A change that was not made, and the rule that it would have broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct KeyRefusal {
    /// The rule.
    pub rule: KeyRule,
    /// What to know, and what to do.
    pub detail: String,
}

impl KeyRefusal {
    /// A refusal by `rule`.
    pub fn new(rule: KeyRule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }
}
