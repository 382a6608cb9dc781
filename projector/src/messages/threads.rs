//! The fold of threads: who writes in one follows it, and so does whoever wrote the message that it
//! began with, from the first answer on; else the last word about following counts.

use std::collections::{BTreeMap, BTreeSet};

use domain::conversation::FollowChanged;
use domain::{ConversationId, Seq, UserId};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::messages::{self, Changes, Follower, FollowerKey, Thread, ThreadKey};

use crate::fact::Fact;

/// Of which threads a batch needs to know.
#[derive(Default)]
pub(super) struct Touched {
    threads: BTreeSet<ThreadKey>,
    followers: BTreeSet<FollowerKey>,
}

impl Touched {
    pub(super) fn written(&mut self, conversation: ConversationId, root: Seq, author: UserId) {
        self.threads.insert(ThreadKey { conversation, root });
        self.followers.insert(FollowerKey {
            conversation,
            thread: root,
            member: author,
        });
    }

    pub(super) fn followed(&mut self, conversation: ConversationId, changed: &FollowChanged) {
        self.followers.insert(key_of(conversation, changed));
    }
}

const fn key_of(conversation: ConversationId, changed: &FollowChanged) -> FollowerKey {
    FollowerKey {
        conversation,
        thread: changed.thread,
        member: changed.member,
    }
}

/// Threads and followers as the batch leaves them.
#[derive(Default)]
pub(super) struct Fold {
    threads: BTreeMap<ThreadKey, Thread>,
    threads_changed: BTreeSet<ThreadKey>,
    followers: BTreeMap<FollowerKey, Option<Follower>>,
    followers_changed: BTreeSet<FollowerKey>,
}

/// Loads what a batch needs to know of before into `fold`.
pub(super) async fn load(
    transaction: &mut Transaction,
    generation: u64,
    touched: &Touched,
    fold: &mut super::Fold,
) -> Result<(), DatabaseError> {
    let threads: Vec<ThreadKey> = touched.threads.iter().copied().collect();
    for row in messages::load_threads(transaction, generation, &threads).await? {
        let key = ThreadKey {
            conversation: row.conversation,
            root: row.root,
        };
        fold.threads.threads.insert(key, row);
    }
    let followers: Vec<FollowerKey> = touched.followers.iter().copied().collect();
    for row in messages::load_followers(transaction, generation, &followers).await? {
        let key = FollowerKey {
            conversation: row.conversation,
            thread: row.thread,
            member: row.member,
        };
        fold.threads.followers.insert(key, Some(row));
    }
    Ok(())
}

impl Fold {
    /// Folds that `author` answers in the thread of `root`, which `begun_by` wrote: the how-manieth
    /// answer it is.
    pub(super) fn written(
        &mut self,
        fact: &Fact,
        (conversation, root): (ConversationId, Seq),
        begun_by: Option<UserId>,
        author: UserId,
    ) -> u64 {
        let key = ThreadKey { conversation, root };
        let thread = self.threads.entry(key).or_insert(Thread {
            conversation,
            root,
            answers: 0,
            last_position: fact.position,
        });
        thread.answers += 1;
        thread.last_position = fact.position;
        let ordinal = thread.answers;
        self.threads_changed.insert(key);
        let follower = |member| FollowerKey {
            conversation,
            thread: root,
            member,
        };
        if let Some(begun_by) = begun_by.filter(|_| ordinal == 1) {
            self.set(follower(begun_by), root);
        }
        self.follow_from(follower(author), fact.version);
        ordinal
    }

    pub(super) fn follow(&mut self, id: ConversationId, changed: &FollowChanged, seq: Seq) {
        self.follow_from(key_of(id, changed), seq);
    }

    pub(super) fn unfollow(&mut self, id: ConversationId, changed: &FollowChanged) {
        let key = key_of(id, changed);
        if let Some(there) = self.followers.get_mut(&key)
            && there.take().is_some()
        {
            self.followers_changed.insert(key);
        }
    }

    fn follow_from(&mut self, key: FollowerKey, since_seq: Seq) {
        if !matches!(self.followers.get(&key), Some(Some(_))) {
            self.set(key, since_seq);
        }
    }

    fn set(&mut self, key: FollowerKey, since_seq: Seq) {
        let follower = Follower {
            conversation: key.conversation,
            thread: key.thread,
            member: key.member,
            since_seq,
        };
        self.followers.insert(key, Some(follower));
        self.followers_changed.insert(key);
    }

    pub(super) fn into_changes(mut self, changes: &mut Changes) {
        for key in self.threads_changed {
            changes.threads.extend(self.threads.remove(&key));
        }
        for key in self.followers_changed {
            match self.followers.remove(&key).flatten() {
                Some(follower) => changes.followers.push(follower),
                None => changes.followers_gone.push(key),
            }
        }
    }
}
