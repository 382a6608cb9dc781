//! Users: who is called what, how they stand, what they prefer and whom they block.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use domain::user::SystemRole;
use domain::{AttachmentId, Position, ServiceId, UserId};
use serde::Serialize;

use crate::database::{
    DatabaseError, Index, Row, Table, Transaction, Value, flag, id, int, micros, micros_if_any,
    text, time,
};
use crate::read_models::words::{beyond, words};
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "users",
    version: 4,
    category: "user",
    tables: &[&USERS, &WORDS, &BLOCKS, &AVATARS],
};

const USERS: Table = Table {
    name: "users",
    columns: &[
        id("id"),
        text("handle"),
        text("display_name"),
        text("email").nullable(),
        text("verified_email").nullable(),
        text("system_roles"),
        text("imported_from").nullable(),
        time("registered_at"),
        int("registered_position"),
        text("status_text").nullable(),
        text("time_zone").nullable(),
        text("locale").nullable(),
        text("pronouns").nullable(),
        text("preferences"),
        flag("discoverable"),
        flag("suspended"),
        time("suspended_until").nullable(),
        flag("deactivated"),
        id("service").nullable(),
        id("avatar").nullable(),
    ],
    key: &["id"],
    indexes: &[Index {
        name: "by_handle",
        columns: "handle",
        condition: None,
    }],
};

/// By which words a user is found.
const WORDS: Table = Table {
    name: "user_words",
    columns: &[text("word"), id("id")],
    key: &["word", "id"],
    indexes: &[Index {
        name: "by_user",
        columns: "id",
        condition: None,
    }],
};

const BLOCKS: Table = Table {
    name: "blocks",
    columns: &[id("blocker"), id("blocked"), time("blocked_at")],
    key: &["blocker", "blocked"],
    indexes: &[Index {
        name: "by_blocked",
        columns: "blocked, blocker",
        condition: None,
    }],
};

/// Whose picture an attachment is or was.
const AVATARS: Table = Table {
    name: "avatars",
    columns: &[
        id("owner"),
        id("attachment"),
        int("ended_position").nullable(),
    ],
    key: &["owner", "attachment"],
    indexes: &[
        Index {
            name: "by_attachment",
            columns: "attachment",
            condition: None,
        },
        Index {
            name: "ended",
            columns: "ended_position",
            condition: Some("ended_position IS NOT NULL"),
        },
    ],
};

/// A row of `users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// The unique name.
    pub handle: String,
    /// What they want to be called.
    pub display_name: String,
    /// Their address, for themselves only.
    pub email: Option<String>,
    /// The last address that was shown to be theirs.
    pub verified_email: Option<String>,
    /// What they may do on the whole server; stored as names between spaces.
    #[serde(serialize_with = "joined")]
    pub system_roles: BTreeSet<SystemRole>,
    /// Where the account came from, if it was imported.
    pub imported_from: Option<String>,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub registered_at: DateTime<Utc>,
    /// In the log.
    pub registered_position: domain::Position,
    /// What they are up to.
    pub status_text: Option<String>,
    /// Where their clock is.
    pub time_zone: Option<String>,
    /// Their language, for themselves only.
    pub locale: Option<String>,
    /// How to speak of them.
    pub pronouns: Option<String>,
    /// A JSON object, for themselves only.
    pub preferences: String,
    /// Whether the directory shows them.
    pub discoverable: bool,
    /// Whether they were suspended and not reinstated.
    pub suspended: bool,
    /// When the suspension ends by itself, or ended.
    #[serde(serialize_with = "micros_if_any")]
    pub suspended_until: Option<DateTime<Utc>>,
    /// Whether they closed the account.
    pub deactivated: bool,
    /// The service that acts as this user, where it is a bot.
    pub service: Option<ServiceId>,
    /// Their picture.
    pub avatar: Option<AttachmentId>,
}

/// A row of `avatars`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Avatar {
    /// Whose picture.
    pub owner: UserId,
    /// Which.
    pub attachment: AttachmentId,
    /// Where in the log they got another, or none.
    pub ended_position: Option<Position>,
}

/// A row of `blocks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Who wants nothing to do with another.
    pub blocker: UserId,
    /// With whom.
    pub blocked: UserId,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub blocked_at: DateTime<Utc>,
}

