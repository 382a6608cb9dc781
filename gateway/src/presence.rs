//! Who is here, and who is with other nodes. It lives in memory and in signals, never in the log; only
//! what a user chose to be shown as is in the log, and comes from there.
//!
//! A user is there while they have a connection to any node; several connections are one user, who is
//! online if any of them is, and else idle. Each node settles what its own connections come to, tells
//! the others, and says that it lives; whom a silent node had is offline. Of all nodes together
//! [`combined`] says what is shown. One task tells of changes, so that nobody hears them in another
//! order.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::user::{PresenceChoice, Shown, UserEvent};
use domain::{ConversationId, Event, UserId};
use infra::bus::{Here, HereState, NodeId, Signal, SignalKind};
use infra::event_store::RecordedEvent;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use crate::frames::{Activity, PresenceState};
use crate::hub::Hub;
use crate::mailbox::Mailbox;

/// Type of the event that says as what a user is shown.
pub(crate) const PRESENCE_CHOSEN: &str = "presence-chosen";

/// Conversations with more connections than this say nothing of who is there.
const FOLLOWERS_MAX: usize = 200;

/// Of a user's conversations only so many are told of their coming and going.
const CONVERSATIONS_MAX: usize = 200;

/// Most users named as there when a connection begins.
const NAMED_MAX: usize = 100;

/// The least time between two changes of a user that a node tells; of those between the last counts.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked at whose time has come.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// How often a node says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// A node is not called upon again before it had so long to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// Users and conversations in one part of an answer, at most: less than 100 KiB.
const PART_MAX: usize = 2_000;

/// A node that was silent for so long is dead.
const SILENT_MAX: Duration = Duration::from_secs(7);

/// Who is here and who is elsewhere.
#[derive(Default)]
pub(crate) struct Presences {
    known: Mutex<Known>,
    /// There is something to tell.
    news: Arc<Notify>,
}

#[derive(Default)]
struct Known {
    here: HashMap<UserId, Local>,
    /// Those of `here` who change with time alone: whose last connection ended, of whom something was
    /// told a moment ago, and whose choice has an end.
    unsettled: HashSet<UserId>,
    elsewhere: HashMap<NodeId, Node>,
    /// Who is elsewhere, by conversation.
    with: HashMap<ConversationId, HashSet<(NodeId, UserId)>>,
    /// Changes that those who share a conversation are to be told; at most one of each user.
    untold: HashMap<UserId, Change>,
    /// Users of whom other nodes are to be told; what, is read off when they are.
    unsaid: HashSet<UserId>,
    said_alive: Option<Instant>,
}

/// A user with connections to this node, or without any since a moment ago.
struct Local {
    /// Connections on which they do something, and on which not.
    online: usize,
    idle: usize,
    /// When the last connection ended, and how it was; `None` while there are some.
    left: Option<(Instant, Activity)>,
    choice: PresenceChoice,
    conversations: Vec<ConversationId>,
    /// The conversations are others than those that were told to other nodes.
    moved: bool,
    /// As what they are shown as far as this node is concerned; `None` where they are not.
    shown: Option<HereState>,
    /// When that changed.
    changed: Option<Instant>,
}

/// What is to be told of a user.
struct Change {
    from: PresenceState,
    to: PresenceState,
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
    state: HereState,
}

/// As what somebody is shown of whom nodes say `states`. What a user chose they chose for all devices,
/// so that one node that knows it is enough.
fn combined(states: impl Iterator<Item = HereState>) -> PresenceState {
    let mut combined = PresenceState::Offline;
    for state in states {
        combined = match (combined, state) {
            (PresenceState::Away, _) | (_, HereState::Away) => PresenceState::Away,
            (PresenceState::Online, _) | (_, HereState::Online) => PresenceState::Online,
            (PresenceState::Idle | PresenceState::Offline, HereState::Idle) => PresenceState::Idle,
        };
    }
    combined
}

