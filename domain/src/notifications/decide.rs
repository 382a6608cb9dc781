//! The rules of what can be set.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::{ConversationId, Position, PushSubscriptionId, SessionId, UserId, Version};
use crate::notifications::event::{
    DigestIssued, NotificationsEvent, PushSubscriptionAdded, PushSubscriptionRemoved, ReadUpTo,
    RemovedBecause, RuleChanged, SettingsChanged,
};
use crate::notifications::settings::{Rule, Settings};
use crate::personal::Personal;
use crate::values::Email;

/// Decides for streams `notifications-{user}`.
#[derive(Clone, Copy, Debug)]
pub struct Notifications;

impl Notifications {
    /// The most conversations for which something is set.
    pub const RULES_MAX: usize = 1_000;

    /// The most browsers of one user that take pushes.
    pub const PUSH_SUBSCRIPTIONS_MAX: usize = 20;

    /// How long a digest that was issued may wait for a mail server; a later one takes its place.
    pub const DIGEST_LIFETIME: TimeDelta = TimeDelta::hours(6);
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Set this for a conversation. That the user is in it is known when this is asked.
    ChangeRule {
        /// Which.
        conversation: ConversationId,
        /// What; an empty one ends what is set.
        rule: Rule,
    },
    /// Set this for all.
    ChangeSettings {
        /// Who asks.
        user: UserId,
        /// All of it.
        settings: Settings,
    },
    /// The list is read.
    ReadUpTo {
        /// Up to here.
        position: Position,
        /// Where the log ended when this was asked.
        head: Position,
    },
    /// A browser takes pushes.
    AddPushSubscription {
        /// Which.
        added: PushSubscriptionAdded,
        /// Logins that have ended: their browsers take none any more.
        ended: BTreeSet<SessionId>,
    },
    /// It takes them no more.
    RemovePushSubscription {
        /// Which.
        subscription: PushSubscriptionId,
        /// Only where it still belongs to this login.
        session: Option<SessionId>,
        /// Why.
        because: RemovedBecause,
    },
    /// Mail what was missed, unless that was done within the time that the user set.
    IssueDigest {
        /// Whom it is for.
        user: UserId,
        /// Their address, which was shown to be theirs.
        email: Email,
        /// When.
        at: DateTime<Utc>,
    },
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is something set for as many conversations as there may be.
    #[error("at most 1,000 conversations have a rule of their own; end another first")]
    TooManyRules,
    /// As many browsers take pushes as may.
    #[error("at most 20 browsers take pushes; remove another first")]
    TooManyPushSubscriptions,
    /// The log has not come that far.
    #[error("the log has not come to position {position}; it ends at {head}")]
    BeyondTheEnd {
        /// What was asked for.
        position: Position,
        /// What there is.
        head: Position,
    },
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::TooManyRules => "too_many_notification_rules",
            Self::TooManyPushSubscriptions => "too_many_push_subscriptions",
            Self::BeyondTheEnd { .. } => "position_beyond_the_end",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::TooManyRules | Self::TooManyPushSubscriptions => RefusalKind::Conflict,
            Self::BeyondTheEnd { .. } => RefusalKind::Invalid,
        }
    }
}

/// What a user has set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// For all conversations.
    pub settings: Settings,
    /// For single ones; at most 1,000.
    pub rules: BTreeMap<ConversationId, Rule>,
    /// Up to which position of the log the list is read.
    pub read_up_to: Position,
    /// The browsers that take pushes; at most 20.
    pub subscriptions: BTreeMap<PushSubscriptionId, Subscription>,
    /// When the last digest was issued.
    pub digest_at: Option<DateTime<Utc>>,
}

/// A browser that takes pushes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// Names exactly its target.
    pub mark: String,
    /// The login that it ends with.
    pub session: SessionId,
}

type Decision = Result<Vec<NotificationsEvent>, Refused>;

