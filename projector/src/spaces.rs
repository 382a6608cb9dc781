//! The fold behind `infra::read_models::spaces`.

use async_trait::async_trait;
use domain::space::{
    CategorySet, ChannelCreated, InviteCreated, Override, OverrideSet, RoleGiven, RoleSet,
    SpaceEvent, SpaceMemberBanned, Target,
};
use domain::{Event, SpaceId, SpaceRoleId, UserId};
use infra::database::{AsJson, DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::spaces::{
    self, Ban, Batch, Category, Channel, Invite, Member, Role, Rows, Space,
};
use uuid::Uuid;

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit};

/// Folds spaces.
pub(crate) struct Spaces;

#[async_trait]
impl Projection for Spaces {
    fn model(&self) -> &'static Model {
        &spaces::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let mut batch = Batch::default();
        for fact in facts {
            if let Ok((space, event)) = space_event(fact) {
                touch(&mut batch, space, event);
            }
        }
        spaces::load(transaction, generation, &mut batch).await?;
        parking.fold(facts, |fact| fold(&mut batch, fact));
        spaces::store(transaction, generation, &batch).await
    }
}

fn space_event(fact: &Fact) -> Result<(SpaceId, &SpaceEvent), Unfit> {
    let space = fact.id("a space")?;
    match &fact.event {
        Event::Space(event) => Ok((space, event)),
        _ => Err(Unfit::new("the event is of another category")),
    }
}

/// Says which rows `event` may need.
fn touch(batch: &mut Batch, space: SpaceId, event: &SpaceEvent) {
    batch.spaces.entry(space).or_default();
    let member = |batch: &mut Batch, user: UserId| {
        batch.members.entry((space, user.0)).or_default();
    };
    match event {
        SpaceEvent::Created(created) => {
            member(batch, created.owner);
            let everyone = SpaceRoleId::everyone(space).0;
            batch.roles.entry((space, everyone)).or_default();
        }
        SpaceEvent::Renamed(_)
        | SpaceEvent::JoiningChanged(_)
        | SpaceEvent::Archived(_)
        | SpaceEvent::Unarchived(_) => {}
        SpaceEvent::ChannelCreated(created) => touch_channel(batch, space, created.channel.0),
        SpaceEvent::ChannelRenamed(renamed) => touch_channel(batch, space, renamed.channel.0),
        SpaceEvent::ChannelMoved(moved) => touch_channel(batch, space, moved.channel.0),
        SpaceEvent::ChannelRemoved(removed) => touch_channel(batch, space, removed.channel.0),
        SpaceEvent::OverrideSet(set) => touch_channel(batch, space, set.channel.0),
        SpaceEvent::CategoryCreated(set) | SpaceEvent::CategoryChanged(set) => {
            batch.categories.entry((space, set.category.0)).or_default();
        }
        SpaceEvent::CategoryRemoved(removed) => {
            let key = (space, removed.category.0);
            batch.categories.entry(key).or_default();
        }
        SpaceEvent::RoleDefined(set) | SpaceEvent::RoleChanged(set) => {
            batch.roles.entry((space, set.role.0)).or_default();
        }
        SpaceEvent::RoleRemoved(removed) => {
            batch.roles.entry((space, removed.role.0)).or_default();
        }
        SpaceEvent::RoleAssigned(given) | SpaceEvent::RoleWithdrawn(given) => {
            member(batch, given.user);
            batch.roles.entry((space, given.role.0)).or_default();
        }
        SpaceEvent::MemberJoined(joined) => member(batch, joined.user),
        SpaceEvent::MemberLeft(left) => member(batch, left.user),
        SpaceEvent::MemberKicked(kicked) => member(batch, kicked.user),
        SpaceEvent::OwnershipTransferred(transferred) => member(batch, transferred.to),
        SpaceEvent::MemberBanned(banned) => {
            member(batch, banned.user);
            batch.bans.entry((space, banned.user.0)).or_default();
        }
        SpaceEvent::MemberUnbanned(unbanned) => {
            batch.bans.entry((space, unbanned.user.0)).or_default();
        }
        SpaceEvent::InviteCreated(created) => touch_invite(batch, space, created.invite.0),
        SpaceEvent::InviteUsed(used) => touch_invite(batch, space, used.invite.0),
        SpaceEvent::InviteRevoked(revoked) => touch_invite(batch, space, revoked.invite.0),
    }
}

fn touch_channel(batch: &mut Batch, space: SpaceId, channel: Uuid) {
    batch.channels.entry((space, channel)).or_default();
}

fn touch_invite(batch: &mut Batch, space: SpaceId, invite: Uuid) {
    batch.invites.entry((space, invite)).or_default();
}

/// The row of `id`, if it is there.
fn there<R>(rows: &mut Rows<R>, space: SpaceId, id: Uuid) -> Option<&mut R> {
    rows.get_mut(&(space, id)).and_then(Option::as_mut)
}

