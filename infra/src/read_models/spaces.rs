//! Spaces: who is in them with which roles, their channels, categories and roles, who is banned, and
//! which invites were made. What a member may is not stored: it is computed by the one function that
//! decides it, from what is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::space::{self, ChannelKind, Joining, Overrides, Permissions, Sights, Touch};
use domain::{
    CategoryId, ConversationId, InviteId, Position, Seq, SpaceId, SpaceRoleId, UserId, Version,
};
use serde::Serialize;
use uuid::Uuid;

use crate::database::{
    AsJson, DatabaseError, Index, Row, Table, Transaction, Value, flag, id, int, micros,
    micros_if_any, text, time,
};
use crate::read_models::messages::ROLE_TARGET;
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "spaces",
    version: 2,
    category: "space",
    tables: &[
        &SPACES,
        &MEMBERS,
        &MEMBER_ROLES,
        &CHANNELS,
        &CATEGORIES,
        &ROLES,
        &BANS,
        &INVITES,
    ],
};

const SPACES: Table = Table {
    name: "spaces",
    columns: &[
        id("id"),
        text("name"),
        id("owner"),
        text("joining"),
        flag("archived"),
        int("member_count"),
        time("created_at"),
        int("version"),
    ],
    key: &["id"],
    indexes: &[],
};

const MEMBERS: Table = Table {
    name: "space_members",
    columns: &[
        id("space"),
        id("member"),
        text("roles"),
        time("joined_at"),
        int("joined_position"),
    ],
    key: &["space", "member"],
    indexes: &[Index {
        name: "by_member",
        columns: "member, joined_position",
        condition: None,
    }],
};

/// The roles of members one by one, as other models look them up: what `space_members` has. One that is
/// removed may still stand here; it is not in `space_roles` then.
const MEMBER_ROLES: Table = Table {
    name: "space_member_roles",
    columns: &[id("space"), id("member"), id("role")],
    key: &["space", "member", "role"],
    indexes: &[],
};

const CHANNELS: Table = Table {
    name: "space_channels",
    columns: &[
        id("space"),
        id("channel"),
        text("kind"),
        text("name"),
        id("category").nullable(),
        int("place"),
        text("overrides"),
    ],
    key: &["space", "channel"],
    indexes: &[],
};

const CATEGORIES: Table = Table {
    name: "space_categories",
    columns: &[id("space"), id("category"), text("name"), int("place")],
    key: &["space", "category"],
    indexes: &[],
};

const ROLES: Table = Table {
    name: "space_roles",
    columns: &[
        id("space"),
        id("role"),
        text("name"),
        text("permissions"),
        int("ranked"),
    ],
    key: &["space", "role"],
    indexes: &[],
};

const BANS: Table = Table {
    name: "space_bans",
    columns: &[
        id("space"),
        id("banned"),
        id("banned_by"),
        text("reason").nullable(),
        time("banned_at"),
    ],
    key: &["space", "banned"],
    indexes: &[],
};

const INVITES: Table = Table {
    name: "space_invites",
    columns: &[
        id("space"),
        id("invite"),
        id("created_by"),
        time("created_at"),
        time("expires_at").nullable(),
        int("uses_max").nullable(),
        int("uses"),
    ],
    key: &["space", "invite"],
    indexes: &[],
};

/// A row of `spaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Space {
    /// Which.
    pub id: SpaceId,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub owner: UserId,
    /// How people come in.
    pub joining: Joining,
    /// Whether it is closed for now.
    pub archived: bool,
    /// How many are in it.
    pub member_count: u64,
    /// When it was created.
    #[serde(serialize_with = "micros")]
    pub created_at: DateTime<Utc>,
    /// Of its stream.
    pub version: Seq,
}

/// A row of `space_members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Where.
    pub space: SpaceId,
    /// Who.
    pub member: UserId,
    /// The roles that they were given; one that is removed may still stand here.
    pub roles: AsJson<BTreeSet<SpaceRoleId>>,
    /// Since when they are in it.
    #[serde(serialize_with = "micros")]
    pub joined_at: DateTime<Utc>,
    /// In the log.
    pub joined_position: Position,
}

/// A row of `space_channels`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Where.
    pub space: SpaceId,
    /// Which conversation it is.
    pub channel: ConversationId,
    /// Text or voice.
    pub kind: ChannelKind,
    /// What it is called.
    pub name: String,
    /// Under what it stands; one that is removed may still stand here.
    pub category: Option<CategoryId>,
    /// Where there.
    pub place: u64,
    /// What is otherwise in it; those of removed roles may still stand here.
    pub overrides: AsJson<Overrides>,
}

