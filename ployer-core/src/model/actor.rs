//! The actor: on whose behalf something is done. Every commit names one.

use serde::{Deserialize, Serialize};

use super::id::{ApplicationId, TokenId, UserId};

/// On whose behalf something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "actor", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Actor {
    /// Ployer itself, or the program that embeds it.
    System,
    /// A user.
    User {
        /// Which one.
        user: UserId,
    },
    /// An API token: it may do what its user may.
    Token {
        /// Which one.
        token: TokenId,
        /// Whose it is.
        user: UserId,
    },
    /// A verified delivery to the webhook of one application.
    Webhook {
        /// Whose webhook.
        application: ApplicationId,
    },
}

impl Actor {
    /// The user whose rights count, for a user or a token.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User { user } | Self::Token { user, .. } => Some(user),
            Self::System | Self::Webhook { .. } => None,
        }
    }
}
