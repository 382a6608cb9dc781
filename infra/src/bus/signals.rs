//! What passes between nodes and is stored nowhere: who types, who is there.

use domain::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

/// Signals that a slow listener may be behind.
pub const SIGNALS_WAITING_MAX: usize = 4_096;

/// One process, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub Uuid);

/// Something that passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Which node says it; nodes do not listen to themselves.
    pub node: NodeId,
    /// What.
    #[serde(flatten)]
    pub kind: SignalKind,
}

/// What a signal says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "signal", rename_all = "snake_case")]
pub enum SignalKind {
    /// Somebody is writing.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
    },
    /// These are connected to the node: one that has just come, or a part of the answer to a roll call.
    Here {
        /// Who.
        users: Vec<Here>,
    },
    /// Somebody is no longer connected to the node.
    Gone {
        /// Who.
        user: UserId,
    },
    /// The node lives. One that has not said so for a while is dead, and nobody is there any more.
    Alive {
        /// How many users are connected to it.
        users: usize,
    },
    /// The node asks who is with another, or with all others where it is new itself.
    RollCall {
        /// Whom it asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<NodeId>,
    },
    /// The node ends; nobody is there any more.
    Ends,
}

/// Somebody who is connected to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// Who.
    pub user: UserId,
    /// Where it is told: conversations that they are in.
    pub conversations: Vec<ConversationId>,
}

/// Passes signals between nodes. At most once, in no promised order.
pub trait Signals: Send + Sync + 'static {
    /// Says something to all nodes. What cannot be said is lost.
    fn send(&self, signal: &Signal);

    /// Hears all nodes from now on, oneself too. Who is more than [`SIGNALS_WAITING_MAX`] behind
    /// misses the oldest.
    fn listen(&self) -> broadcast::Receiver<Signal>;
}

/// [`Signals`] within one process: for one that is alone, and for tests with several nodes in one.
pub struct LocalSignals(broadcast::Sender<Signal>);

impl Default for LocalSignals {
    fn default() -> Self {
        Self(broadcast::Sender::new(SIGNALS_WAITING_MAX))
    }
}

impl Signals for LocalSignals {
    fn send(&self, signal: &Signal) {
        // Without listeners nobody misses it.
        let _ = self.0.send(signal.clone());
    }

    fn listen(&self) -> broadcast::Receiver<Signal> {
        self.0.subscribe()
    }
}