impl Local {
    fn new(choice: PresenceChoice, conversations: Vec<ConversationId>) -> Self {
        Self {
            online: 0,
            idle: 0,
            left: None,
            choice,
            conversations,
            moved: false,
            shown: None,
            changed: None,
        }
    }

    /// Of connections as these there is one more, or one less.
    fn count(&mut self, activity: Activity) -> &mut usize {
        match activity {
            Activity::Online => &mut self.online,
            Activity::Idle => &mut self.idle,
        }
    }

    /// What they do; after their last connection, what they did then.
    fn activity(&self) -> Activity {
        match self.left {
            Some((_, activity)) => activity,
            None if self.online > 0 => Activity::Online,
            None => Activity::Idle,
        }
    }

    /// As what they should be shown at the moment `now`.
    fn due(&self, now: DateTime<Utc>) -> Option<HereState> {
        match self.choice.at(now) {
            Shown::Invisible => None,
            Shown::Away => Some(HereState::Away),
            Shown::Automatic => Some(match self.activity() {
                Activity::Online => HereState::Online,
                Activity::Idle => HereState::Idle,
            }),
        }
    }
}

impl Known {
    fn shown(&self, user: UserId) -> PresenceState {
        let here = self.here.get(&user).and_then(|local| local.shown);
        let there = self.elsewhere.values();
        let there = there.filter_map(|node| node.users.get(&user).map(|there| there.state));
        combined(here.into_iter().chain(there))
    }

    /// Notes that `user`, who was shown as `from`, may be shown as something else now.
    fn changed(&mut self, user: UserId, from: PresenceState, conversations: &[ConversationId]) {
        let to = self.shown(user);
        let from = self.untold.remove(&user).map_or(from, |untold| untold.from);
        if from != to {
            let change = Change {
                from,
                to,
                conversations: conversations.to_vec(),
            };
            self.untold.insert(user, change);
        }
    }

    /// Brings what is shown of a user of this node up to date, unless that was done a moment ago, or
    /// forgets one who is gone for `offline_after`.
    fn settle(&mut self, user: UserId, now: Instant, time: DateTime<Utc>, offline_after: Duration) {
        let before = self.shown(user);
        let Some(local) = self.here.get_mut(&user) else {
            self.unsettled.remove(&user);
            return;
        };
        let is_gone = |since: Instant| now.duration_since(since) >= offline_after;
        if local.left.is_some_and(|(since, _)| is_gone(since)) {
            self.unsettled.remove(&user);
            if let Some(local) = self.here.remove(&user)
                && local.shown.is_some()
            {
                self.unsaid.insert(user);
                self.changed(user, before, &local.conversations);
            }
            return;
        }
        let due = local.due(time);
        let may = local
            .changed
            .is_none_or(|changed| now.duration_since(changed) >= TOLD_EVERY);
        let mut is_news = false;
        if may && (due != local.shown || (local.moved && due.is_some())) {
            is_news = due != local.shown;
            local.shown = due;
            local.moved = false;
            local.changed = Some(now);
            self.unsaid.insert(user);
        }
        let waits = local.left.is_some()
            || due != local.shown
            || (local.moved && due.is_some())
            || local.choice.until.is_some_and(|until| time < until);
        let conversations = is_news.then(|| local.conversations.clone());
        if waits {
            self.unsettled.insert(user);
        } else {
            self.unsettled.remove(&user);
        }
        if let Some(conversations) = conversations {
            self.changed(user, before, &conversations);
        }
    }

    /// How many users of this node others are told of.
    fn said(&self) -> usize {
        let shown = self.here.values().filter(|local| local.shown.is_some());
        shown.count()
    }

    /// What other nodes are told of `user`, who is of this one; `None` where they are not shown.
    fn said_of(&self, user: UserId) -> Option<Here> {
        let local = self.here.get(&user)?;
        Some(Here {
            user,
            conversations: local.conversations.clone(),
            state: local.shown?,
        })
    }

    /// Notes a user of another node.
    fn add(&mut self, node: NodeId, here: &Here) {
        let user = here.user;
        let before = self.shown(user);
        self.forget(node, user);
        for conversation in &here.conversations {
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
            conversations: here.conversations.clone(),
            state: here.state,
        };
        entry.users.insert(user, there);
        self.changed(user, before, &here.conversations);
    }

