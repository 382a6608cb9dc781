//! The rules of a service account.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::event::Actor;
use crate::ids::{UserId, Version};
use crate::service::event::{Created, Revoked, Scope, ServiceEvent, TokenIssued};
use crate::values::DisplayName;

/// Decides for streams `service-{id}`.
#[derive(Clone, Copy, Debug)]
pub struct Service;

/// A service to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New {
    /// What it is called.
    pub name: DisplayName,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The user as whom it acts; that it has an account is known.
    pub account: Option<UserId>,
    /// Who makes it.
    pub by: Actor,
    /// Its first token.
    pub token: Issue,
}

/// A token to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The how many-th it is, from 1.
    pub generation: u32,
    /// SHA-256 of it in lower-case hex.
    pub hash: String,
    /// After this moment it is worth nothing.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What may be asked. That the asker may is known when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make it.
    Create(New),
    /// Give it another token in place of the one it has.
    Rotate(Issue),
    /// End it for ever. Ending it again changes nothing.
    Revoke {
        /// Who ends it.
        by: Actor,
    },
}

/// Why a service account says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("there is no such service")]
    NotFound,
    /// There is one already.
    #[error("this service was created already")]
    AlreadyCreated,
    /// It would be allowed nothing.
    #[error("a service has at least one scope")]
    NoScope,
    /// A bot may act as its user and nothing else; and nobody else has an account.
    #[error("a bot has an account and no further scope, and only a bot has an account")]
    BotAlone,
    /// It was ended.
    #[error("this service was revoked")]
    Revoked,
    /// Another token was issued meanwhile.
    #[error("another token was issued at the same time; try again")]
    TokenMoved,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "service_not_found",
            Self::AlreadyCreated => "service_already_created",
            Self::NoScope => "no_scope",
            Self::BotAlone => "bot_alone",
            Self::Revoked => "service_revoked",
            Self::TokenMoved => "token_moved",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyCreated | Self::Revoked | Self::TokenMoved => RefusalKind::Conflict,
            Self::NoScope | Self::BotAlone => RefusalKind::Invalid,
        }
    }
}

/// The state of a service account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum State {
    /// Never made.
    #[default]
    Absent,
    /// It may come in.
    Live(Live),
    /// It may not any more.
    Revoked,
}

/// A service that may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The user as whom it acts, where it is a bot.
    pub account: Option<UserId>,
    /// The how many-th token it has; 0 before the first.
    pub generation: u32,
    /// SHA-256 of its token in lower-case hex; empty before the first.
    pub hash: String,
    /// After this moment the token is worth nothing.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Decider for Service {
    type State = State;
    type Command = Command;
    type Event = ServiceEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "service";

    fn decide(state: &State, command: &Command) -> Result<Vec<ServiceEvent>, Refused> {
        match (state, command) {
            (State::Absent, Command::Create(new)) => create(new),
            (State::Live(_) | State::Revoked, Command::Create(_)) => Err(Refused::AlreadyCreated),
            (State::Live(live), Command::Rotate(issue)) => rotate(live, issue),
            (State::Live(_), Command::Revoke { by }) => {
                Ok(vec![ServiceEvent::Revoked(Revoked { by: *by })])
            }
            (State::Revoked, Command::Revoke { .. }) => Ok(vec![]),
            (State::Revoked, Command::Rotate(_)) => Err(Refused::Revoked),
            (State::Absent, Command::Rotate(_) | Command::Revoke { .. }) => Err(Refused::NotFound),
        }
    }

    fn evolve(state: State, _version: Version, event: &ServiceEvent) -> State {
        match (event, state) {
            (ServiceEvent::Created(created), State::Absent) => State::Live(Live {
                scopes: created.scopes.clone(),
                account: created.account,
                generation: 0,
                hash: String::new(),
                expires_at: None,
            }),
            (ServiceEvent::TokenIssued(issued), State::Live(live)) => State::Live(Live {
                generation: issued.generation,
                hash: issued.hash.clone(),
                expires_at: issued.expires_at,
                ..live
            }),
            (ServiceEvent::Revoked(_), State::Live(_)) => State::Revoked,
            (
                ServiceEvent::Created(_) | ServiceEvent::TokenIssued(_) | ServiceEvent::Revoked(_),
                state,
            ) => state,
        }
    }
}

