//! What can have happened to an attachment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::UserId;
use crate::personal::Personal;
use crate::values::{FileName, MediaType};

/// How large a picture is, in pixels, as it is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dimensions {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

/// A small picture of a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// What it is.
    pub media_type: MediaType,
    /// In bytes.
    pub size: u64,
    /// In pixels.
    #[serde(flatten)]
    pub dimensions: Dimensions,
}

/// `attachment-uploaded`: all of its bytes are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Whose it is.
    pub owner: UserId,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Personal<FileName>>,
    /// What it is, by what is in it.
    pub media_type: MediaType,
    /// In bytes, as it is kept.
    pub size: u64,
    /// Of what came, in bytes, where that was more or less than what is kept of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_size: Option<u64>,
    /// SHA-256 of what is kept, as 64 digits of lower-case hex.
    pub sha256: String,
    /// Of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<Dimensions>,
    /// Of a picture that one could be made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Thumbnail>,
}

/// Why an attachment is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemovedBecause {
    /// Its owner asked for it.
    Asked,
    /// The last message that had it, or picture of somebody that it was, is gone.
    NoLongerUsed,
    /// It never was in anything.
    NeverUsed,
}

impl RemovedBecause {
    /// As it is stored and counted.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::NoLongerUsed => "no_longer_used",
            Self::NeverUsed => "never_used",
        }
    }
}

/// `attachment-removed`: nobody gets it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Why.
    pub why: RemovedBecause,
}

/// `attachment-erased`: its bytes are kept nowhere any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {}

events! {
    /// An event in a stream `attachment-{id}`.
    AttachmentEvent {
        /// It is there.
        "attachment-uploaded" => Uploaded(Uploaded),
        /// Nobody gets it any more.
        "attachment-removed" => Removed(Removed),
        /// Its bytes are gone.
        "attachment-erased" => Erased(Erased),
    }
}
