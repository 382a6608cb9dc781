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
    /// These are connected to the node: some that have just come, or are shown as something else, or a
    /// part of the answer to a roll call.
    Here {
        /// Who.
        users: Vec<Here>,
    },
    /// Somebody is no longer connected to the node, or no longer shown.
    Gone {
        /// Who.
        user: UserId,
    },
    /// The node lives. One that has not said so for a while is dead, and nobody is there any more.
    Alive {
        /// How many users are connected to it and shown, as it has said until now.
        users: usize,
        /// Of all of them together: [`Here::digest`] of each, combined by exclusive or. Nodes of before
        /// say none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<u64>,
    },
    /// The node asks who is with another, or with all others where it is new itself.
    RollCall {
        /// Whom it asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<NodeId>,
    },
    /// The node ends, and says nothing more. Whom it had comes back elsewhere, or is there no more.
    Ends,
}

/// Somebody who is connected to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// Who.
    pub user: UserId,
    /// Where it is told: conversations that they are in.
    pub conversations: Vec<ConversationId>,
    /// As what they are shown. Who is shown as not there is not named at all.
    #[serde(default)]
    pub state: HereState,
}

impl Here {
    /// The same for the same, in whatever order the conversations are; for what differs almost surely
    /// another.
    pub fn digest(&self) -> u64 {
        let state = match self.state {
            HereState::Online => 1,
            HereState::Idle => 2,
            HereState::Away => 3,
        };
        let conversations = self.conversations.iter();
        let told = conversations.fold(state, |sum: u64, id| sum.wrapping_add(mixed_id(id.0)));
        mixed(mixed_id(self.user.0) ^ mixed(told))
    }
}

fn mixed_id(id: Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    mixed(high ^ mixed(low))
}

/// Every bit of the result depends on every bit of `value`: the finalizer of `SplitMix64`.
const fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// As what somebody who is connected to a node is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HereState {
    /// They do something, on a device at least. Nodes of before say no more than this.
    #[default]
    Online,
    /// Nothing is done on any of their devices.
    Idle,
    /// They chose to be away.
    Away,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_of_before_says_that_somebody_is_online() {
        let (node, user) = (Uuid::from_u128(1), UserId(Uuid::from_u128(2)));
        let said = json!({
            "node": node, "signal": "here", "users": [{ "user": user, "conversations": [] }],
        });
        let signal: Signal = serde_json::from_value(said).unwrap();
        let here = Here {
            user,
            conversations: Vec::new(),
            state: HereState::Online,
        };
        assert_eq!(signal.kind, SignalKind::Here { users: vec![here] });
    }

    #[test]
    fn a_digest_is_of_all_that_is_said_in_any_order() {
        let [one, two] = [1, 2].map(|id| ConversationId(Uuid::from_u128(id)));
        let here = |user, conversations: &[ConversationId], state| Here {
            user: UserId(Uuid::from_u128(user)),
            conversations: conversations.to_vec(),
            state,
        };
        let online = HereState::Online;
        let digest = here(7, &[one, two], online).digest();
        assert_eq!(here(7, &[two, one], online).digest(), digest);
        for other in [
            here(8, &[one, two], online),
            here(7, &[one], online),
            here(7, &[one, two], HereState::Idle),
        ] {
            assert_ne!(other.digest(), digest, "{other:?}");
        }
    }

    #[test]
    fn a_node_of_before_says_how_many_it_has_and_no_more() {
        let said = json!({"node": Uuid::from_u128(1), "signal": "alive", "users": 3});
        let signal: Signal = serde_json::from_value(said).unwrap();
        let (users, digest) = (3, None);
        assert_eq!(signal.kind, SignalKind::Alive { users, digest });
    }
}
