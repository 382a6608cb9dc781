//! What this node knows of who is there: its own users, and what other nodes say of theirs.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::user::PresenceChoice;
use domain::{ConversationId, Position, UserId};
use infra::bus::{Here, HereState, NodeId};

use super::local::{CONVERSATIONS_MAX, Local, Move};
use crate::frames::{Activity, PresenceState};

/// Where more people than this are connected here, nothing is said of who is there, but that somebody
/// no longer is.
const LISTENERS_MAX: usize = 200;

/// Where more people than this are connected here, not even that.
const LISTENERS_TO_OFFLINE_MAX: usize = 1_000;

/// Most users named as there when a connection begins, or when its user comes into a conversation.
const NAMED_MAX: usize = 100;

/// A node is not called upon again before it had so long to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// A node that was silent for so long is dead.
const SILENT_MAX: Duration = Duration::from_secs(7);

/// Users who are named in one turn of an answer to a roll call, at most.
const ANSWERED_MAX: usize = 4_000;

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    here: HashMap<UserId, Local>,
    /// Users of this node who are in a conversation: they are told who else is there.
    inside: HashMap<ConversationId, HashSet<UserId>>,
    /// Those of `here` who change with time alone: whose last connection ended, of whom something was
    /// told a moment ago, and whose choice has an end.
    unsettled: HashSet<UserId>,
    elsewhere: HashMap<NodeId, Node>,
    /// Who is told in a conversation, and by how many nodes, this one among them.
    with: HashMap<ConversationId, HashMap<UserId, usize>>,
    /// Changes that those who share a conversation are to be told; at most one of each user.
    untold: HashMap<UserId, Change>,
    /// Users of this node who came into a conversation and are to be told who is there.
    newcomers: HashSet<(UserId, ConversationId)>,
    /// Users of whom other nodes are to be told; what, is read off when they are.
    unsaid: HashSet<UserId>,
    /// Users whom a roll call asked for.
    called_for: HashSet<UserId>,
    /// What other nodes were told last, by user, as a digest; and that of all together.
    said: HashMap<UserId, u64>,
    said_digest: u64,
    /// The node has said that it ends, and says nothing more.
    has_ended: bool,
}

/// What is to be told of a user: as what they are shown, where it is not what it was.
struct Change {
    from: PresenceState,
    /// To whom, where it is something else.
    conversations: Vec<ConversationId>,
    /// To whom in any case: they were not told there before.
    new_in: HashSet<ConversationId>,
}

/// What connections are told of a user.
pub(super) struct News {
    pub(super) state: PresenceState,
    pub(super) listeners: HashSet<UserId>,
}

/// What other nodes are told.
#[derive(Default)]
pub(super) struct Sayings {
    pub(super) here: Vec<Here>,
    pub(super) gone: Vec<UserId>,
}

/// Another node.
struct Node {
    heard: Instant,
    /// When it said that it ends.
    ended: Option<Instant>,
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
    digest: u64,
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

impl Node {
    fn new(now: Instant) -> Self {
        Self {
            heard: now,
            ended: None,
            calls: 0,
            called: None,
            users: HashMap::new(),
        }
    }

    /// Whether those of whom it was `said` are all whom it has: so many, and together of this digest
    /// where it has said one.
    fn has(&self, users: usize, digest: Option<u64>, said: impl Fn(&There) -> bool) -> bool {
        let (mut known, mut known_digest) = (0, 0);
        for there in self.users.values().filter(|there| said(there)) {
            known += 1;
            known_digest ^= there.digest;
        }
        known == users && digest.is_none_or(|digest| digest == known_digest)
    }
}

impl Known {
    /// As what a user is shown.
    pub(super) fn shown(&self, user: UserId) -> PresenceState {
        let here = self.here.get(&user).and_then(|local| local.shown);
        let there = self.elsewhere.values();
        let there = there.filter_map(|node| node.users.get(&user).map(|there| there.state));
        combined(here.into_iter().chain(there))
    }

