//! Who is here, and who is with other nodes. It lives in memory and in signals, never in the log.
//!
//! A user is online while they have a connection to any node; several connections are one user. The
//! end of the last one is told after a short while, and not at all if they are back by then. A node
//! tells the others whom it has, and that it lives; whom a silent node had is offline.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::{ConversationId, UserId};
use infra::bus::{Here, NodeId, SignalKind};
use parking_lot::Mutex;

use crate::frames::PresenceState;
use crate::hub::Hub;

/// Conversations with more connections than this say nothing of who is online.
const FOLLOWERS_MAX: usize = 200;

/// Of a user's conversations only so many are told of their coming and going.
pub(crate) const CONVERSATIONS_MAX: usize = 200;

/// Most users named as online when a connection begins.
const ONLINE_MAX: usize = 100;

/// How often a node says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// A node is not called upon again before it had so long to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// Users and conversations in one part of an answer, at most: less than 100 KiB.
const PART_MAX: usize = 2_000;

/// A node that was silent for so long is dead.
const SILENT_MAX: Duration = Duration::from_secs(7);

/// Who is here, whose last connection ended a moment ago, and who is elsewhere.
#[derive(Default)]
pub(crate) struct Presences(Mutex<Known>);

#[derive(Default)]
struct Known {
    here: HashMap<UserId, Connected>,
    /// As many as lose their last connection within the time that others are kept waiting.
    absences: HashMap<UserId, Absence>,
    elsewhere: HashMap<NodeId, Node>,
    /// Who is elsewhere, by conversation.
    with: HashMap<ConversationId, HashSet<(NodeId, UserId)>>,
    said_alive: Option<Instant>,
}

/// A user with connections to this node.
struct Connected {
    connections: usize,
    conversations: Vec<ConversationId>,
}

/// A user who went, and who is to be told.
struct Absence {
    since: Instant,
    conversations: Vec<ConversationId>,
}

/// Another node.
struct Node {
    heard: Instant,
    /// How often it was called upon to say whom it has.
    calls: u64,
    /// When it was called upon last.
    called: Option<Instant>,
    users: HashMap<UserId, There>,
}

/// A user with connections to another node.
struct There {
    /// After how many calls that was last said.
    said_after: u64,
    conversations: Vec<ConversationId>,
}

impl Known {
    fn is_elsewhere(&self, user: UserId) -> bool {
        self.elsewhere
            .values()
            .any(|node| node.users.contains_key(&user))
    }

    fn is_here(&self, user: UserId) -> bool {
        self.here.contains_key(&user) || self.absences.contains_key(&user)
    }

    /// Notes a user of another node; says whether that is news to all.
    fn add(&mut self, node: NodeId, user: UserId, conversations: &[ConversationId]) -> bool {
        let is_news = !self.is_here(user) && !self.is_elsewhere(user);
        self.remove(node, user);
        for conversation in conversations {
            let with = self.with.entry(*conversation).or_default();
            with.insert((node, user));
        }
        let entry = self.elsewhere.entry(node).or_insert_with(|| Node {
            heard: Instant::now(),
            calls: 0,
            called: None,
            users: HashMap::new(),
        });
        let there = There {
            said_after: entry.calls,
            conversations: conversations.to_vec(),
        };
        entry.users.insert(user, there);
        is_news
    }

    /// Forgets a user of another node; says whom to tell if they are nowhere any more.
    fn remove(&mut self, node: NodeId, user: UserId) -> Option<Vec<ConversationId>> {
        let There { conversations, .. } = self.elsewhere.get_mut(&node)?.users.remove(&user)?;
        for conversation in &conversations {
            if let Some(with) = self.with.get_mut(conversation) {
                with.remove(&(node, user));
                if with.is_empty() {
                    self.with.remove(conversation);
                }
            }
        }
        (!self.is_here(user) && !self.is_elsewhere(user)).then_some(conversations)
    }

    /// Forgets a node; says who is nowhere any more, and whom to tell.
    fn remove_node(&mut self, node: NodeId) -> Vec<(UserId, Vec<ConversationId>)> {
        let gone = self.remove_where(node, |_| true);
        self.elsewhere.remove(&node);
        gone
    }

