//! The door through which the gateway hands commands to the command side, wherever that runs.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use domain::{Position, Seq};

use crate::auth::Caller;
use crate::problem::Problem;

/// What every accepted command answers: it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The thing that was changed: a conversation, a user, a session.
    pub id: Uuid,
    /// Version of the command's first event in the thing's stream; for a sent message, its seq. For
    /// a command that changed nothing, the version the stream is at.
    pub seq: Seq,
    /// Position in the log of the command's last event. Give it as `min_position` to read your own
    /// write.
    pub position: Position,
}

/// A command that came in a frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameCommand<'a> {
    /// The command's name: the frame's `op`, such as `send_message`.
    pub op: &'a str,
    /// The frame's `id`, which is its idempotency key: 1 to 200 bytes.
    pub id: &'a str,
    /// The whole frame, whose further fields are the command's.
    pub frame: &'a RawValue,
    /// W3C Trace Context, where the frame carries one.
    pub traceparent: Option<&'a str>,
}

/// Takes commands that came in frames. Same commands, same answers as over HTTP.
#[async_trait]
pub trait CommandDoor: Send + Sync + 'static {
    /// Carries `command` out for `caller`; returns once it is on disk. An op that is no command is
    /// a problem with the code `unknown_op`.
    async fn run(&self, caller: &Caller, command: FrameCommand<'_>) -> Result<Accepted, Problem>;
}
