//! The rules of an attachment: it is uploaded, removed and erased, each once and in this order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::attachment::event::{AttachmentEvent, Erased, Removed, RemovedBecause, Uploaded};
use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{UserId, Version};
use crate::values::MediaType;

/// Decides for streams `attachment-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct Attachment;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Record that it is there. That its bytes are kept is known.
    Upload(Uploaded),
    /// Take it away, as its owner.
    Remove {
        /// Who asks.
        by: UserId,
    },
    /// Take it away because nothing has it; that is known.
    Collect {
        /// Why.
        why: RemovedBecause,
    },
    /// Record that its bytes are gone. That they are is known.
    RecordErased,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, or it is somebody else's: which of the two is not told.
    #[error("there is no such attachment, or it is not yours")]
    NotFound,
    /// It would be erased while people may get it.
    #[error("the attachment was not removed")]
    NotRemoved,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "attachment_not_found",
            Self::NotRemoved => "attachment_not_removed",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::NotRemoved => RefusalKind::Conflict,
        }
    }
}

/// The state of an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum State {
    /// It is not there, or not yet.
    #[default]
    Absent,
    /// It is there.
    Kept(Kept),
    /// Nobody gets it any more.
    Removed {
        /// Whose it was.
        owner: UserId,
    },
    /// Its bytes are gone too.
    Erased {
        /// Whose it was.
        owner: UserId,
    },
}

/// An attachment that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// Whose it is.
    pub owner: UserId,
    /// What it is.
    pub media_type: MediaType,
    /// Whether there is a small picture of it.
    pub has_thumbnail: bool,
}

impl State {
    /// The attachment, while it is there.
    pub const fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Kept(kept) => Some(kept),
            Self::Absent | Self::Removed { .. } | Self::Erased { .. } => None,
        }
    }
}

type Decision = Result<Vec<AttachmentEvent>, Refused>;

impl Decider for Attachment {
    type State = State;
    type Command = Command;
    type Event = AttachmentEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "attachment";

    fn decide(state: &State, command: &Command) -> Decision {
        match command {
            Command::Upload(uploaded) => match state {
                State::Absent => Ok(vec![AttachmentEvent::Uploaded(uploaded.clone())]),
                State::Kept(_) | State::Removed { .. } | State::Erased { .. } => Ok(vec![]),
            },
            Command::Remove { by } => match state {
                State::Kept(Kept { owner, .. })
                | State::Removed { owner }
                | State::Erased { owner }
                    if owner != by =>
                {
                    Err(Refused::NotFound)
                }
                State::Absent | State::Kept(_) | State::Removed { .. } | State::Erased { .. } => {
                    remove(state, RemovedBecause::Asked)
                }
            },
            Command::Collect { why } => remove(state, *why),
            Command::RecordErased => match state {
                State::Removed { .. } => Ok(vec![AttachmentEvent::Erased(Erased {})]),
                State::Erased { .. } => Ok(vec![]),
                State::Absent => Err(Refused::NotFound),
                State::Kept(_) => Err(Refused::NotRemoved),
            },
        }
    }

    fn evolve(state: State, _version: Version, event: &AttachmentEvent) -> State {
        match (event, state) {
            (AttachmentEvent::Uploaded(uploaded), State::Absent) => State::Kept(Kept {
                owner: uploaded.owner,
                media_type: uploaded.media_type.clone(),
                has_thumbnail: uploaded.thumbnail.is_some(),
            }),
            (AttachmentEvent::Removed(_), State::Kept(Kept { owner, .. })) => {
                State::Removed { owner }
            }
            (AttachmentEvent::Erased(_), State::Removed { owner }) => State::Erased { owner },
            (
                AttachmentEvent::Uploaded(_)
                | AttachmentEvent::Removed(_)
                | AttachmentEvent::Erased(_),
                state,
            ) => state,
        }
    }
}

fn remove(state: &State, why: RemovedBecause) -> Decision {
    match state {
        State::Kept(_) => Ok(vec![AttachmentEvent::Removed(Removed { why })]),
        State::Removed { .. } | State::Erased { .. } => Ok(vec![]),
        State::Absent => Err(Refused::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, Given};

    fn given(history: impl IntoIterator<Item = AttachmentEvent>) -> Given<Attachment> {
        Given::history(history)
    }

    fn picture() -> Uploaded {
        Uploaded {
            owner: ALICE,
            name: None,
            media_type: MediaType::parse("image/png").expect("a good type"),
            size: 7,
            uploaded_size: None,
            sha256: "00ff".to_owned(),
            dimensions: None,
            thumbnail: None,
        }
    }

    fn uploaded() -> AttachmentEvent {
        AttachmentEvent::Uploaded(picture())
    }

    fn removed(why: RemovedBecause) -> AttachmentEvent {
        AttachmentEvent::Removed(Removed { why })
    }

    fn erased() -> AttachmentEvent {
        AttachmentEvent::Erased(Erased {})
    }

    #[test]
    fn it_is_uploaded_once() {
        let upload = || Command::Upload(picture());
        let state = given([]).when(upload()).then([uploaded()]);
        assert_eq!(state.kept().map(|kept| kept.owner), Some(ALICE));
        given([uploaded()]).when(upload()).then([]);
        let gone = [uploaded(), removed(RemovedBecause::Asked)];
        let state = given(gone).when(upload()).then([]);
        assert_eq!(state.kept(), None, "what was removed does not come back");
    }

    #[test]
    fn its_owner_takes_it_away_and_nobody_else() {
        let remove = |by| Command::Remove { by };
        let gone = removed(RemovedBecause::Asked);
        given([uploaded()]).when(remove(ALICE)).then([gone.clone()]);
        given([uploaded()])
            .when(remove(BOB))
            .then_refused(Refused::NotFound);
        given([])
            .when(remove(ALICE))
            .then_refused(Refused::NotFound);
        let history = || [uploaded(), gone.clone(), erased()];
        given(history()).when(remove(ALICE)).then([]);
        given(history())
            .when(remove(BOB))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn what_nothing_has_is_collected_once() {
        let why = RemovedBecause::NeverUsed;
        let collect = || Command::Collect { why };
        given([uploaded()]).when(collect()).then([removed(why)]);
        let asked = removed(RemovedBecause::Asked);
        given([uploaded(), asked]).when(collect()).then([]);
        given([]).when(collect()).then_refused(Refused::NotFound);
    }

    #[test]
    fn only_what_was_removed_is_erased() {
        let gone = removed(RemovedBecause::NoLongerUsed);
        given([uploaded(), gone.clone()])
            .when(Command::RecordErased)
            .then([erased()]);
        given([uploaded(), gone, erased()])
            .when(Command::RecordErased)
            .then([]);
        given([uploaded()])
            .when(Command::RecordErased)
            .then_refused(Refused::NotRemoved);
        given([])
            .when(Command::RecordErased)
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn events_out_of_order_fold_to_nothing() {
        let early = [erased(), removed(RemovedBecause::Asked)];
        assert_eq!(given(early).state, State::Absent);
        let Given { state, .. } = given([uploaded(), erased()]);
        assert!(state.kept().is_some(), "it was not removed");
    }
}