    fn remove_where(
        &mut self,
        node: NodeId,
        which: impl Fn(&There) -> bool,
    ) -> Vec<(UserId, Vec<ConversationId>)> {
        let users = self.elsewhere.get(&node).into_iter();
        let users = users.flat_map(|node| &node.users);
        let users: Vec<UserId> = users
            .filter(|(_, there)| which(there))
            .map(|(user, _)| *user)
            .collect();
        users
            .into_iter()
            .filter_map(|user| Some((user, self.remove(node, user)?)))
            .collect()
    }

    /// Compares what `node` says of itself with what is known of it. Where that differs, signals
    /// were lost or are still on their way: it is called upon, and whoever was not named after the
    /// call before is no longer there. Says who that is, and whether to call.
    fn check(&mut self, node: NodeId, users: usize) -> (Vec<(UserId, Vec<ConversationId>)>, bool) {
        let Some(known) = self.elsewhere.get_mut(&node) else {
            return (Vec::new(), users > 0);
        };
        if known.users.len() == users {
            return (Vec::new(), false);
        }
        let now = Instant::now();
        let answers = |called| now.duration_since(called) < ANSWER_WITHIN;
        if known.called.is_some_and(answers) {
            return (Vec::new(), false);
        }
        known.called = Some(now);
        let calls = known.calls;
        known.calls += 1;
        let gone = self.remove_where(node, |there| there.said_after < calls);
        (gone, true)
    }
}