/// A row of `space_categories`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Category {
    /// Where.
    pub space: SpaceId,
    /// Which.
    pub category: CategoryId,
    /// What it is called.
    pub name: String,
    /// Where it stands among the others.
    pub place: u64,
}

/// A row of `space_roles`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Where.
    pub space: SpaceId,
    /// Which.
    pub role: SpaceRoleId,
    /// What it is called.
    pub name: String,
    /// What it gives.
    pub permissions: AsJson<Permissions>,
    /// How high it stands.
    pub ranked: u64,
}

/// A row of `space_bans`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ban {
    /// Where.
    pub space: SpaceId,
    /// Who.
    pub banned: UserId,
    /// Who did it.
    pub banned_by: UserId,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When.
    #[serde(serialize_with = "micros")]
    pub banned_at: DateTime<Utc>,
}

/// A row of `space_invites`: one that was neither revoked nor used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invite {
    /// Where.
    pub space: SpaceId,
    /// Which.
    pub invite: InviteId,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    #[serde(serialize_with = "micros")]
    pub created_at: DateTime<Utc>,
    /// When it ends.
    #[serde(serialize_with = "micros_if_any")]
    pub expires_at: Option<DateTime<Utc>>,
    /// How many may come in by it.
    pub uses_max: Option<u64>,
    /// How many did.
    pub uses: u64,
}

/// The rows of one table by space and id: those that are there, and `None` for those that are not.
pub type Rows<R> = BTreeMap<(SpaceId, Uuid), Option<R>>;

/// What a batch is about: all rows that it may need to know or change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Of `spaces`.
    pub spaces: BTreeMap<SpaceId, Option<Space>>,
    /// Of `space_members`.
    pub members: Rows<Member>,
    /// Of `space_channels`.
    pub channels: Rows<Channel>,
    /// Of `space_categories`.
    pub categories: Rows<Category>,
    /// Of `space_roles`.
    pub roles: Rows<Role>,
    /// Of `space_bans`.
    pub bans: Rows<Ban>,
    /// Of `space_invites`.
    pub invites: Rows<Invite>,
    /// Up to when invites are over whose rows go, by space: also of rows that are not named here.
    forgotten: BTreeMap<SpaceId, DateTime<Utc>>,
}

impl Batch {
    /// Takes the invites of `space` away that are over at `at`.
    pub fn forget_invites(&mut self, space: SpaceId, at: DateTime<Utc>) {
        let until = self.forgotten.entry(space).or_insert(at);
        *until = at.max(*until);
        let rows = self
            .invites
            .range_mut((space, Uuid::nil())..=(space, Uuid::max()));
        for (_, row) in rows {
            row.take_if(|invite| invite.expires_at.is_some_and(|end| end <= at));
        }
    }
}

/// A row of a table of parts of a space.
trait Part: Serialize + Sized {
    const TABLE: &'static Table;
    /// What names it in its space.
    const ID: &'static str;

    fn key(&self) -> (SpaceId, Uuid);
    fn from_row(row: &Row) -> Result<Self, DatabaseError>;
}

fn keys(table_id: &str, keys: impl Iterator<Item = (SpaceId, Uuid)>) -> Vec<serde_json::Value> {
    keys.map(|(space, id)| serde_json::json!({ "space": space, table_id: id }))
        .collect()
}

async fn load_rows<R: Part>(
    transaction: &mut Transaction,
    generation: u64,
    rows: &mut Rows<R>,
) -> Result<(), DatabaseError> {
    let keys = keys(R::ID, rows.keys().copied());
    let by = ["space", R::ID];
    for row in &R::TABLE.load(transaction, generation, &by, &keys).await? {
        let row = R::from_row(row)?;
        rows.insert(row.key(), Some(row));
    }
    Ok(())
}

async fn store_rows<R: Part>(
    transaction: &mut Transaction,
    generation: u64,
    rows: &Rows<R>,
) -> Result<(), DatabaseError> {
    let there: Vec<&R> = rows.values().flatten().collect();
    R::TABLE.upsert(transaction, generation, &there).await?;
    let gone = rows.iter().filter(|(_, row)| row.is_none());
    let gone = keys(R::ID, gone.map(|(key, _)| *key));
    let by = ["space", R::ID];
    R::TABLE.delete(transaction, generation, &by, &gone).await
}

#[derive(Serialize)]
struct MemberRole {
    space: SpaceId,
    member: UserId,
    role: SpaceRoleId,
}