    /// What a user of this node chose.
    pub(super) fn choice(&self, user: UserId) -> Option<PresenceChoice> {
        self.here.get(&user).map(|local| local.choice)
    }

    /// There is one more connection of a user, who was in `conversations` at `at` and in no others.
    pub(super) fn came(
        &mut self,
        user: UserId,
        choice: PresenceChoice,
        activity: Activity,
        conversations: &[ConversationId],
        at: Position,
    ) {
        let is_new = !self.here.contains_key(&user);
        let local = self.here.entry(user).or_insert_with(Local::new);
        local.choice = choice;
        local.comes(activity);
        let moves = local.is_in(conversations, at);
        self.moved(user, &moves);
        if is_new {
            // Their first frame names who is there.
            for Move { conversation, .. } in moves {
                self.newcomers.remove(&(user, conversation));
            }
        }
    }

    /// Does something with a user of this node, if they are.
    pub(super) fn change(&mut self, user: UserId, change: impl FnOnce(&mut Local)) {
        if let Some(local) = self.here.get_mut(&user) {
            change(local);
        }
    }

    /// The event at `at` takes a user into a conversation, or puts them out.
    pub(super) fn moves(&mut self, user: UserId, what: Move, at: Position) {
        let local = self.here.get_mut(&user);
        if local.is_some_and(|local| local.moves(what, at)) {
            self.moved(user, &[what]);
        }
    }

    /// Takes note of where a user of this node is now, and no longer.
    fn moved(&mut self, user: UserId, moves: &[Move]) {
        for Move {
            conversation,
            is_in,
        } in moves
        {
            if *is_in {
                let inside = self.inside.entry(*conversation).or_default();
                inside.insert(user);
                self.newcomers.insert((user, *conversation));
            } else {
                self.puts_out(user, *conversation);
            }
        }
        if !moves.is_empty() {
            let before = self.shown(user);
            let new_in = self.tell_where_due(user);
            self.changed(user, before, None, new_in);
        }
    }

    fn puts_out(&mut self, user: UserId, conversation: ConversationId) {
        if let Some(inside) = self.inside.get_mut(&conversation) {
            inside.remove(&user);
            if inside.is_empty() {
                self.inside.remove(&conversation);
            }
        }
    }

    /// Brings up to date where a user of this node is told. Returns where nobody told them before.
    fn tell_where_due(&mut self, user: UserId) -> Vec<ConversationId> {
        let Some(local) = self.here.get_mut(&user) else {
            return Vec::new();
        };
        let due = local.due_in();
        let before = std::mem::replace(&mut local.told, due.clone());
        // Both are in order.
        let is_new = |id: &&ConversationId| before.binary_search(id).is_err();
        let new_in = self.tell_in(user, due.iter().filter(is_new));
        let is_old = |id: &&ConversationId| due.binary_search(id).is_err();
        self.tell_no_more_in(user, before.iter().filter(is_old));
        new_in
    }

    /// One more node tells of `user` in `conversations`. Returns in which none did.
    fn tell_in<'a>(
        &mut self,
        user: UserId,
        conversations: impl Iterator<Item = &'a ConversationId>,
    ) -> Vec<ConversationId> {
        let mut new_in = Vec::new();
        for conversation in conversations {
            let with = self.with.entry(*conversation).or_default();
            let nodes = with.entry(user).or_default();
            *nodes += 1;
            if *nodes == 1 {
                new_in.push(*conversation);
            }
        }
        new_in
    }