const fn role_name(role: SystemRole) -> &'static str {
    match role {
        SystemRole::Owner => "owner",
        SystemRole::Admin => "admin",
        SystemRole::Auditor => "auditor",
        SystemRole::Analyst => "analyst",
    }
}

fn joined<S: serde::Serializer>(
    roles: &BTreeSet<SystemRole>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let names: Vec<&str> = roles.iter().map(|role| role_name(*role)).collect();
    serializer.serialize_str(&names.join(" "))
}

impl User {
    /// Whether they may come in at the moment `now`.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        let ended = self.suspended_until.is_some_and(|until| until <= now);
        !self.deactivated && (!self.suspended || ended)
    }

    /// Whether the address that they have now was shown to be theirs.
    pub fn is_email_verified(&self) -> bool {
        self.email.is_some() && self.email == self.verified_email
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        let roles: String = row.get("system_roles")?;
        Ok(Self {
            id: row.get("id")?,
            handle: row.get("handle")?,
            display_name: row.get("display_name")?,
            email: row.get("email")?,
            verified_email: row.get("verified_email")?,
            system_roles: roles
                .split_whitespace()
                .map(parse_stored)
                .collect::<Result<_, _>>()?,
            imported_from: row.get("imported_from")?,
            registered_at: row.get("registered_at")?,
            registered_position: row.get("registered_position")?,
            status_text: row.get("status_text")?,
            time_zone: row.get("time_zone")?,
            locale: row.get("locale")?,
            pronouns: row.get("pronouns")?,
            preferences: row.get("preferences")?,
            discoverable: row.get("discoverable")?,
            suspended: row.get("suspended")?,
            suspended_until: row.get("suspended_until")?,
            deactivated: row.get("deactivated")?,
            service: row.get("service")?,
            avatar: row.get("avatar")?,
        })
    }
}

/// The rows of `ids` as they stand in a generation.
pub async fn load(
    transaction: &mut Transaction,
    generation: u64,
    ids: impl IntoIterator<Item = UserId>,
) -> Result<Vec<User>, DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        id: UserId,
    }
    let keys: Vec<Key> = ids.into_iter().map(|id| Key { id }).collect();
    USERS
        .load(transaction, generation, &["id"], &keys)
        .await?
        .iter()
        .map(User::from_row)
        .collect()
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    users: &[User],
) -> Result<(), DatabaseError> {
    USERS.upsert(transaction, generation, users).await
}

/// Makes `users` be found by what they are called now.
pub async fn store_words(
    transaction: &mut Transaction,
    generation: u64,
    users: &[&User],
) -> Result<(), DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        id: UserId,
    }
    #[derive(Serialize)]
    struct Word {
        word: String,
        id: UserId,
    }
    let keys: Vec<Key> = users.iter().map(|user| Key { id: user.id }).collect();
    WORDS
        .delete(transaction, generation, &["id"], &keys)
        .await?;
    let rows: Vec<Word> = users
        .iter()
        .flat_map(|user| {
            let mut all: BTreeSet<String> = words(&user.handle).collect();
            all.extend(words(&user.display_name));
            let id = user.id;
            all.into_iter().map(move |word| Word { word, id })
        })
        .collect();
    WORDS.upsert(transaction, generation, &rows).await
}

/// Writes which blocks there are now, and which no more: of these, blocker and blocked.
pub async fn store_blocks(
    transaction: &mut Transaction,
    generation: u64,
    made: &[Block],
    ended: &[(UserId, UserId)],
) -> Result<(), DatabaseError> {
    #[derive(Serialize)]
    struct Key {
        blocker: UserId,
        blocked: UserId,
    }
    let keys: Vec<Key> = ended
        .iter()
        .map(|(blocker, blocked)| Key {
            blocker: *blocker,
            blocked: *blocked,
        })
        .collect();
    BLOCKS
        .delete(transaction, generation, &["blocker", "blocked"], &keys)
        .await?;
    BLOCKS.upsert(transaction, generation, made).await
}

/// Writes whose pictures attachments are now, and whose no more.
pub async fn store_avatars(
    transaction: &mut Transaction,
    generation: u64,
    avatars: &[Avatar],
) -> Result<(), DatabaseError> {
    AVATARS.upsert(transaction, generation, avatars).await
}