impl State {
    fn change_rule(&self, conversation: ConversationId, rule: Rule) -> Decision {
        let there = self.rules.get(&conversation).copied().unwrap_or_default();
        if there == rule {
            return Ok(vec![]);
        }
        if there.is_empty() && self.rules.len() >= Notifications::RULES_MAX {
            return Err(Refused::TooManyRules);
        }
        let changed = RuleChanged { conversation, rule };
        Ok(vec![NotificationsEvent::RuleChanged(changed)])
    }

    fn add(&self, added: &PushSubscriptionAdded, ended: &BTreeSet<SessionId>) -> Decision {
        let there = self.subscriptions.get(&added.subscription);
        if there.is_some_and(|it| it.mark == added.mark && it.session == added.session) {
            return Ok(vec![]);
        }
        let others = self.subscriptions.iter();
        let over = others
            .filter(|(id, it)| **id != added.subscription && ended.contains(&it.session))
            .map(|(id, _)| *id);
        let over: Vec<PushSubscriptionId> = over.collect();
        let left = self.subscriptions.len() - over.len();
        if there.is_none() && left >= Notifications::PUSH_SUBSCRIPTIONS_MAX {
            return Err(Refused::TooManyPushSubscriptions);
        }
        let removed = over.into_iter().map(|subscription| {
            NotificationsEvent::PushSubscriptionRemoved(PushSubscriptionRemoved {
                subscription,
                because: RemovedBecause::SessionEnded,
            })
        });
        let added = NotificationsEvent::PushSubscriptionAdded(added.clone());
        Ok(removed.chain([added]).collect())
    }

    fn remove(
        &self,
        subscription: PushSubscriptionId,
        session: Option<SessionId>,
        because: RemovedBecause,
    ) -> Vec<NotificationsEvent> {
        let there = self.subscriptions.get(&subscription);
        let is_meant = |it: &Subscription| session.is_none_or(|session| it.session == session);
        if !there.is_some_and(is_meant) {
            return vec![];
        }
        vec![NotificationsEvent::PushSubscriptionRemoved(
            PushSubscriptionRemoved {
                subscription,
                because,
            },
        )]
    }

    /// Whether a digest may be issued at `at`, as far as the last one counts.
    pub fn is_digest_due(&self, at: DateTime<Utc>) -> bool {
        let Some(after_s) = self.settings.digest_after_s else {
            return false;
        };
        let after = TimeDelta::seconds(after_s.into());
        self.digest_at.is_none_or(|last| last + after <= at)
    }
}

impl Decider for Notifications {
    type State = State;
    type Command = Command;
    type Event = NotificationsEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "notifications";

    fn decide(state: &State, command: &Command) -> Decision {
        match command {
            Command::ChangeRule { conversation, rule } => state.change_rule(*conversation, *rule),
            Command::ChangeSettings { user, settings } => {
                if state.settings == *settings {
                    return Ok(vec![]);
                }
                let settings = Personal::new(*user, settings.clone());
                Ok(vec![NotificationsEvent::SettingsChanged(SettingsChanged {
                    settings,
                })])
            }
            Command::ReadUpTo { position, head } => {
                let (position, head) = (*position, *head);
                if position > head {
                    return Err(Refused::BeyondTheEnd { position, head });
                }
                if position <= state.read_up_to {
                    return Ok(vec![]);
                }
                Ok(vec![NotificationsEvent::ReadUpTo(ReadUpTo { position })])
            }
            Command::AddPushSubscription { added, ended } => state.add(added, ended),
            Command::RemovePushSubscription {
                subscription,
                session,
                because,
            } => Ok(state.remove(*subscription, *session, *because)),
            Command::IssueDigest { user, email, at } => {
                if !state.is_digest_due(*at) {
                    return Ok(vec![]);
                }
                Ok(vec![NotificationsEvent::DigestIssued(DigestIssued {
                    email: Personal::new(*user, email.clone()),
                    issued_at: *at,
                    expires_at: *at + Self::DIGEST_LIFETIME,
                })])
            }
        }
    }