/// Puts a row where none is.
fn put<R>(rows: &mut Rows<R>, space: SpaceId, id: Uuid, row: R) {
    rows.entry((space, id)).or_default().get_or_insert(row);
}

fn fold(batch: &mut Batch, fact: &Fact) -> Result<(), Unfit> {
    let (id, event) = space_event(fact)?;
    if let SpaceEvent::Created(created) = event {
        create(batch, fact, id, created);
    }
    let space = batch.spaces.get_mut(&id).and_then(Option::as_mut);
    let space = space.ok_or_else(|| Unfit::new("the space was not created"))?;
    space.version = fact.version;
    match event {
        SpaceEvent::Created(_) => {}
        SpaceEvent::Renamed(renamed) => renamed.name.value.as_str().clone_into(&mut space.name),
        SpaceEvent::JoiningChanged(changed) => space.joining = changed.joining,
        SpaceEvent::Archived(_) => space.archived = true,
        SpaceEvent::Unarchived(_) => space.archived = false,
        SpaceEvent::OwnershipTransferred(transferred) => {
            if there(&mut batch.members, id, transferred.to.0).is_some() {
                space.owner = transferred.to;
            }
        }
        SpaceEvent::MemberJoined(joined) => join(batch, fact, id, joined.user),
        SpaceEvent::MemberLeft(left) => put_out(batch, id, left.user),
        SpaceEvent::MemberKicked(kicked) => put_out(batch, id, kicked.user),
        SpaceEvent::MemberBanned(banned) => ban(batch, fact, id, banned),
        SpaceEvent::MemberUnbanned(unbanned) => {
            batch.bans.insert((id, unbanned.user.0), None);
        }
        SpaceEvent::RoleAssigned(given) => give(batch, id, given),
        SpaceEvent::RoleWithdrawn(given) => {
            if let Some(row) = there(&mut batch.members, id, given.user.0) {
                row.roles.0.remove(&given.role);
            }
        }
        SpaceEvent::RoleDefined(set) => define_role(batch, id, set),
        SpaceEvent::RoleChanged(set) => change_role(batch, id, set),
        SpaceEvent::RoleRemoved(removed) => {
            batch.roles.insert((id, removed.role.0), None);
        }
        SpaceEvent::ChannelCreated(created) => create_channel(batch, id, created),
        SpaceEvent::ChannelRenamed(renamed) => {
            if let Some(channel) = there(&mut batch.channels, id, renamed.channel.0) {
                renamed.name.value.as_str().clone_into(&mut channel.name);
            }
        }
        SpaceEvent::ChannelMoved(moved) => {
            if let Some(channel) = there(&mut batch.channels, id, moved.channel.0) {
                channel.category = moved.category;
                channel.place = moved.position.into();
            }
        }
        SpaceEvent::ChannelRemoved(removed) => {
            batch.channels.insert((id, removed.channel.0), None);
        }
        SpaceEvent::OverrideSet(set) => set_override(batch, id, set),
        SpaceEvent::CategoryCreated(set) => create_category(batch, id, set),
        SpaceEvent::CategoryChanged(set) => change_category(batch, id, set),
        SpaceEvent::CategoryRemoved(removed) => {
            batch.categories.insert((id, removed.category.0), None);
        }
        SpaceEvent::InviteCreated(created) => create_invite(batch, fact, id, created),
        SpaceEvent::InviteUsed(used) => use_invite(batch, id, used.invite.0),
        SpaceEvent::InviteRevoked(revoked) => {
            batch.invites.insert((id, revoked.invite.0), None);
        }
    }
    Ok(())
}

/// A second creation changes nothing.
fn create(batch: &mut Batch, fact: &Fact, id: SpaceId, created: &domain::space::Created) {
    let slot = batch.spaces.entry(id).or_default();
    if slot.is_some() {
        return;
    }
    *slot = Some(Space {
        id,
        name: created.name.value.as_str().to_owned(),
        owner: created.owner,
        joining: created.joining,
        archived: false,
        member_count: 1,
        created_at: fact.at,
        version: fact.version,
    });
    let owner = created.owner;
    put(&mut batch.members, id, owner.0, member(fact, id, owner));
    let role = SpaceRoleId::everyone(id);
    let everyone = Role {
        space: id,
        role,
        name: domain::values::Title::everyone().as_str().to_owned(),
        permissions: AsJson(created.everyone),
        ranked: 0,
    };
    put(&mut batch.roles, id, role.0, everyone);
}

fn member(fact: &Fact, space: SpaceId, member: UserId) -> Member {
    Member {
        space,
        member,
        roles: AsJson([].into()),
        joined_at: fact.at,
        joined_position: fact.position,
    }
}

