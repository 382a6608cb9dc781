//! What a user may see of a conversation: the events within one of their memberships. Who never was
//! a member is told that there is no such conversation.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use domain::{ConversationId, Position, Seq, UserId, Version};
use infra::problem::Problem;
use infra::read_models::Snapshot;
use infra::read_models::members::{self, Membership};

/// The memberships of one user in one conversation: at least one, in the order of joining.
pub(crate) struct Sight {
    first: Membership,
    rest: Vec<Membership>,
}

/// 404: there is none, or the asker may not know of it.
pub(crate) fn conversation_not_found() -> Problem {
    Problem::not_found(
        "conversation_not_found",
        "there is no such conversation, or you are not in it",
    )
}

impl Sight {
    /// What `user` sees of `conversation`. The snapshot has the members.
    pub(crate) async fn of(
        snapshot: &mut Snapshot,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Self, Problem> {
        let mut memberships = members::within(snapshot, conversation, user)
            .await?
            .into_iter();
        let first = memberships.next().ok_or_else(conversation_not_found)?;
        Ok(Self {
            first,
            rest: memberships.collect(),
        })
    }

    /// What `user` sees of each conversation that they are or were in. The snapshot has the members.
    pub(crate) async fn everywhere(
        snapshot: &mut Snapshot,
        user: UserId,
    ) -> Result<BTreeMap<ConversationId, Self>, Problem> {
        let mut sights = BTreeMap::<ConversationId, Self>::new();
        for membership in members::of_member(snapshot, user, Position::ZERO).await? {
            match sights.entry(membership.conversation) {
                Entry::Vacant(entry) => {
                    let rest = Vec::new();
                    entry.insert(Self {
                        first: membership,
                        rest,
                    });
                }
                Entry::Occupied(entry) => entry.into_mut().rest.push(membership),
            }
        }
        Ok(sights)
    }

    fn memberships(&self) -> impl Iterator<Item = &Membership> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The membership that began last.
    pub(crate) fn latest(&self) -> &Membership {
        self.rest.last().unwrap_or(&self.first)
    }

    /// Whether they see the event `seq`.
    pub(crate) fn sees(&self, seq: Seq) -> bool {
        self.memberships().any(|membership| membership.sees(seq))
    }

    /// The first and the last seq that they see; in between may be gaps.
    pub(crate) fn bounds(&self) -> (Seq, Seq) {
        let first = self
            .memberships()
            .map(|membership| membership.visible_from)
            .fold(self.first.visible_from, Seq::min);
        let last = self.latest().left_seq.unwrap_or(Version(u64::MAX));
        (first, last)
    }

    /// The last event they see, where they are not a member any more.
    pub(crate) fn left_seq(&self) -> Option<Seq> {
        self.latest().left_seq
    }

    /// Its position.
    pub(crate) fn left_position(&self) -> Option<Position> {
        self.latest().left_position
    }
}
