//! Who is here, and who is with other nodes. It lives in memory and in signals, never in the log; only
//! what a user chose to be shown as is in the log, and comes from there.
//!
//! A user is there while they have a connection to any node; several connections are one user, who is
//! online if any of them is, and else idle. Each node settles what its own connections come to, tells
//! the others, and says that it lives, and a digest of all it has said: by that another node sees that
//! signals were lost, and calls the roll. Whom a silent node had is offline. One task tells of changes,
//! so that nobody hears them in another order.

mod known;
mod local;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use domain::user::{PresenceChoice, Shown, UserEvent};
use domain::{ConversationId, Event, Position, UserId};
use infra::bus::{Here, NodeId, Signal, SignalKind};
use infra::event_store::RecordedEvent;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::entry::MembersChange;
use crate::frames::{Activity, PresenceState};
use crate::hub::Hub;
use crate::mailbox::Mailbox;
use crate::presence::known::{Known, Sayings};
use crate::presence::local::Move;

/// Type of the event that says as what a user is shown.
pub(crate) const PRESENCE_CHOSEN: &str = "presence-chosen";

/// How often it is looked at whose time has come.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// Who was kept from looking for so long hears late what others said in time.
const HELD_UP: Duration = Duration::from_secs(2);

/// How often a node says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// Users and conversations in one part of what is said, at most: less than 100 KiB.
const PART_MAX: usize = 2_000;

/// Who is here and who is elsewhere.
#[derive(Default)]
pub(crate) struct Presences {
    known: Mutex<Known>,
    /// There is something to tell.
    news: Arc<Notify>,
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
    /// A connection of the user of `mailbox` began, on which they are as `activity` says, and who as
    /// far as is known chose `choice`. At `at` they were in `conversations` and in no others.
    pub(crate) fn came(
        &self,
        mailbox: &Mailbox,
        choice: PresenceChoice,
        activity: Activity,
        conversations: &[ConversationId],
        at: Position,
    ) {
        let user = mailbox.user;
        let mut known = self.presences.known.lock();
        // Whoever hears of a choice leaves it in the mailbox before they look for the user here.
        let choice = mailbox.chosen().unwrap_or(choice);
        known.came(user, choice, activity, conversations, at);
        self.settle(&mut known, user);
    }

    /// A connection of `user` ends, on which they were as `activity` says. It is told after a while if
    /// it was the last.
    pub(crate) fn goes(&self, user: UserId, activity: Activity) {
        let mut known = self.presences.known.lock();
        known.change(user, |local| local.goes(activity, Instant::now()));
        self.settle(&mut known, user);
    }

    /// On a connection of `user`, who was as `from` says, they are as `to` says from now on.
    pub(crate) fn turns(&self, user: UserId, from: Activity, to: Activity) {
        let mut known = self.presences.known.lock();
        known.change(user, |local| local.turns(from, to));
        self.settle(&mut known, user);
    }

    /// Takes note of whom the event at `at` takes into `conversation`, and whom it puts out.
    pub(crate) fn note_members(
        &self,
        conversation: ConversationId,
        change: &MembersChange,
        at: Position,
    ) {
        match change {
            MembersChange::Nobody => {}
            MembersChange::In(users) => {
                for user in users {
                    self.moves(*user, conversation, true, at);
                }
            }
            MembersChange::Out(user, _) => self.moves(*user, conversation, false, at),
        }
    }

    /// With the event at `at`, `user` is in `conversation`, or no longer. Of who is not connected nothing
    /// is noted, and nothing twice.
    pub(crate) fn moves(
        &self,
        user: UserId,
        conversation: ConversationId,
        is_in: bool,
        at: Position,
    ) {
        let what = Move {
            conversation,
            is_in,
        };
        let mut known = self.presences.known.lock();
        known.moves(user, what, at);
        self.settle(&mut known, user);
    }

    /// Whether `user` chose not to be seen.
    pub(crate) fn is_invisible(&self, user: UserId) -> bool {
        let choice = self.presences.known.lock().choice(user);
        choice.is_some_and(|choice| choice.at(self.clock.now()) == Shown::Invisible)
    }

    /// Connected users who are in `conversation`, unless they are more than `at_most`.
    pub(crate) fn listeners(&self, conversation: ConversationId, at_most: usize) -> Vec<UserId> {
        let known = self.presences.known.lock();
        known.listeners(conversation, at_most).collect()
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
        known.change(user, |local| local.choice = choice);
        self.settle(&mut known, user);
    }

    fn settle(&self, known: &mut Known, user: UserId) {
        let offline_after = self.limits.offline_after;
        known.settle(user, Instant::now(), self.clock.now(), offline_after);
        self.announce(known);
    }

    fn announce(&self, known: &Known) {
        if known.has_news() {
            self.presences.news.notify_one();
        }
    }

    /// Who is there among those who share a conversation with `user`, and as what.
    pub(crate) fn present_with(&self, user: UserId) -> HashMap<UserId, PresenceState> {
        self.presences.known.lock().present_with(user)
    }