/// `all` in parts that fit into a message each.
fn in_parts(all: Vec<Here>) -> Vec<Vec<Here>> {
    let mut parts = Vec::new();
    let (mut part, mut size) = (Vec::new(), 0);
    for here in all {
        size += 1 + here.conversations.len();
        if size > PART_MAX && !part.is_empty() {
            size = 1 + here.conversations.len();
            parts.push(std::mem::take(&mut part));
        }
        part.push(here);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

impl Presences {
    /// How often it is looked at who has been away for long enough.
    pub(crate) const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
}

impl Hub {
    /// A connection of `user` began. Those in `conversations` are told if it is the first.
    pub(crate) fn came(&self, user: UserId, conversations: &[ConversationId]) {
        let told = conversations.iter().take(CONVERSATIONS_MAX).copied();
        let told: Vec<ConversationId> = told.collect();
        let mut known = self.presences.0.lock();
        let was_away_briefly = known.absences.remove(&user).is_some();
        let here = known.here.entry(user).or_insert_with(|| Connected {
            connections: 0,
            conversations: told.clone(),
        });
        here.connections += 1;
        let is_first = here.connections == 1;
        let is_news = is_first && !was_away_briefly && !known.is_elsewhere(user);
        drop(known);
        if is_first {
            let conversations = told.clone();
            let users = vec![Here {
                user,
                conversations,
            }];
            self.say(SignalKind::Here { users });
        }
        if is_news {
            self.tell_presence(user, PresenceState::Online, &told);
        }
    }

    /// A connection of `user` ends. Those in `conversations` are told after a while if it was the
    /// last.
    pub(crate) fn goes(&self, user: UserId, mut conversations: Vec<ConversationId>) {
        conversations.truncate(CONVERSATIONS_MAX);
        let mut known = self.presences.0.lock();
        if let Some(here) = known.here.get_mut(&user) {
            here.connections -= 1;
            if here.connections == 0 {
                known.here.remove(&user);
                let absence = Absence {
                    since: Instant::now(),
                    conversations,
                };
                known.absences.insert(user, absence);
            }
        }
    }

    /// Tells of those who have been away for `offline_after`, and of those whose node is silent;
    /// says now and then that this node lives.
    pub(crate) fn look_after_presences(&self, offline_after: Duration) {
        let now = Instant::now();
        let mut known = self.presences.0.lock();
        let absences: Vec<_> = known
            .absences
            .extract_if(|_, absence| now.duration_since(absence.since) >= offline_after)
            .collect();
        let silent = |node: &Node| now.duration_since(node.heard) >= SILENT_MAX;
        let silent: Vec<NodeId> = known
            .elsewhere
            .iter()
            .filter(|(_, node)| silent(node))
            .map(|(id, _)| *id)
            .collect();
        let mut offline = Vec::new();
        for node in silent {
            offline.extend(known.remove_node(node));
        }
        let mut gone = Vec::new();
        for (user, absence) in absences {
            gone.push(user);
            if !known.is_elsewhere(user) {
                offline.push((user, absence.conversations));
            }
        }
        let says_alive = known
            .said_alive
            .is_none_or(|said| now.duration_since(said) >= ALIVE_EVERY);
        let users = known.here.len() + known.absences.len();
        if says_alive {
            known.said_alive = Some(now);
        }
        drop(known);
        for user in gone {
            self.say(SignalKind::Gone { user });
        }
        if says_alive {
            self.say(SignalKind::Alive { users });
        }
        self.tell_offline(offline);
    }

    /// Takes what another node says of who is with it.
    pub(crate) fn hear_presence(&self, node: NodeId, kind: SignalKind) {
        let mut known = self.presences.0.lock();
        if let Some(node) = known.elsewhere.get_mut(&node) {
            node.heard = Instant::now();
        }
        match kind {
            SignalKind::Here { mut users } => {
                users.retain_mut(|here| {
                    here.conversations.truncate(CONVERSATIONS_MAX);
                    known.add(node, here.user, &here.conversations)
                });
                drop(known);
                for here in users {
                    self.tell_presence(here.user, PresenceState::Online, &here.conversations);
                }
            }
            SignalKind::Gone { user } => {
                let told = known.remove(node, user);
                drop(known);
                self.tell_offline(told.map(|conversations| (user, conversations)));
            }
            SignalKind::Ends => {
                let gone = known.remove_node(node);
                drop(known);
                self.tell_offline(gone);
            }
            SignalKind::Alive { users } => {
                let (gone, calls) = known.check(node, users);
                drop(known);
                self.tell_offline(gone);
                if calls {
                    self.say(SignalKind::RollCall { of: Some(node) });
                }
            }
            SignalKind::RollCall { of } if of.is_none_or(|of| of == self.node) => {
                let here = known.here.iter();
                let here = here.map(|(user, here)| (user, &here.conversations));
                let away = known.absences.iter();
                let away = away.map(|(user, absence)| (user, &absence.conversations));
                let all = here.chain(away).map(|(user, conversations)| Here {
                    user: *user,
                    conversations: conversations.clone(),
                });
                let all: Vec<Here> = all.collect();
                drop(known);
                for users in in_parts(all) {
                    self.say(SignalKind::Here { users });
                }
            }
            SignalKind::RollCall { .. } | SignalKind::Typing { .. } => {}
        }
    }

    fn tell_offline(&self, gone: impl IntoIterator<Item = (UserId, Vec<ConversationId>)>) {
        for (user, conversations) in gone {
            self.tell_presence(user, PresenceState::Offline, &conversations);
        }
    }

    fn tell_presence(&self, of: UserId, state: PresenceState, conversations: &[ConversationId]) {
        for conversation in conversations {
            self.each_follower(*conversation, FOLLOWERS_MAX, |follower| {
                if follower.user != of {
                    follower.presence(of, state);
                }
            });
        }
    }

    /// Who is online among those who share one of `conversations` with `user`.
    pub(crate) fn online_with(
        &self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> Vec<UserId> {
        let mut online = HashSet::new();
        let conversations = conversations.iter().take(CONVERSATIONS_MAX);
        for conversation in conversations.clone() {
            self.each_follower(*conversation, FOLLOWERS_MAX, |follower| {
                if follower.user != user && online.len() < ONLINE_MAX {
                    online.insert(follower.user);
                }
            });
        }
        let known = self.presences.0.lock();
        for conversation in conversations {
            for (_, other) in known.with.get(conversation).into_iter().flatten() {
                if *other != user && online.len() < ONLINE_MAX {
                    online.insert(*other);
                }
            }
        }
        online.into_iter().collect()
    }
}