    /// Forgets a user of another node.
    fn remove(&mut self, node: NodeId, user: UserId) {
        let before = self.shown(user);
        if let Some(conversations) = self.forget(node, user) {
            self.changed(user, before, &conversations);
        }
    }

    /// The same, without a word; gives where it would be told.
    fn forget(&mut self, node: NodeId, user: UserId) -> Option<Vec<ConversationId>> {
        let There { conversations, .. } = self.elsewhere.get_mut(&node)?.users.remove(&user)?;
        for conversation in &conversations {
            if let Some(with) = self.with.get_mut(conversation) {
                with.remove(&(node, user));
                if with.is_empty() {
                    self.with.remove(conversation);
                }
            }
        }
        Some(conversations)
    }

    /// Forgets a node.
    fn remove_node(&mut self, node: NodeId) {
        self.remove_where(node, |_| true);
        self.elsewhere.remove(&node);
    }

    fn remove_where(&mut self, node: NodeId, which: impl Fn(&There) -> bool) {
        let users = self.elsewhere.get(&node).into_iter();
        let users = users.flat_map(|node| &node.users);
        let users: Vec<UserId> = users
            .filter(|(_, there)| which(there))
            .map(|(user, _)| *user)
            .collect();
        for user in users {
            self.remove(node, user);
        }
    }