/// Writes the roles of `members` one by one, as their rows have them.
async fn store_member_roles(
    transaction: &mut Transaction,
    generation: u64,
    members: &Rows<Member>,
) -> Result<(), DatabaseError> {
    let by = ["space", Member::ID];
    let touched = keys(Member::ID, members.keys().copied());
    MEMBER_ROLES
        .delete(transaction, generation, &by, &touched)
        .await?;
    let of_one = |row: &Member| {
        let (space, member) = (row.space, row.member);
        let roles = row.roles.0.clone().into_iter();
        roles.map(move |role| MemberRole {
            space,
            member,
            role,
        })
    };
    let roles: Vec<MemberRole> = members.values().flatten().flat_map(of_one).collect();
    MEMBER_ROLES.upsert(transaction, generation, &roles).await
}

/// Fills in the rows that `batch` names, as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    batch: &mut Batch,
) -> Result<(), DatabaseError> {
    let ids = batch.spaces.keys();
    let keys: Vec<_> = ids.map(|id| serde_json::json!({ "id": id })).collect();
    for row in &SPACES.load(transaction, generation, &["id"], &keys).await? {
        let space = Space::from_row(row)?;
        batch.spaces.insert(space.id, Some(space));
    }
    load_rows(transaction, generation, &mut batch.members).await?;
    load_rows(transaction, generation, &mut batch.channels).await?;
    load_rows(transaction, generation, &mut batch.categories).await?;
    load_rows(transaction, generation, &mut batch.roles).await?;
    load_rows(transaction, generation, &mut batch.bans).await?;
    load_rows(transaction, generation, &mut batch.invites).await
}

/// Writes what a batch made of them.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    batch: &Batch,
) -> Result<(), DatabaseError> {
    let spaces: Vec<&Space> = batch.spaces.values().flatten().collect();
    SPACES.upsert(transaction, generation, &spaces).await?;
    store_rows(transaction, generation, &batch.members).await?;
    store_member_roles(transaction, generation, &batch.members).await?;
    store_rows(transaction, generation, &batch.channels).await?;
    store_rows(transaction, generation, &batch.categories).await?;
    store_rows(transaction, generation, &batch.roles).await?;
    store_rows(transaction, generation, &batch.bans).await?;
    // Before the rows of the batch, among which are those that were made since.
    let sql = format!(
        "DELETE FROM {} WHERE space = $1 AND expires_at <= $2",
        INVITES.physical(generation)
    );
    for (space, until) in &batch.forgotten {
        let values = [Value::Id(space.0), (*until).into()];
        transaction.run(&sql, &values).await?;
    }
    store_rows(transaction, generation, &batch.invites).await
}

impl Space {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: SpaceId(row.get("id")?),
            name: row.get("name")?,
            owner: row.get("owner")?,
            joining: parse_stored(&row.get::<String>("joining")?)?,
            archived: row.get("archived")?,
            member_count: row.get("member_count")?,
            created_at: row.get("created_at")?,
            version: row.get("version")?,
        })
    }
}

impl Part for Member {
    const TABLE: &'static Table = &MEMBERS;
    const ID: &'static str = "member";

    fn key(&self) -> (SpaceId, Uuid) {
        (self.space, self.member.0)
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            space: SpaceId(row.get("space")?),
            member: row.get("member")?,
            roles: row.get("roles")?,
            joined_at: row.get("joined_at")?,
            joined_position: row.get("joined_position")?,
        })
    }
}

impl Part for Channel {
    const TABLE: &'static Table = &CHANNELS;
    const ID: &'static str = "channel";

    fn key(&self) -> (SpaceId, Uuid) {
        (self.space, self.channel.0)
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            space: SpaceId(row.get("space")?),
            channel: row.get("channel")?,
            kind: parse_stored(&row.get::<String>("kind")?)?,
            name: row.get("name")?,
            category: row.get::<Option<Uuid>>("category")?.map(CategoryId),
            place: row.get("place")?,
            overrides: row.get("overrides")?,
        })
    }
}

impl Part for Category {
    const TABLE: &'static Table = &CATEGORIES;
    const ID: &'static str = "category";

    fn key(&self) -> (SpaceId, Uuid) {
        (self.space, self.category.0)
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            space: SpaceId(row.get("space")?),
            category: CategoryId(row.get("category")?),
            name: row.get("name")?,
            place: row.get("place")?,
        })
    }
}

impl Part for Role {
    const TABLE: &'static Table = &ROLES;
    const ID: &'static str = "role";

    fn key(&self) -> (SpaceId, Uuid) {
        (self.space, self.role.0)
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            space: SpaceId(row.get("space")?),
            role: SpaceRoleId(row.get("role")?),
            name: row.get("name")?,
            permissions: row.get("permissions")?,
            ranked: row.get("ranked")?,
        })
    }
}

