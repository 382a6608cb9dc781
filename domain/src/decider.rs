//! The shape of everything that decides: a state folded from events, and a pure decision.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::event::Event;
use crate::ids::Version;

/// What a refusal means to the one who asked, whichever door they came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// They may see the thing but not do this (HTTP 403).
    Forbidden,
    /// There is no such thing, or they may not know of it (HTTP 404).
    NotFound,
    /// The thing is not in a state that allows it (HTTP 409).
    Conflict,
    /// The command makes no sense, whatever the state (HTTP 422).
    Invalid,
}

/// The domain's "no": an expected answer, never a fault.
pub trait Refusal: std::error::Error + Clone + Send + Sync + 'static {
    /// Stable name, `snake_case`, on which clients may depend.
    fn code(&self) -> &'static str;

    /// What sort of "no".
    fn kind(&self) -> RefusalKind;

    /// In how many seconds the same may be asked with another answer, where that is known.
    fn wait_s(&self) -> Option<u32> {
        None
    }
}

/// A kind of stream, with its state and its rules.
///
/// `decide` and `evolve` are pure. A command that was already carried out, or changes nothing, is
/// accepted with no events. Where the state cannot tell (a message sent twice), the one who carries
/// commands out knows the repeat by the command's id.
pub trait Decider: Send + Sync + 'static {
    /// What the rules need to know. Bounded: never a list that grows with use. `Default` is the
    /// state of a stream that does not exist.
    type State: Clone + Default + Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static;
    /// What may be asked.
    type Command: Clone + Debug + Send + Sync + 'static;
    /// What may have happened.
    type Event: Clone + Debug + Into<Event> + TryFrom<Event> + Send + Sync + 'static;
    /// Why not.
    type Refusal: Refusal;

    /// Names this kind of stream, such as `conversation`. The same as the category in the streams'
    /// names, but for reservations, whose streams have a category for each thing that is reserved.
    const CATEGORY: &'static str;

    /// The events that `command` makes of `state`.
    fn decide(
        state: &Self::State,
        command: &Self::Command,
    ) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// The state after `event`, which stands at `version` of the stream.
    fn evolve(state: Self::State, version: Version, event: &Self::Event) -> Self::State;
}