    /// One node less does.
    fn tell_no_more_in<'a>(
        &mut self,
        user: UserId,
        conversations: impl Iterator<Item = &'a ConversationId>,
    ) {
        for conversation in conversations {
            let Some(with) = self.with.get_mut(conversation) else {
                continue;
            };
            if let Some(nodes) = with.get_mut(&user) {
                *nodes -= 1;
                if *nodes == 0 {
                    with.remove(&user);
                }
            }
            if with.is_empty() {
                self.with.remove(conversation);
            }
        }
    }

    /// Notes that `user`, who was shown as `from`, may be shown as something else now, in
    /// `conversations` if that is not where it was before; and that they are told anew in `new_in`.
    fn changed(
        &mut self,
        user: UserId,
        from: PresenceState,
        conversations: Option<&[ConversationId]>,
        new_in: Vec<ConversationId>,
    ) {
        let to = self.shown(user);
        let change = self.untold.entry(user).or_insert_with(|| Change {
            from,
            conversations: Vec::new(),
            new_in: HashSet::new(),
        });
        if let Some(conversations) = conversations {
            change.conversations = conversations.to_vec();
        }
        change.new_in.extend(new_in);
        if change.from == to && change.new_in.is_empty() {
            self.untold.remove(&user);
        }
    }

    /// Brings what is shown of a user of this node up to date, unless that was done a moment ago, or
    /// forgets one who is gone for `offline_after`.
    pub(super) fn settle(
        &mut self,
        user: UserId,
        now: Instant,
        time: DateTime<Utc>,
        offline_after: Duration,
    ) {
        let before = self.shown(user);
        let Some(local) = self.here.get_mut(&user) else {
            self.unsettled.remove(&user);
            return;
        };
        if local.is_gone(now, offline_after) {
            self.forget_here(user, before);
            return;
        }
        if local.has_news(time) && local.may_be_told(now) {
            let told = local.told.clone();
            local.show(now, time);
            self.unsaid.insert(user);
            let new_in = self.tell_where_due(user);
            let told = match self.here.get(&user) {
                Some(local) if local.shown.is_some() => local.told.clone(),
                Some(_) | None => told,
            };
            self.changed(user, before, Some(&told), new_in);
        }
        if self.here.get(&user).is_some_and(|local| local.waits(time)) {
            self.unsettled.insert(user);
        } else {
            self.unsettled.remove(&user);
        }
    }

    /// Settles all who change with time alone.
    pub(super) fn settle_all(
        &mut self,
        now: Instant,
        time: DateTime<Utc>,
        offline_after: Duration,
    ) {
        for user in self.unsettled.iter().copied().collect::<Vec<_>>() {
            self.settle(user, now, time, offline_after);
        }
    }

    fn forget_here(&mut self, user: UserId, before: PresenceState) {
        self.unsettled.remove(&user);
        let Some(local) = self.here.remove(&user) else {
            return;
        };
        for conversation in local.inside() {
            self.puts_out(user, conversation);
        }
        if local.shown.is_some() {
            self.unsaid.insert(user);
            self.tell_no_more_in(user, local.told.iter());
            self.changed(user, before, Some(&local.told), Vec::new());
        }
    }

    /// What other nodes are told of `user`, who is of this one; `None` where they are not shown.
    fn said_of(&self, user: UserId) -> Option<Here> {
        let local = self.here.get(&user)?;
        Some(Here {
            user,
            conversations: local.told.clone(),
            state: local.shown?,
        })
    }

    /// Whether there is something to tell or to say.
    pub(super) fn has_news(&self) -> bool {
        !self.untold.is_empty() || !self.unsaid.is_empty() || !self.newcomers.is_empty()
    }

    /// Other nodes are to be told of all users who are here.
    pub(super) fn answer_roll_call(&mut self) {
        let shown = self.here.iter().filter(|(_, local)| local.shown.is_some());
        self.called_for.extend(shown.map(|(user, _)| *user));
    }

    /// Takes those for whom a roll call asked, as many as fit into one turn.
    pub(super) fn take_called_for(&mut self) -> Sayings {
        let users: Vec<UserId> = self.called_for.iter().copied().take(ANSWERED_MAX).collect();
        for user in &users {
            self.called_for.remove(user);
        }
        self.take_sayings(users)
    }

    /// Takes what is new for other nodes.
    pub(super) fn take_unsaid(&mut self) -> Sayings {
        let users = std::mem::take(&mut self.unsaid);
        self.take_sayings(users)
    }

    fn take_sayings(&mut self, users: impl IntoIterator<Item = UserId>) -> Sayings {
        let mut sayings = Sayings::default();
        if self.has_ended {
            return sayings;
        }
        for user in users {
            let here = self.said_of(user);
            let before = match &here {
                Some(here) => {
                    self.said_digest ^= here.digest();
                    self.said.insert(user, here.digest())
                }
                None => self.said.remove(&user),
            };
            self.said_digest ^= before.unwrap_or(0);
            match here {
                Some(here) => sayings.here.push(here),
                None if before.is_some() => sayings.gone.push(user),
                None => {}
            }
        }
        sayings
    }

    /// Of how many users other nodes were told, and the digest of all; `None` once the node has said
    /// that it ends.
    pub(super) fn said(&self) -> Option<(usize, u64)> {
        (!self.has_ended).then_some((self.said.len(), self.said_digest))
    }

    /// From now on nothing is said any more.
    pub(super) const fn end(&mut self) {
        self.has_ended = true;
    }

    /// The users of whom there is something to tell.
    pub(super) fn users_with_news(&self) -> Vec<UserId> {
        self.untold.keys().copied().collect()
    }

    /// Takes what is to be told of `user`.
    pub(super) fn take_news(&mut self, user: UserId) -> Option<News> {
        let Change {
            from,
            conversations,
            mut new_in,
        } = self.untold.remove(&user)?;
        let state = self.shown(user);
        // They may have left again.
        new_in.retain(|conversation| {
            let with = self.with.get(conversation);
            with.is_some_and(|with| with.contains_key(&user))
        });
        if from != state {
            new_in.extend(conversations);
        }
        let at_most = match state {
            PresenceState::Offline => LISTENERS_TO_OFFLINE_MAX,
            PresenceState::Online | PresenceState::Idle | PresenceState::Away => LISTENERS_MAX,
        };
        let mut listeners = HashSet::new();
        for conversation in new_in {
            listeners.extend(self.listeners(conversation, at_most));
        }
        listeners.remove(&user);
        (!listeners.is_empty()).then_some(News { state, listeners })
    }

    /// Users of this node who are in a conversation, unless they are more than `at_most`.
    pub(super) fn listeners(
        &self,
        conversation: ConversationId,
        at_most: usize,
    ) -> impl Iterator<Item = UserId> {
        let inside = self.inside.get(&conversation);
        let inside = inside.filter(|inside| inside.len() <= at_most);
        inside.into_iter().flatten().copied()
    }

    /// Takes those who came into a conversation.
    pub(super) fn take_newcomers(&mut self) -> HashSet<(UserId, ConversationId)> {
        std::mem::take(&mut self.newcomers)
    }

    /// Who is there among those who share a conversation with `user`, and as what: of those of whom
    /// `user` is told, at most [`NAMED_MAX`].
    pub(super) fn present_with(&self, user: UserId) -> HashMap<UserId, PresenceState> {
        let mut present = HashMap::new();
        let inside = self.here.get(&user).into_iter().flat_map(Local::inside);
        for conversation in inside {
            if present.len() >= NAMED_MAX {
                break;
            }
            self.add_present(user, conversation, &mut present);
        }
        present
    }

    /// The same in one conversation, unless `user` is no longer in it.
    pub(super) fn present_in(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> HashMap<UserId, PresenceState> {
        let mut present = HashMap::new();
        self.add_present(user, conversation, &mut present);
        present
    }

    fn add_present(
        &self,
        user: UserId,
        conversation: ConversationId,
        present: &mut HashMap<UserId, PresenceState>,
    ) {
        let inside = self.inside.get(&conversation);
        let hears =
            |inside: &HashSet<UserId>| inside.len() <= LISTENERS_MAX && inside.contains(&user);
        if !inside.is_some_and(hears) {
            return;
        }
        let with = self.with.get(&conversation).into_iter().flatten();
        for (other, _) in with.filter(|(other, _)| **other != user) {
            if present.len() >= NAMED_MAX {
                return;
            }
            present.insert(*other, self.shown(*other));
        }
    }

    /// Something was heard of a node. Says whether what it says counts: after its end it does not.
    pub(super) fn heard(&mut self, node: NodeId, now: Instant) -> bool {
        let Some(node) = self.elsewhere.get_mut(&node) else {
            return true;
        };
        node.heard = now;
        node.ended.is_none()
    }

    /// This node heard nothing for a while because of itself: the others are not to blame.
    pub(super) fn excuse_silence(&mut self, now: Instant) {
        for node in self.elsewhere.values_mut() {
            node.heard = now;
        }
    }

    /// Notes a user of another node.
    pub(super) fn add(&mut self, node: NodeId, mut here: Here, now: Instant) {
        let user = here.user;
        let before = self.shown(user);
        here.conversations.truncate(CONVERSATIONS_MAX);
        let new_in = self.tell_in(user, here.conversations.iter());
        let entry = self.elsewhere.entry(node).or_insert_with(|| Node::new(now));
        let there = There {
            said_after: entry.calls,
            digest: here.digest(),
            state: here.state,
            conversations: here.conversations.clone(),
        };
        if let Some(old) = entry.users.insert(user, there) {
            self.tell_no_more_in(user, old.conversations.iter());
        }
        self.changed(user, before, Some(&here.conversations), new_in);
    }

    /// Forgets a user of another node.
    pub(super) fn remove(&mut self, node: NodeId, user: UserId) {
        let before = self.shown(user);
        let node = self.elsewhere.get_mut(&node);
        if let Some(there) = node.and_then(|node| node.users.remove(&user)) {
            self.tell_no_more_in(user, there.conversations.iter());
            self.changed(user, before, Some(&there.conversations), Vec::new());
        }
    }

    /// A node ends. Its users have a while to come back elsewhere.
    pub(super) fn ends(&mut self, node: NodeId, now: Instant) {
        if let Some(node) = self.elsewhere.get_mut(&node) {
            node.ended = Some(now);
        }
    }

    /// Forgets the users of nodes that ended `offline_after` ago, and nodes that are silent.
    pub(super) fn forget_nodes(&mut self, now: Instant, offline_after: Duration) {
        let is_over = |ended| now.duration_since(ended) >= offline_after;
        let is_silent = |node: &Node| now.duration_since(node.heard) >= SILENT_MAX;
        let (mut over, mut silent) = (Vec::new(), Vec::new());
        for (id, node) in &self.elsewhere {
            if is_silent(node) {
                silent.push(*id);
            } else if node.ended.is_some_and(is_over) {
                over.push(*id);
            }
        }
        for node in over.iter().chain(&silent) {
            self.remove_where(*node, |_| true);
        }
        for node in silent {
            self.elsewhere.remove(&node);
        }
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

    /// Compares what `node` says of itself with what is known of it. Where that differs, signals were
    /// lost, and it is called upon. Once all whom it has were named since, whoever was not is no longer
    /// there; an answer of which a part was lost makes nobody go. Returns whether to call.
    pub(super) fn check(
        &mut self,
        node: NodeId,
        users: usize,
        digest: Option<u64>,
        now: Instant,
    ) -> bool {
        let known = self.elsewhere.entry(node);
        let known = known.or_insert_with(|| Node::new(now));
        if known.has(users, digest, |_| true) {
            return false;
        }
        let calls = known.calls;
        if known.has(users, digest, |there| there.said_after == calls) {
            self.remove_where(node, |there| there.said_after < calls);
            return false;
        }
        let answers = |called| now.duration_since(called) < ANSWER_WITHIN;
        if known.called.is_some_and(answers) {
            return false;
        }
        known.called = Some(now);
        known.calls += 1;
        true
    }
}

#[cfg(test)]
mod tests;