impl Part for Ban {
    const TABLE: &'static Table = &BANS;
    const ID: &'static str = "banned";

    fn key(&self) -> (SpaceId, Uuid) {
        (self.space, self.banned.0)
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            space: SpaceId(row.get("space")?),
            banned: row.get("banned")?,
            banned_by: row.get("banned_by")?,
            reason: row.get("reason")?,
            banned_at: row.get("banned_at")?,
        })
    }
}

impl Part for Invite {
    const TABLE: &'static Table = &INVITES;
    const ID: &'static str = "invite";

    fn key(&self) -> (SpaceId, Uuid) {
        (self.space, self.invite.0)
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            space: SpaceId(row.get("space")?),
            invite: InviteId(row.get("invite")?),
            created_by: row.get("created_by")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            uses_max: row.get("uses_max")?,
            uses: row.get("uses")?,
        })
    }
}

/// The spaces that `user` is in, in the order of joining: up to `limit`, those joined after `after`; each
/// with the position at which they joined.
pub async fn of_member(
    snapshot: &mut Snapshot,
    user: UserId,
    after: Position,
    limit: usize,
) -> Result<Vec<(Space, Position)>, ReadError> {
    let columns: Vec<String> = SPACES.column_list().map(|it| format!("s.{it}")).collect();
    let sql = format!(
        "SELECT {}, m.joined_position FROM space_members AS m JOIN spaces AS s ON s.id = m.space \
         WHERE m.member = $1 AND m.joined_position > $2 ORDER BY m.joined_position LIMIT $3",
        columns.join(", ")
    );
    let values = [user.into(), after.into(), limit.into()];
    let rows = snapshot.all(&sql, &values).await?;
    let mut spaces = Vec::with_capacity(rows.len());
    for row in &rows {
        spaces.push((Space::from_row(row)?, row.get("joined_position")?));
    }
    Ok(spaces)
}

/// The roles that `user` was given in any space, of those that there are.
pub async fn roles_of_member(
    snapshot: &mut Snapshot,
    user: UserId,
) -> Result<BTreeSet<SpaceRoleId>, ReadError> {
    // In SQLite a cross join also says in which order.
    let sql = format!(
        "SELECT h.role FROM space_members AS m CROSS JOIN {GIVEN_ROLES} \
         WHERE m.member = $1 AND h.space = m.space AND h.member = m.member AND {ROLE_IS_THERE}"
    );
    let rows = snapshot.all(&sql, &[user.into()]).await?;
    let roles = rows.iter().map(|row| row.get("role").map(SpaceRoleId));
    Ok(roles.collect::<Result<_, _>>()?)
}

/// The roles `h` that members were given, beside the roles `d`; where [`ROLE_IS_THERE`], one was not removed
/// since.
pub(super) const GIVEN_ROLES: &str = "space_member_roles AS h CROSS JOIN space_roles AS d";

/// See [`GIVEN_ROLES`].
pub(super) const ROLE_IS_THERE: &str = "d.space = h.space AND d.role = h.role";

/// How the role of `h`, a row of `space_member_roles`, stands in `mentions`.
pub(super) fn target_of_role() -> String {
    format!("'{ROLE_TARGET}' || CAST(h.role AS TEXT)")
}

/// The roles that `$1` was given in `space`, which is a column, of those that there are: each as the
/// target that it is in `mentions`.
pub(super) fn called_roles(space: &str) -> String {
    format!(
        "(SELECT {} AS target \
          FROM {GIVEN_ROLES} WHERE h.space = {space} AND h.member = $1 AND {ROLE_IS_THERE})",
        target_of_role(),
    )
}

/// The space, whoever asks.
pub async fn one(snapshot: &mut Snapshot, space: SpaceId) -> Result<Option<Space>, ReadError> {
    let columns: Vec<&str> = SPACES.column_list().collect();
    let sql = format!("SELECT {} FROM spaces WHERE id = $1", columns.join(", "));
    let row = snapshot.first(&sql, &[Value::Id(space.0)]).await?;
    Ok(row.as_ref().map(Space::from_row).transpose()?)
}

async fn parts<R: Part>(
    snapshot: &mut Snapshot,
    wanted: &str,
    values: &[Value],
) -> Result<Vec<R>, ReadError> {
    let columns: Vec<&str> = R::TABLE.column_list().collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE space = $1 {wanted}",
        columns.join(", "),
        R::TABLE.name
    );
    let rows = snapshot.all(&sql, values).await?;
    let rows: Result<Vec<R>, DatabaseError> = rows.iter().map(R::from_row).collect();
    Ok(rows?)
}