    fn evolve(mut state: State, _version: Version, event: &NotificationsEvent) -> State {
        match event {
            NotificationsEvent::RuleChanged(changed) => {
                if changed.rule.is_empty() {
                    state.rules.remove(&changed.conversation);
                } else {
                    state.rules.insert(changed.conversation, changed.rule);
                }
            }
            NotificationsEvent::SettingsChanged(changed) => {
                state.settings = changed.settings.value.clone();
            }
            NotificationsEvent::ReadUpTo(read) => {
                state.read_up_to = state.read_up_to.max(read.position);
            }
            NotificationsEvent::PushSubscriptionAdded(added) => {
                let subscription = Subscription {
                    mark: added.mark.clone(),
                    session: added.session,
                };
                state.subscriptions.insert(added.subscription, subscription);
            }
            NotificationsEvent::PushSubscriptionRemoved(removed) => {
                state.subscriptions.remove(&removed.subscription);
            }
            NotificationsEvent::DigestIssued(issued) => state.digest_at = Some(issued.issued_at),
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::notifications::settings::Level;
    use crate::testing::{ALICE, Given, moment};

    fn given(history: impl IntoIterator<Item = NotificationsEvent>) -> Given<Notifications> {
        Given::history(history)
    }

    fn conversation(number: u128) -> ConversationId {
        ConversationId(Uuid::from_u128(number))
    }

    fn session(number: u128) -> SessionId {
        SessionId(Uuid::from_u128(number))
    }

    const MUTED: Rule = Rule {
        level: Some(Level::None),
        muted_until: None,
    };

    fn rule(number: u128, rule: Rule) -> NotificationsEvent {
        NotificationsEvent::RuleChanged(RuleChanged {
            conversation: conversation(number),
            rule,
        })
    }

    fn set(number: u128, rule: Rule) -> Command {
        Command::ChangeRule {
            conversation: conversation(number),
            rule,
        }
    }

    fn subscription(number: u128, login: u128, mark: &str) -> PushSubscriptionAdded {
        PushSubscriptionAdded {
            subscription: PushSubscriptionId(Uuid::from_u128(number)),
            target: Personal::new(ALICE, "sealed".to_owned()),
            mark: mark.to_owned(),
            session: session(login),
            at: moment(0),
        }
    }

    fn add(number: u128, login: u128, mark: &str, ended: &[u128]) -> Command {
        Command::AddPushSubscription {
            added: subscription(number, login, mark),
            ended: ended.iter().copied().map(session).collect(),
        }
    }

    fn added(number: u128, login: u128, mark: &str) -> NotificationsEvent {
        NotificationsEvent::PushSubscriptionAdded(subscription(number, login, mark))
    }

    fn removed(number: u128, because: RemovedBecause) -> NotificationsEvent {
        NotificationsEvent::PushSubscriptionRemoved(PushSubscriptionRemoved {
            subscription: PushSubscriptionId(Uuid::from_u128(number)),
            because,
        })
    }

    fn remove(number: u128, login: Option<u128>, because: RemovedBecause) -> Command {
        Command::RemovePushSubscription {
            subscription: PushSubscriptionId(Uuid::from_u128(number)),
            session: login.map(session),
            because,
        }
    }

    #[test]
    fn a_rule_is_set_changed_and_ended() {
        given([]).when(set(1, MUTED)).then([rule(1, MUTED)]);
        given([rule(1, MUTED)]).when(set(1, MUTED)).then([]);
        given([rule(1, MUTED)])
            .when(set(1, Rule::default()))
            .then([rule(1, Rule::default())]);
        given([rule(1, MUTED), rule(1, Rule::default())])
            .when(set(1, Rule::default()))
            .then([]);
    }

    #[test]
    fn rules_are_few() {
        let full = || given((0..1_000).map(|number| rule(number, MUTED)));
        full()
            .when(set(1_000, MUTED))
            .then_refused(Refused::TooManyRules);
        let until = Rule {
            level: None,
            muted_until: Some(moment(9)),
        };
        full().when(set(7, until)).then([rule(7, until)]);
        full().when(set(1_000, Rule::default())).then([]);
    }

    #[test]
    fn settings_are_replaced() {
        let settings = Settings {
            direct: Level::Mentions,
            ..Settings::default()
        };
        let change = |settings: &Settings| Command::ChangeSettings {
            user: ALICE,
            settings: settings.clone(),
        };
        let changed = NotificationsEvent::SettingsChanged(SettingsChanged {
            settings: Personal::new(ALICE, settings.clone()),
        });
        given([]).when(change(&settings)).then([changed.clone()]);
        given([changed]).when(change(&settings)).then([]);
        given([]).when(change(&Settings::default())).then([]);
    }

    #[test]
    fn reading_only_moves_forward_and_not_beyond_the_end() {
        let read = |position| {
            NotificationsEvent::ReadUpTo(ReadUpTo {
                position: Position(position),
            })
        };
        let up_to = |position| Command::ReadUpTo {
            position: Position(position),
            head: Position(9),
        };
        given([]).when(up_to(7)).then([read(7)]);
        given([read(7)]).when(up_to(7)).then([]);
        given([read(7)]).when(up_to(3)).then([]);
        given([])
            .when(up_to(10))
            .then_refused(Refused::BeyondTheEnd {
                position: Position(10),
                head: Position(9),
            });
    }

    #[test]
    fn a_browser_is_added_again_with_other_keys_or_another_login() {
        let again = |login, mark| add(1, login, mark, &[]);
        let there = || given([added(1, 1, "a")]);
        there().when(again(1, "a")).then([]);
        there().when(again(1, "b")).then([added(1, 1, "b")]);
        there().when(again(2, "a")).then([added(1, 2, "a")]);
        let full = || given((0..20).map(|number| added(number, 1, "a")));
        full()
            .when(add(20, 1, "a", &[]))
            .then_refused(Refused::TooManyPushSubscriptions);
        full().when(again(2, "a")).then([added(1, 2, "a")]);
    }

    #[test]
    fn browsers_of_ended_logins_give_way() {
        let full = || {
            let others = (1..20).map(|number| added(number, 1, "a"));
            given(std::iter::once(added(0, 2, "a")).chain(others))
        };
        full()
            .when(add(20, 1, "a", &[3]))
            .then_refused(Refused::TooManyPushSubscriptions);
        let over = removed(0, RemovedBecause::SessionEnded);
        full()
            .when(add(20, 1, "a", &[2]))
            .then([over, added(20, 1, "a")]);
        // The same browser, which another login has now.
        full().when(add(0, 3, "a", &[2])).then([added(0, 3, "a")]);
    }

    #[test]
    fn a_browser_is_removed_unless_another_login_has_it_now() {
        let there = || given([added(1, 1, "a"), added(1, 2, "a")]);
        there()
            .when(remove(1, Some(1), RemovedBecause::SessionEnded))
            .then([]);
        there()
            .when(remove(1, Some(2), RemovedBecause::Gone))
            .then([removed(1, RemovedBecause::Gone)]);
        there()
            .when(remove(1, None, RemovedBecause::Asked))
            .then([removed(1, RemovedBecause::Asked)]);
        there()
            .when(remove(2, None, RemovedBecause::Asked))
            .then([]);
    }

    #[test]
    fn one_digest_is_issued_in_a_period() {
        let email = Email::parse("alice@example.org").expect("an address");
        let issue = |seconds| Command::IssueDigest {
            user: ALICE,
            email: email.clone(),
            at: moment(seconds),
        };
        let issued = |seconds| {
            NotificationsEvent::DigestIssued(DigestIssued {
                email: Personal::new(ALICE, email.clone()),
                issued_at: moment(seconds),
                expires_at: moment(seconds + 6 * 60 * 60),
            })
        };
        given([]).when(issue(0)).then([]);
        let hourly = NotificationsEvent::SettingsChanged(SettingsChanged {
            settings: Personal::new(
                ALICE,
                Settings {
                    digest_after_s: Some(3_600),
                    ..Settings::default()
                },
            ),
        });
        given([hourly.clone()]).when(issue(0)).then([issued(0)]);
        let wanted = || given([hourly.clone(), issued(0)]);
        wanted().when(issue(3_599)).then([]);
        wanted().when(issue(3_600)).then([issued(3_600)]);
    }
}
