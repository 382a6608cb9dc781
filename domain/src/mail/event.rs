//! What can have become of a mail.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::UserId;

/// `mail-sent`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// To whom.
    pub user: UserId,
    /// The mail's `Message-ID`, without angle brackets: how it is found again in logs of mail servers.
    pub message_id: String,
}

/// Why a mail was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GivenUpBecause {
    /// What it says was worth nothing any more before a mail server took it.
    Expired,
    /// A later mail says the same anew.
    Replaced,
    /// The mail server will never take it, or no mail can be made of the address.
    Rejected,
}

impl GivenUpBecause {
    /// As it is stored and counted.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Rejected => "rejected",
        }
    }
}

/// `mail-given-up`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// To whom.
    pub user: UserId,
    /// Why.
    pub why: GivenUpBecause,
}

events! {
    /// An event in a stream `mail-{event id}`.
    MailEvent {
        /// A mail server took it, or it lies in the folder.
        "mail-sent" => Sent(Sent),
        /// Nobody tries any more.
        "mail-given-up" => GivenUp(GivenUp),
    }
}