    /// Compares what `node` says of itself with what is known of it. Where that differs, signals
    /// were lost or are still on their way: it is called upon, and whoever was not named after the
    /// call before is no longer there. Says whether to call.
    fn check(&mut self, node: NodeId, users: usize) -> bool {
        let Some(known) = self.elsewhere.get_mut(&node) else {
            return users > 0;
        };
        if known.users.len() == users {
            return false;
        }
        let now = Instant::now();
        let answers = |called| now.duration_since(called) < ANSWER_WITHIN;
        if known.called.is_some_and(answers) {
            return false;
        }
        known.called = Some(now);
        let calls = known.calls;
        known.calls += 1;
        self.remove_where(node, |there| there.said_after < calls);
        true
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

impl Hub {
    /// A connection of the user of `mailbox` began, which as far as is known chose `choice`. Those in
    /// `conversations` are told if that changes what is shown.
    pub(crate) fn came(
        &self,
        mailbox: &Mailbox,
        choice: PresenceChoice,
        conversations: &[ConversationId],
    ) {
        let user = mailbox.user;
        let mut known = self.presences.known.lock();
        // Whoever hears of a choice leaves it in the mailbox before they look for the user here.
        let choice = mailbox.chosen().unwrap_or(choice);
        let local = known.here.entry(user).or_insert_with(|| {
            let told = conversations.iter().take(CONVERSATIONS_MAX);
            Local::new(choice, told.copied().collect())
        });
        local.choice = choice;
        local.left = None;
        *local.count(Activity::Online) += 1;
        self.settle(&mut known, user);
    }

    /// A connection of `user` ends, on which they were as `activity` says. It is told after a while if
    /// it was the last.
    pub(crate) fn goes(&self, user: UserId, activity: Activity) {
        let mut known = self.presences.known.lock();
        if let Some(local) = known.here.get_mut(&user) {
            *local.count(activity) -= 1;
            if local.online + local.idle == 0 {
                local.left = Some((Instant::now(), activity));
            }
            self.settle(&mut known, user);
        }
    }

    /// On a connection of `user`, who was as `from` says, they are as `to` says from now on.
    pub(crate) fn turns(&self, user: UserId, from: Activity, to: Activity) {
        let mut known = self.presences.known.lock();
        if let Some(local) = known.here.get_mut(&user) {
            *local.count(from) -= 1;
            *local.count(to) += 1;
            self.settle(&mut known, user);
        }
    }

    /// `user`, who is connected, is in `conversation` from now on, or no longer.
    pub(crate) fn moves(&self, user: UserId, conversation: ConversationId, is_in: bool) {
        let mut known = self.presences.known.lock();
        let Some(local) = known.here.get_mut(&user) else {
            return;
        };
        let told = &mut local.conversations;
        let was_in = told.contains(&conversation);
        if is_in && !was_in && told.len() < CONVERSATIONS_MAX {
            told.push(conversation);
        } else if !is_in && was_in {
            told.retain(|other| *other != conversation);
        } else {
            return;
        }
        local.moved = true;
        self.settle(&mut known, user);
    }

    /// Whether `user` chose not to be seen.
    pub(crate) fn is_invisible(&self, user: UserId) -> bool {
        let now = self.clock.now();
        let known = self.presences.known.lock();
        let local = known.here.get(&user);
        local.is_some_and(|local| local.choice.at(now) == Shown::Invisible)
    }

    /// Learns as what a user is shown from now on.
    pub(crate) fn note_presence(&self, recorded: &RecordedEvent) {
        if &*recorded.event_type != PRESENCE_CHOSEN {
            return;
        }
        let Ok(user) = recorded.stream.key().parse::<UserId>() else {
            return;
        };
        let choice = match recorded.event() {
            Ok(Event::User(UserEvent::PresenceChosen(chosen))) => PresenceChoice::from(chosen),
            // Of one that cannot be read it is not known that they may be seen.
            Ok(_) | Err(_) => PresenceChoice {
                shown: Shown::Invisible,
                until: None,
            },
        };
        for mailbox in self.connections_of(user) {
            mailbox.choose(choice);
        }
        let mut known = self.presences.known.lock();
        if let Some(local) = known.here.get_mut(&user) {
            local.choice = choice;
            self.settle(&mut known, user);
        }
    }

    fn settle(&self, known: &mut Known, user: UserId) {
        let offline_after = self.limits.offline_after;
        known.settle(user, Instant::now(), self.clock.now(), offline_after);
        if !known.untold.is_empty() || !known.unsaid.is_empty() {
            self.presences.news.notify_one();
        }
    }

    /// Looks at those whose time has come, and at nodes that are silent; says now and then that this
    /// node lives.
    fn look_after_presences(&self) {
        let now = Instant::now();
        let mut known = self.presences.known.lock();
        for user in known.unsettled.iter().copied().collect::<Vec<_>>() {
            self.settle(&mut known, user);
        }
        let silent = |node: &Node| now.duration_since(node.heard) >= SILENT_MAX;
        let silent: Vec<NodeId> = known
            .elsewhere
            .iter()
            .filter(|(_, node)| silent(node))
            .map(|(id, _)| *id)
            .collect();
        for node in silent {
            known.remove_node(node);
        }
        let says_alive = known
            .said_alive
            .is_none_or(|said| now.duration_since(said) >= ALIVE_EVERY);
        if says_alive {
            known.said_alive = Some(now);
        }
        let users = known.said();
        drop(known);
        self.tell_news();
        if says_alive {
            self.say(SignalKind::Alive { users });
        }
    }

    /// Tells other nodes and connections here what there is to tell. Only one task does.
    fn tell_news(&self) {
        let mut known = self.presences.known.lock();
        let unsaid = std::mem::take(&mut known.unsaid);
        let untold = std::mem::take(&mut known.untold);
        let (mut here, mut gone) = (Vec::new(), Vec::new());
        for user in unsaid {
            match known.said_of(user) {
                Some(shown) => here.push(shown),
                None => gone.push(user),
            }
        }
        drop(known);
        for users in in_parts(here) {
            self.say(SignalKind::Here { users });
        }
        for user in gone {
            self.say(SignalKind::Gone { user });
        }
        for (user, change) in untold {
            for conversation in &change.conversations {
                self.each_follower(*conversation, FOLLOWERS_MAX, |follower| {
                    if follower.user != user {
                        follower.presence(user, change.to);
                    }
                });
            }
        }
    }

    /// Takes what another node says of who is with it.
    pub(crate) fn hear_presence(&self, node: NodeId, kind: SignalKind) {
        let mut known = self.presences.known.lock();
        if let Some(node) = known.elsewhere.get_mut(&node) {
            node.heard = Instant::now();
        }
        let answer = match kind {
            SignalKind::Here { users } => {
                for mut here in users {
                    here.conversations.truncate(CONVERSATIONS_MAX);
                    known.add(node, &here);
                }
                Vec::new()
            }
            SignalKind::Gone { user } => {
                known.remove(node, user);
                Vec::new()
            }
            SignalKind::Ends => {
                known.remove_node(node);
                Vec::new()
            }
            SignalKind::Alive { users } => {
                let calls = known.check(node, users);
                let call = SignalKind::RollCall { of: Some(node) };
                calls.then_some(call).into_iter().collect()
            }
            SignalKind::RollCall { of } if of.is_none_or(|of| of == self.node) => {
                let all = known.here.keys().filter_map(|user| known.said_of(*user));
                let parts = in_parts(all.collect()).into_iter();
                parts.map(|users| SignalKind::Here { users }).collect()
            }
            SignalKind::RollCall { .. } | SignalKind::Typing { .. } => Vec::new(),
        };
        drop(known);
        for kind in answer {
            self.say(kind);
        }
        self.tell_news();
    }

    /// Who is there among those who share one of `conversations` with `user`, and as what.
    pub(crate) fn present_with(
        &self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> HashMap<UserId, PresenceState> {
        let mut present = HashMap::new();
        for conversation in conversations.iter().take(CONVERSATIONS_MAX) {
            let mut others = HashSet::new();
            self.each_follower(*conversation, FOLLOWERS_MAX, |follower| {
                others.insert(follower.user);
            });
            let known = self.presences.known.lock();
            let with = known.with.get(conversation).into_iter().flatten();
            others.extend(with.map(|(_, other)| *other));
            for other in others {
                if present.len() == NAMED_MAX {
                    return present;
                }
                let state = known.shown(other);
                if other != user && state != PresenceState::Offline {
                    present.insert(other, state);
                }
            }
        }
        present
    }
}

/// Hears other nodes and tells what is new of who is there, for as long as there is a hub.
pub(crate) async fn attend(hub: Weak<Hub>, mut heard: broadcast::Receiver<Signal>) {
    let mut tick = tokio::time::interval(LOOKED_AT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let Some(news) = hub.upgrade().map(|hub| Arc::clone(&hub.presences.news)) else {
        return;
    };
    loop {
        tokio::select! {
            signal = heard.recv() => {
                let Some(hub) = hub.upgrade() else { return };
                // Those that were missed are made up for by what the nodes say later.
                if let Ok(signal) = signal {
                    hub.hear(signal);
                }
            }
            () = news.notified() => {
                let Some(hub) = hub.upgrade() else { return };
                hub.tell_news();
            }
            _ = tick.tick() => {
                let Some(hub) = hub.upgrade() else { return };
                hub.look_after_presences();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use infra::clock::fresh_id;

    use super::*;

    const AFTER: Duration = Duration::from_secs(5);

    /// One user who is here, at some moment.
    struct Given {
        known: Known,
        user: UserId,
        began: Instant,
        time: DateTime<Utc>,
    }

    impl Given {
        fn online() -> Self {
            let user = UserId(fresh_id());
            let mut local = Local::new(PresenceChoice::default(), Vec::new());
            local.online = 1;
            let mut known = Known::default();
            known.here.insert(user, local);
            let mut given = Self {
                known,
                user,
                began: Instant::now(),
                time: DateTime::UNIX_EPOCH,
            };
            assert_eq!(given.told_at(0), Some(PresenceState::Online));
            given
        }

        fn local(&mut self) -> &mut Local {
            self.known.here.get_mut(&self.user).unwrap()
        }

        /// What others are told `milliseconds` after the beginning, if anything.
        fn told_at(&mut self, milliseconds: u64) -> Option<PresenceState> {
            let now = self.began + Duration::from_millis(milliseconds);
            let time = self.time + chrono::TimeDelta::milliseconds(milliseconds.cast_signed());
            self.known.settle(self.user, now, time, AFTER);
            let change = self.known.untold.remove(&self.user);
            change.map(|change| change.to)
        }

        fn turns(&mut self, from: Activity, to: Activity) {
            *self.local().count(from) -= 1;
            *self.local().count(to) += 1;
        }
    }

    #[test]
    fn what_changes_within_a_second_is_told_once_and_the_last_counts() {
        let mut given = Given::online();
        given.turns(Activity::Online, Activity::Idle);
        assert_eq!(given.told_at(100), None);
        given.turns(Activity::Idle, Activity::Online);
        assert_eq!(given.told_at(200), None);
        assert!(!given.known.unsettled.contains(&given.user));
        given.turns(Activity::Online, Activity::Idle);
        assert_eq!(given.told_at(900), None);
        assert!(given.known.unsettled.contains(&given.user));
        assert_eq!(given.told_at(1_000), Some(PresenceState::Idle));
        assert!(given.known.unsettled.is_empty());
    }

    #[test]
    fn who_was_gone_for_a_moment_was_there_all_the_time() {
        let mut given = Given::online();
        let at = given.began + Duration::from_secs(2);
        *given.local().count(Activity::Online) -= 1;
        given.local().left = Some((at, Activity::Online));
        assert_eq!(given.told_at(6_999), None);
        assert_eq!(given.told_at(7_000), Some(PresenceState::Offline));
        assert!(given.known.here.is_empty() && given.known.unsettled.is_empty());
    }

    #[test]
    fn a_choice_ends_by_itself_and_hides_from_other_nodes() {
        let mut given = Given::online();
        let until = Some(given.time + chrono::TimeDelta::seconds(9));
        let shown = Shown::Invisible;
        given.local().choice = PresenceChoice { shown, until };
        assert_eq!(given.told_at(2_000), Some(PresenceState::Offline));
        assert!(given.known.said_of(given.user).is_none());
        assert_eq!(given.known.said(), 0);
        assert_eq!(given.told_at(8_999), None);
        assert_eq!(given.told_at(9_000), Some(PresenceState::Online));
        assert_eq!(given.known.said(), 1);
    }

    #[test]
    fn of_several_nodes_what_was_chosen_wins_and_then_who_does_something() {
        let (online, idle, away) = (HereState::Online, HereState::Idle, HereState::Away);
        for (states, shown) in [
            (&[][..], PresenceState::Offline),
            (&[idle], PresenceState::Idle),
            (&[idle, online], PresenceState::Online),
            (&[online, idle], PresenceState::Online),
            (&[online, away, idle], PresenceState::Away),
            (&[away, online], PresenceState::Away),
        ] {
            assert_eq!(combined(states.iter().copied()), shown, "{states:?}");
        }
    }

    #[test]
    fn another_node_is_told_of_once_and_forgotten_as_a_whole() {
        let mut given = Given::online();
        let (node, user) = (NodeId(fresh_id()), UserId(fresh_id()));
        let conversation = ConversationId(fresh_id());
        let ours = given.user;
        let mut here = |user, state| {
            let here = Here {
                user,
                conversations: vec![conversation],
                state,
            };
            given.known.add(node, &here);
            let change = given.known.untold.remove(&user);
            change.map(|change| change.to)
        };
        assert_eq!(here(user, HereState::Idle), Some(PresenceState::Idle));
        assert_eq!(here(user, HereState::Idle), None);
        assert_eq!(here(ours, HereState::Idle), None, "online here");
        assert_eq!(here(ours, HereState::Away), Some(PresenceState::Away));
        given.known.remove_node(node);
        let to = |user: UserId| given.known.untold.get(&user).map(|change| change.to);
        assert_eq!(to(user), Some(PresenceState::Offline));
        assert_eq!(to(ours), Some(PresenceState::Online));
        assert!(given.known.with.is_empty() && given.known.elsewhere.is_empty());
    }
}