/// `user` as a member of `space`.
pub async fn member(
    snapshot: &mut Snapshot,
    space: SpaceId,
    user: UserId,
) -> Result<Option<Member>, ReadError> {
    let values = [Value::Id(space.0), user.into()];
    let found: Vec<Member> = parts(snapshot, "AND member = $2", &values).await?;
    Ok(found.into_iter().next())
}

/// Members in the order of ids: up to `limit`, those after `after`.
pub async fn members(
    snapshot: &mut Snapshot,
    space: SpaceId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Member>, ReadError> {
    let after = after.unwrap_or(UserId(Uuid::nil()));
    let values = [Value::Id(space.0), after.into(), limit.into()];
    parts(
        snapshot,
        "AND member > $2 ORDER BY member LIMIT $3",
        &values,
    )
    .await
}

/// All channels, as they stand in lists.
pub async fn channels(snapshot: &mut Snapshot, space: SpaceId) -> Result<Vec<Channel>, ReadError> {
    parts(snapshot, "ORDER BY place, channel", &[Value::Id(space.0)]).await
}

/// One channel, if it is there.
pub async fn channel(
    snapshot: &mut Snapshot,
    space: SpaceId,
    channel: ConversationId,
) -> Result<Vec<Channel>, ReadError> {
    let values = [Value::Id(space.0), channel.into()];
    parts(snapshot, "AND channel = $2", &values).await
}

/// All categories, as they stand in lists.
pub async fn categories(
    snapshot: &mut Snapshot,
    space: SpaceId,
) -> Result<Vec<Category>, ReadError> {
    parts(snapshot, "ORDER BY place, category", &[Value::Id(space.0)]).await
}

/// All roles, the highest first.
pub async fn roles(snapshot: &mut Snapshot, space: SpaceId) -> Result<Vec<Role>, ReadError> {
    parts(
        snapshot,
        "ORDER BY ranked DESC, role",
        &[Value::Id(space.0)],
    )
    .await
}

/// Who is banned, in the order of ids: up to `limit`, those after `after`.
pub async fn bans(
    snapshot: &mut Snapshot,
    space: SpaceId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Ban>, ReadError> {
    let after = after.unwrap_or(UserId(Uuid::nil()));
    let values = [Value::Id(space.0), after.into(), limit.into()];
    parts(
        snapshot,
        "AND banned > $2 ORDER BY banned LIMIT $3",
        &values,
    )
    .await
}

/// The invites that are good at `now`, up to `limit`, the newest first.
pub async fn invites(
    snapshot: &mut Snapshot,
    space: SpaceId,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Invite>, ReadError> {
    let wanted = "AND (expires_at IS NULL OR expires_at > $2) \
                  ORDER BY created_at DESC, invite LIMIT $3";
    let values = [Value::Id(space.0), now.into(), limit.into()];
    parts(snapshot, wanted, &values).await
}

/// As much of a space as decides what these members may: the function that decides it is the domain's.
pub fn rules(
    space: &Space,
    roles: &[Role],
    channels: &[Channel],
    members: &[Member],
) -> Result<space::Space, ReadError> {
    let touched = Touch {
        version: Version::ZERO,
        by: space.owner,
    };
    let mut decides = space::Space {
        id: space.id,
        name: parse_stored(&space.name)?,
        owner: space.owner,
        joining: space.joining,
        archived: space.archived,
        members: BTreeMap::new(),
        roles: BTreeMap::new(),
        categories: BTreeMap::new(),
        channels: BTreeMap::new(),
        banned: BTreeSet::new(),
        invites: BTreeMap::new(),
        sights: Sights::default(),
    };
    for role in roles {
        let it = space::SpaceRole {
            name: parse_stored(&role.name)?,
            permissions: role.permissions.0,
            rank: u16::try_from(role.ranked).unwrap_or(u16::MAX),
        };
        decides.roles.insert(role.role, it);
    }
    for channel in channels {
        let it = space::Channel {
            kind: channel.kind,
            creator: space.owner,
            name: parse_stored(&channel.name)?,
            named_by: space.owner,
            category: channel.category,
            position: u16::try_from(channel.place).unwrap_or(u16::MAX),
            overrides: channel.overrides.0.clone(),
            touched,
            shown_anew: Version::ZERO,
        };
        decides.channels.insert(channel.channel, it);
    }
    for member in members {
        let roles = member.roles.0.clone();
        decides
            .members
            .insert(member.member, space::Member { roles });
    }
    Ok(decides)
}