    /// Looks at those whose time has come, answers roll calls, and forgets nodes that are silent, unless
    /// this one was held up.
    fn look_after_presences(&self, was_held_up: bool) {
        let (now, time) = (Instant::now(), self.clock.now());
        let offline_after = self.limits.offline_after;
        let mut known = self.presences.known.lock();
        known.settle_all(now, time, offline_after);
        if was_held_up {
            known.excuse_silence(now);
        }
        known.forget_nodes(now, offline_after);
        let called_for = known.take_called_for();
        self.say_all(called_for);
        self.announce(&known);
    }

    /// Says `sayings` to other nodes. Called under the lock, so that what a node says of itself comes
    /// after what it is about.
    fn say_all(&self, sayings: Sayings) {
        for users in in_parts(sayings.here) {
            self.say(SignalKind::Here { users });
        }
        for user in sayings.gone {
            self.say(SignalKind::Gone { user });
        }
    }

    /// Says that this node lives, and what it has said until now.
    fn say_alive(&self) {
        let known = self.presences.known.lock();
        if let Some((users, digest)) = known.said() {
            let digest = Some(digest);
            self.say(SignalKind::Alive { users, digest });
        }
    }

    /// Says that this node ends, and then nothing more of who is here.
    pub(crate) fn end_presence(&self) {
        let mut known = self.presences.known.lock();
        known.end();
        self.say(SignalKind::Ends);
    }

    /// Tells other nodes and connections here what there is to tell. Only one task does.
    async fn tell_news(&self) {
        let (users, newcomers) = {
            let mut known = self.presences.known.lock();
            let unsaid = known.take_unsaid();
            self.say_all(unsaid);
            (known.users_with_news(), known.take_newcomers())
        };
        let named_to: HashSet<UserId> = newcomers.iter().map(|(user, _)| *user).collect();
        // Newcomers and of whom they were told, so that they are not told twice.
        let mut told = HashSet::new();
        for user in users {
            let news = self.presences.known.lock().take_news(user);
            let Some(news) = news else { continue };
            for listener in news.listeners {
                if named_to.contains(&listener) {
                    told.insert((listener, user));
                }
                self.tell_presence(listener, user, news.state);
            }
            // Others have their turn, too: those who take what they are told here.
            tokio::task::yield_now().await;
        }
        for (user, conversation) in newcomers {
            let present = self.presences.known.lock().present_in(user, conversation);
            for (other, state) in present {
                if told.insert((user, other)) {
                    self.tell_presence(user, other, state);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn tell_presence(&self, listener: UserId, of: UserId, state: PresenceState) {
        for mailbox in self.connections_of(listener) {
            mailbox.presence(of, state);
        }
    }

    /// Takes what another node says of who is with it.
    pub(crate) fn hear_presence(&self, node: NodeId, kind: SignalKind) {
        let now = Instant::now();
        let mut known = self.presences.known.lock();
        if !known.heard(node, now) {
            return;
        }
        match kind {
            SignalKind::Here { users } => {
                for here in users {
                    known.add(node, here, now);
                }
            }
            SignalKind::Gone { user } => known.remove(node, user),
            SignalKind::Ends => known.ends(node, now),
            SignalKind::Alive { users, digest } => {
                if known.check(node, users, digest, now) {
                    self.say(SignalKind::RollCall { of: Some(node) });
                }
            }
            SignalKind::RollCall { of } if of.is_none_or(|of| of == self.node) => {
                known.answer_roll_call();
            }
            SignalKind::RollCall { .. } | SignalKind::Typing { .. } => {}
        }
        self.announce(&known);
    }

    /// Some signals were missed: perhaps that others live. What else they said shows in what they say
    /// next of themselves.
    fn miss_signals(&self) {
        let now = Instant::now();
        self.presences.known.lock().excuse_silence(now);
    }
}

/// Hears other nodes and tells what is new of who is there, for as long as there is a hub.
pub(crate) async fn attend(hub: Weak<Hub>, mut heard: broadcast::Receiver<Signal>) {
    let mut tick = tokio::time::interval(LOOKED_AT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let Some(news) = hub.upgrade().map(|hub| Arc::clone(&hub.presences.news)) else {
        return;
    };
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            signal = heard.recv() => {
                let Some(hub) = hub.upgrade() else { return };
                match signal {
                    Ok(signal) => hub.hear(signal),
                    Err(RecvError::Lagged(_)) => hub.miss_signals(),
                    Err(RecvError::Closed) => return,
                }
            }
            () = news.notified() => {
                let Some(hub) = hub.upgrade() else { return };
                hub.tell_news().await;
            }
            _ = tick.tick() => {
                let Some(hub) = hub.upgrade() else { return };
                hub.look_after_presences(looked.elapsed() >= HELD_UP);
                looked = Instant::now();
            }
        }
    }
}

/// Says now and then that this node lives, for as long as there is a hub. Not a part of [`attend`]: that
/// may have much to tell.
pub(crate) async fn live(hub: Weak<Hub>) {
    let mut tick = tokio::time::interval(ALIVE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        hub.say_alive();
    }
}