fn join(batch: &mut Batch, fact: &Fact, id: SpaceId, user: UserId) {
    if there(&mut batch.members, id, user.0).is_none() {
        put(&mut batch.members, id, user.0, member(fact, id, user));
        count(batch, id, |members| members + 1);
    }
}

fn ban(batch: &mut Batch, fact: &Fact, id: SpaceId, banned: &SpaceMemberBanned) {
    put_out(batch, id, banned.user);
    let ban = Ban {
        space: id,
        banned: banned.user,
        banned_by: banned.by,
        reason: (banned.reason.as_ref()).map(|it| it.value.as_str().to_owned()),
        banned_at: fact.at,
    };
    put(&mut batch.bans, id, banned.user.0, ban);
}

fn give(batch: &mut Batch, id: SpaceId, given: &RoleGiven) {
    let is_role = there(&mut batch.roles, id, given.role.0).is_some();
    if let Some(row) = there(&mut batch.members, id, given.user.0).filter(|_| is_role) {
        row.roles.0.insert(given.role);
    }
}

/// The owner stays, whatever the log says.
fn put_out(batch: &mut Batch, id: SpaceId, user: UserId) {
    let owner = batch.spaces.get(&id).and_then(Option::as_ref);
    if owner.is_some_and(|space| space.owner == user) {
        return;
    }
    if batch.members.insert((id, user.0), None).flatten().is_some() {
        count(batch, id, |members| members.saturating_sub(1));
    }
}

fn count(batch: &mut Batch, id: SpaceId, change: impl FnOnce(u64) -> u64) {
    if let Some(space) = batch.spaces.get_mut(&id).and_then(Option::as_mut) {
        space.member_count = change(space.member_count);
    }
}

fn define_role(batch: &mut Batch, id: SpaceId, set: &RoleSet) {
    let role = Role {
        space: id,
        role: set.role,
        name: set.name.value.as_str().to_owned(),
        permissions: AsJson(set.permissions),
        ranked: set.rank.into(),
    };
    put(&mut batch.roles, id, set.role.0, role);
}

fn change_role(batch: &mut Batch, id: SpaceId, set: &RoleSet) {
    if let Some(role) = there(&mut batch.roles, id, set.role.0) {
        set.name.value.as_str().clone_into(&mut role.name);
        role.permissions = AsJson(set.permissions);
        role.ranked = set.rank.into();
    }
}

fn create_category(batch: &mut Batch, id: SpaceId, set: &CategorySet) {
    let category = Category {
        space: id,
        category: set.category,
        name: set.name.value.as_str().to_owned(),
        place: set.position.into(),
    };
    put(&mut batch.categories, id, set.category.0, category);
}

fn change_category(batch: &mut Batch, id: SpaceId, set: &CategorySet) {
    if let Some(category) = there(&mut batch.categories, id, set.category.0) {
        set.name.value.as_str().clone_into(&mut category.name);
        category.place = set.position.into();
    }
}

/// Those that are over are gone with the next, as the domain forgets them.
fn create_invite(batch: &mut Batch, fact: &Fact, id: SpaceId, created: &InviteCreated) {
    batch.forget_invites(id, created.at);
    let invite = Invite {
        space: id,
        invite: created.invite,
        created_by: created.by,
        created_at: fact.at,
        expires_at: created.expires_at,
        uses_max: created.uses_max.map(u64::from),
        uses: 0,
    };
    put(&mut batch.invites, id, created.invite.0, invite);
}

/// One that is used up is gone.
fn use_invite(batch: &mut Batch, id: SpaceId, used: Uuid) {
    if let Some(invite) = there(&mut batch.invites, id, used) {
        invite.uses += 1;
        if invite.uses_max.is_some_and(|max| invite.uses >= max) {
            batch.invites.insert((id, used), None);
        }
    }
}

fn create_channel(batch: &mut Batch, id: SpaceId, created: &ChannelCreated) {
    let channel = Channel {
        space: id,
        channel: created.channel,
        kind: created.kind,
        name: created.name.value.as_str().to_owned(),
        category: created.category,
        place: created.position.into(),
        overrides: AsJson(domain::space::Overrides::default()),
    };
    put(&mut batch.channels, id, created.channel.0, channel);
}

fn set_override(batch: &mut Batch, id: SpaceId, set: &OverrideSet) {
    let Some(channel) = there(&mut batch.channels, id, set.channel.0) else {
        return;
    };
    let (allow, deny) = (set.allow, set.deny);
    let it = Override { allow, deny };
    let overrides = &mut channel.overrides.0;
    match (set.target, it.is_empty()) {
        (Target::Role(role), false) => drop(overrides.roles.insert(role, it)),
        (Target::Role(role), true) => drop(overrides.roles.remove(&role)),
        (Target::Member(user), false) => drop(overrides.members.insert(user, it)),
        (Target::Member(user), true) => drop(overrides.members.remove(&user)),
    }
}