fn create(new: &New) -> Result<Vec<ServiceEvent>, Refused> {
    let is_bot = new.scopes.contains(&Scope::Bot);
    if new.scopes.is_empty() {
        return Err(Refused::NoScope);
    }
    if is_bot != new.account.is_some() || (is_bot && new.scopes.len() > 1) {
        return Err(Refused::BotAlone);
    }
    Ok(vec![
        ServiceEvent::Created(Created {
            name: new.name.clone(),
            scopes: new.scopes.clone(),
            account: new.account,
            by: new.by,
        }),
        issued(&new.token),
    ])
}

fn rotate(live: &Live, issue: &Issue) -> Result<Vec<ServiceEvent>, Refused> {
    if issue.generation == live.generation.saturating_add(1) {
        Ok(vec![issued(issue)])
    } else {
        Err(Refused::TokenMoved)
    }
}

fn issued(issue: &Issue) -> ServiceEvent {
    ServiceEvent::TokenIssued(TokenIssued {
        generation: issue.generation,
        hash: issue.hash.clone(),
        expires_at: issue.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, Given, moment};

    const BY: Actor = Actor::User(ALICE);

    fn given(history: impl IntoIterator<Item = ServiceEvent>) -> Given<Service> {
        Given::history(history)
    }

    fn issue(generation: u32) -> Issue {
        Issue {
            generation,
            hash: format!("hash {generation}"),
            expires_at: Some(moment(60)),
        }
    }

    fn new(scopes: &[Scope], account: Option<UserId>) -> New {
        New {
            name: DisplayName::parse("Nightly export").expect("a good name"),
            scopes: scopes.iter().copied().collect(),
            account,
            by: BY,
            token: issue(1),
        }
    }

    fn created(scopes: &[Scope], account: Option<UserId>) -> ServiceEvent {
        let new = new(scopes, account);
        ServiceEvent::Created(Created {
            name: new.name,
            scopes: new.scopes,
            account,
            by: BY,
        })
    }

    fn live() -> [ServiceEvent; 2] {
        [created(&[Scope::Auditor], None), issued(&issue(1))]
    }

    fn revoked() -> ServiceEvent {
        ServiceEvent::Revoked(Revoked { by: BY })
    }

    #[test]
    fn a_service_begins_with_a_token() {
        let scopes = [Scope::Auditor, Scope::Importer];
        let state = given([])
            .when(Command::Create(new(&scopes, None)))
            .then([created(&scopes, None), issued(&issue(1))]);
        let State::Live(live) = state else {
            panic!("it is live")
        };
        assert_eq!((live.generation, &*live.hash), (1, "hash 1"));
        given(super::tests::live())
            .when(Command::Create(new(&scopes, None)))
            .then_refused(Refused::AlreadyCreated);
    }

    #[test]
    fn a_bot_is_a_user_and_nothing_else() {
        given([])
            .when(Command::Create(new(&[Scope::Bot], Some(BOB))))
            .then_some(2);
        for (scopes, account) in [
            (&[Scope::Bot][..], None),
            (&[Scope::Bot, Scope::Auditor], Some(BOB)),
            (&[Scope::Analyst], Some(BOB)),
        ] {
            given([])
                .when(Command::Create(new(scopes, account)))
                .then_refused(Refused::BotAlone);
        }
        given([])
            .when(Command::Create(new(&[], None)))
            .then_refused(Refused::NoScope);
    }

    #[test]
    fn tokens_follow_each_other_without_gaps() {
        given(live())
            .when(Command::Rotate(issue(2)))
            .then([issued(&issue(2))]);
        for generation in [1, 3] {
            given(live())
                .when(Command::Rotate(issue(generation)))
                .then_refused(Refused::TokenMoved);
        }
    }

    #[test]
    fn what_is_revoked_stays_revoked() {
        let revoke = || Command::Revoke { by: BY };
        given(live()).when(revoke()).then([revoked()]);
        let ended = || live().into_iter().chain([revoked()]);
        given(ended()).when(revoke()).then([]);
        given(ended())
            .when(Command::Rotate(issue(2)))
            .then_refused(Refused::Revoked);
        given(ended())
            .when(Command::Create(new(&[Scope::Analyst], None)))
            .then_refused(Refused::AlreadyCreated);
        let late = given(ended().chain([issued(&issue(2))])).state;
        assert_eq!(late, State::Revoked, "a late token wakes nothing");
    }

    #[test]
    fn what_was_never_made_is_not_found() {
        for command in [Command::Rotate(issue(1)), Command::Revoke { by: BY }] {
            given([]).when(command).then_refused(Refused::NotFound);
        }
        assert_eq!(given([issued(&issue(1)), revoked()]).state, State::Absent);
    }
}