/// Whose pictures `attachments` are, or were.
pub async fn avatars(
    snapshot: &mut Snapshot,
    attachments: &[AttachmentId],
) -> Result<Vec<Avatar>, ReadError> {
    #[derive(Serialize)]
    struct Key {
        attachment: AttachmentId,
    }
    let keys: Vec<Key> = attachments
        .iter()
        .map(|attachment| Key {
            attachment: *attachment,
        })
        .collect();
    let rows = snapshot.keyed(&AVATARS, &["attachment"], &keys).await?;
    let avatar = |row: &Row| {
        Ok(Avatar {
            owner: row.get("owner")?,
            attachment: row.get("attachment")?,
            ended_position: row.get("ended_position")?,
        })
    };
    let avatars: Result<Vec<Avatar>, DatabaseError> = rows.iter().map(avatar).collect();
    Ok(avatars?)
}

/// One user.
pub async fn one(snapshot: &mut Snapshot, user: UserId) -> Result<Option<User>, ReadError> {
    select(snapshot, "id = $1", user.into()).await
}

/// The user with this handle, in lower case.
pub async fn by_handle(snapshot: &mut Snapshot, handle: &str) -> Result<Option<User>, ReadError> {
    select(snapshot, "handle = $1", handle.into()).await
}

async fn select(
    snapshot: &mut Snapshot,
    wanted: &str,
    value: Value,
) -> Result<Option<User>, ReadError> {
    let columns: Vec<&str> = USERS.column_list().collect();
    let sql = format!(
        "SELECT {} FROM users WHERE {wanted} ORDER BY registered_position LIMIT 1",
        columns.join(", ")
    );
    let row = snapshot.first(&sql, &[value]).await?;
    Ok(row.as_ref().map(User::from_row).transpose()?)
}

/// Who is looked for in the directory.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The beginnings of words, folded as [`words`] does; all must fit, and there is one at least.
    pub beginnings: &'a [String],
    /// Who looks: of those whom they block and who block them nobody is found.
    pub asker: UserId,
    /// At which moment, for suspensions that end by themselves.
    pub now: DateTime<Utc>,
    /// Only those whose handles come after this one.
    pub after: &'a str,
    /// How many at most.
    pub limit: usize,
}

/// Active users who want to be found, in the order of their handles.
pub async fn search(snapshot: &mut Snapshot, search: &Search<'_>) -> Result<Vec<User>, ReadError> {
    let columns: Vec<&str> = USERS.column_list().collect();
    let mut values: Vec<Value> = vec![
        search.asker.into(),
        search.now.into(),
        search.after.into(),
        search.limit.into(),
    ];
    let mut sql = format!(
        "SELECT {} FROM users WHERE discoverable AND NOT deactivated \
         AND (NOT suspended OR suspended_until <= $2) AND handle > $3 \
         AND NOT EXISTS (SELECT 1 FROM blocks WHERE blocker = $1 AND blocked = users.id) \
         AND NOT EXISTS (SELECT 1 FROM blocks WHERE blocker = users.id AND blocked = $1)",
        columns.join(", ")
    );
    for beginning in search.beginnings {
        values.push(beginning.as_str().into());
        values.push(beyond(beginning).as_str().into());
        let (from, to) = (values.len() - 1, values.len());
        // Writing into a string cannot fail.
        let _ = write!(
            sql,
            " AND id IN (SELECT id FROM user_words WHERE word >= ${from} AND word < ${to})"
        );
    }
    sql.push_str(" ORDER BY handle LIMIT $4");
    let rows = snapshot.all(&sql, &values).await?;
    Ok(rows.iter().map(User::from_row).collect::<Result<_, _>>()?)
}

/// Whom `blocker` blocks, in the order of ids: up to `limit`, those after `after`.
pub async fn blocks(
    snapshot: &mut Snapshot,
    blocker: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Block>, ReadError> {
    let after = after.unwrap_or(UserId(uuid::Uuid::nil()));
    let sql = "SELECT blocked, blocked_at FROM blocks WHERE blocker = $1 AND blocked > $2 \
               ORDER BY blocked LIMIT $3";
    let values = [blocker.into(), after.into(), limit.into()];
    let rows = snapshot.all(sql, &values).await?;
    let block = |row: &Row| {
        Ok(Block {
            blocker,
            blocked: row.get("blocked")?,
            blocked_at: row.get("blocked_at")?,
        })
    };
    let blocks: Result<Vec<Block>, DatabaseError> = rows.iter().map(block).collect();
    Ok(blocks?)
}
