//! Search: which messages have which tokens. Of each conversation the messages whose seqs lie within
//! the same [`PART_SEQS`] are a part, and a row says which messages of one part have one token, so that
//! a new message changes as many rows as it has tokens, what is looked for is met newest first, and
//! nothing is looked at but conversations that were asked for.
//!
//! Besides the tokens of its text, a message has one for its author, for each whom it calls, and for
//! what else one can ask for. What an edit replaced stays, as those who left before it go on to see
//! that: whoever finds a message looks whether what its reader sees matches. A deleted message has no
//! tokens, and an encrypted one never had any.

#[cfg(test)]
mod fuzz;
mod query;
mod units;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::conversation::Mention;
use domain::{ConversationId, Position, Seq, UserId, Version};
use serde::Serialize;

pub use query::{Lookup, Match, Query, QueryInvalid};

use crate::database::{DatabaseError, Row, Table, Transaction, id, int, micros, text, time};
use crate::read_models::{Model, ReadError, Snapshot, messages};

/// The read model.
pub const MODEL: Model = Model {
    name: "search",
    version: 1,
    category: "conversation",
    tables: &[&PARTS, &TOKENS],
};

/// Seqs of a part. A deletion reads the tokens of one part, a search for a rare word one row of each.
pub const PART_SEQS: u64 = 1_024;

const PARTS: Table = Table {
    name: "search_parts",
    columns: &[
        id("conversation"),
        int("number"),
        int("part"),
        int("last_position"),
        time("earliest"),
        time("latest"),
    ],
    key: &["conversation", "number"],
    indexes: &[],
};

const TOKENS: Table = Table {
    name: "search_tokens",
    columns: &[int("part"), text("token"), text("seqs")],
    key: &["part", "token"],
    indexes: &[],
};

/// Every message in the index has it. No token of a text begins like this, nor like those below.
pub const ANY: &str = "*";

/// Messages with a link have it.
pub const LINK: &str = "+link";

/// Messages with a file have it, also those that had one.
pub const ATTACHMENT: &str = "+attachment";

/// The token of messages by `author`.
pub fn author(author: UserId) -> String {
    format!("@{author}")
}

/// Messages that call any role of a space have it: one may have any number of roles.
pub const ROLE: &str = "!role";

/// The token of messages that call whom `mention` says; `None` where it counts for nobody.
pub fn mention(mention: Mention) -> Option<String> {
    match mention {
        Mention::SpaceRole(_) => Some(ROLE.to_owned()),
        Mention::User(_) | Mention::Everyone | Mention::Here | Mention::Role(_) => {
            messages::target(mention).map(|target| format!("!{target}"))
        }
    }
}

/// Whether a text has a link.
pub fn has_link(text: &str) -> bool {
    text.contains("https://") || text.contains("http://")
}

/// The tokens of a text: by what words it is found, and whether it has a link.
pub fn tokens(text: &str) -> BTreeSet<String> {
    let mut tokens = units::tokens(&units::units(text));
    if has_link(text) {
        tokens.insert(LINK.to_owned());
    }
    tokens
}

/// Which part of its conversation has the message `seq`.
pub const fn part_of(seq: Seq) -> u64 {
    seq.0 / PART_SEQS
}

/// A row of `search_parts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// The how-manieth, from 0; parts without messages are not there.
    pub number: u64,
    /// Its name: the position of its first message.
    pub part: Position,
    /// The position of its last message.
    pub last_position: Position,
    /// The least time of its messages.
    #[serde(serialize_with = "micros")]
    pub earliest: DateTime<Utc>,
    /// The greatest.
    #[serde(serialize_with = "micros")]
    pub latest: DateTime<Utc>,
}

/// Names a part by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PartKey {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// The how-manieth.
    pub number: u64,
}

impl PartKey {
    /// The part with the message `seq`.
    pub const fn of(conversation: ConversationId, seq: Seq) -> Self {
        Self {
            conversation,
            number: part_of(seq),
        }
    }
}

impl Part {
    /// The first and the last seq that it may have.
    pub const fn seqs(&self) -> (Seq, Seq) {
        let first = self.number * PART_SEQS;
        (Version(first), Version(first + PART_SEQS - 1))
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            conversation: row.get("conversation")?,
            number: row.get("number")?,
            part: row.get("part")?,
            last_position: row.get("last_position")?,
            earliest: row.get("earliest")?,
            latest: row.get("latest")?,
        })
    }
}

/// Names a row of `search_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TokenKey {
    /// In which part.
    pub part: Position,
    /// Which token.
    pub token: String,
}

/// Some messages of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seqs([u64; (PART_SEQS / 64) as usize]);

/// The digits of a seq within its part, in the order of their bytes; it has two.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

impl Seqs {
    const fn place(seq: Seq) -> (usize, u64) {
        let offset = seq.0 % PART_SEQS;
        // No part has so many.
        ((offset / 64) as usize, 1 << (offset % 64))
    }

    /// Adds `seq`, which is of this part.
    pub const fn insert(&mut self, seq: Seq) {
        let (word, bit) = Self::place(seq);
        self.0[word] |= bit;
    }

    /// Takes `seq` away; says whether it was there.
    pub const fn remove(&mut self, seq: Seq) -> bool {
        let was_there = self.contains(seq);
        let (word, bit) = Self::place(seq);
        self.0[word] &= !bit;
        was_there
    }

    /// Whether `seq` is one of them.
    pub const fn contains(&self, seq: Seq) -> bool {
        let (word, bit) = Self::place(seq);
        self.0[word] & bit != 0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Adds those of `other`.
    pub fn unite(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// Leaves only those that `other` has too.
    pub fn intersect(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= other;
        }
    }

    /// Their seqs, of part number `number`, in order.
    pub fn of_part(&self, number: u64) -> impl Iterator<Item = Seq> {
        let first = number * PART_SEQS;
        self.offsets().map(move |offset| Version(first + offset))
    }

    fn offsets(&self) -> impl Iterator<Item = u64> {
        self.0.into_iter().zip(0_u64..).flat_map(|(word, index)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| u64::from(rest.trailing_zeros()))?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }

    /// As it is stored: of each two digits, in order.
    fn stored(&self) -> String {
        let digit = |value: u64| char::from(DIGITS[(value % 32) as usize]);
        let mut stored = String::new();
        for offset in self.offsets() {
            stored.push(digit(offset / 32));
            stored.push(digit(offset));
        }
        stored
    }

    fn parse(stored: &str) -> Result<Self, DatabaseError> {
        let mut seqs = Self::default();
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(u64::from(digit - b'0')),
            b'a'..=b'v' => Some(u64::from(digit - b'a') + 10),
            _ => None,
        };
        for pair in stored.as_bytes().chunks(2) {
            let offset = match pair {
                [high, low] => value(*high).zip(value(*low)),
                _ => None,
            };
            let (high, low) = offset
                .ok_or_else(|| DatabaseError::unreadable(format!("no seqs of a part: {stored}")))?;
            seqs.insert(Version(high * 32 + low));
        }
        Ok(seqs)
    }
}

/// What a batch changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Parts that are new or have more messages.
    pub parts: Vec<Part>,
    /// Messages that a token has besides those it had: all of later seqs than those.
    pub more: Vec<(TokenKey, Seqs)>,
    /// All messages that a token has now.
    pub now: Vec<(TokenKey, Seqs)>,
}

#[derive(Serialize)]
struct TokenRow<'a> {
    part: Position,
    token: &'a str,
    seqs: String,
}

/// The parts at `keys` as they stand in a generation.
pub async fn load_parts(
    transaction: &mut Transaction,
    generation: u64,
    keys: &[&PartKey],
) -> Result<Vec<Part>, DatabaseError> {
    PARTS
        .load(transaction, generation, PARTS.key, keys)
        .await?
        .iter()
        .map(Part::from_row)
        .collect()
}

/// The tokens at `keys` as they stand in a generation.
pub async fn load_tokens(
    transaction: &mut Transaction,
    generation: u64,
    keys: &[TokenKey],
) -> Result<Vec<(TokenKey, Seqs)>, DatabaseError> {
    TOKENS
        .load(transaction, generation, TOKENS.key, keys)
        .await?
        .iter()
        .map(token_from_row)
        .collect()
}

/// Every token of `parts` as it stands in a generation.
pub async fn load_whole(
    transaction: &mut Transaction,
    generation: u64,
    parts: &[Position],
) -> Result<Vec<(TokenKey, Seqs)>, DatabaseError> {
    TOKENS
        .load(transaction, generation, &["part"], &part_names(parts))
        .await?
        .iter()
        .map(token_from_row)
        .collect()
}

#[derive(Serialize)]
struct PartName {
    part: Position,
}

fn part_names(parts: &[Position]) -> Vec<PartName> {
    parts.iter().map(|part| PartName { part: *part }).collect()
}

fn token_from_row(row: &Row) -> Result<(TokenKey, Seqs), DatabaseError> {
    let key = TokenKey {
        part: row.get("part")?,
        token: row.get("token")?,
    };
    let seqs: String = row.get("seqs")?;
    Ok((key, Seqs::parse(&seqs)?))
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    changes: &Changes,
) -> Result<(), DatabaseError> {
    fn row((key, seqs): &(TokenKey, Seqs)) -> TokenRow<'_> {
        TokenRow {
            part: key.part,
            token: &key.token,
            seqs: seqs.stored(),
        }
    }
    PARTS
        .upsert(transaction, generation, &changes.parts)
        .await?;
    let more: Vec<TokenRow<'_>> = changes.more.iter().map(row).collect();
    TOKENS
        .append(transaction, generation, "seqs", &more)
        .await?;
    let (gone, now): (Vec<_>, Vec<_>) = changes.now.iter().partition(|(_, seqs)| seqs.is_empty());
    let now: Vec<TokenRow<'_>> = now.into_iter().map(row).collect();
    TOKENS.upsert(transaction, generation, &now).await?;
    let gone: Vec<&TokenKey> = gone.into_iter().map(|(key, _)| key).collect();
    TOKENS
        .delete(transaction, generation, TOKENS.key, &gone)
        .await
}

/// The parts of `conversations`, in any order.
pub async fn parts(
    snapshot: &mut Snapshot,
    conversations: impl IntoIterator<Item = ConversationId>,
) -> Result<Vec<Part>, ReadError> {
    #[derive(Serialize)]
    struct Key {
        conversation: ConversationId,
    }
    let keys: Vec<Key> = conversations
        .into_iter()
        .map(|conversation| Key { conversation })
        .collect();
    let rows = snapshot.keyed(&PARTS, &["conversation"], &keys).await?;
    Ok(rows.iter().map(Part::from_row).collect::<Result<_, _>>()?)
}

/// The messages of `parts` that have all of `lookups`, of which there is one at least; parts without
/// any are left out.
pub async fn find(
    snapshot: &mut Snapshot,
    parts: &[Position],
    lookups: &[Lookup],
) -> Result<BTreeMap<Position, Seqs>, ReadError> {
    let mut found: BTreeMap<Position, Seqs> = BTreeMap::new();
    let one_of: Vec<&Vec<String>> = lookups
        .iter()
        .filter_map(|lookup| match lookup {
            Lookup::OneOf(tokens) => Some(tokens),
            Lookup::Between(..) => None,
        })
        .collect();
    if !one_of.is_empty() {
        let wanted: BTreeSet<&String> = one_of.iter().copied().flatten().collect();
        let keys: Vec<TokenKey> = parts
            .iter()
            .flat_map(|part| wanted.iter().map(|token| (*part, *token)))
            .map(|(part, token)| TokenKey {
                part,
                token: token.clone(),
            })
            .collect();
        let rows = snapshot.keyed(&TOKENS, TOKENS.key, &keys).await?;
        let mut by_part: BTreeMap<Position, BTreeMap<String, Seqs>> = BTreeMap::new();
        for row in &rows {
            let (key, seqs) = token_from_row(row)?;
            by_part.entry(key.part).or_default().insert(key.token, seqs);
        }
        for (part, tokens) in by_part {
            found.insert(part, all_of(&one_of, &tokens));
        }
        found.retain(|_, seqs| !seqs.is_empty());
    }
    let mut is_first = one_of.is_empty();
    for lookup in lookups {
        let Lookup::Between(from, to) = lookup else {
            continue;
        };
        let among: Vec<Position> = if is_first {
            parts.to_vec()
        } else {
            found.keys().copied().collect()
        };
        let begun = beginning(snapshot, &among, from, to).await?;
        if is_first {
            found = begun;
        } else {
            for (part, seqs) in &mut found {
                seqs.intersect(&begun.get(part).copied().unwrap_or_default());
            }
        }
        found.retain(|_, seqs| !seqs.is_empty());
        is_first = false;
    }
    Ok(found)
}

/// The messages that have one token at least of each of `wanted`.
fn all_of(wanted: &[&Vec<String>], tokens: &BTreeMap<String, Seqs>) -> Seqs {
    let mut all: Option<Seqs> = None;
    for wanted in wanted {
        let mut one = Seqs::default();
        for seqs in wanted.iter().filter_map(|token| tokens.get(token)) {
            one.unite(seqs);
        }
        match &mut all {
            Some(all) => all.intersect(&one),
            None => all = Some(one),
        }
    }
    all.unwrap_or_default()
}

/// The messages of `parts` with a token between `from` and `to`.
async fn beginning(
    snapshot: &mut Snapshot,
    parts: &[Position],
    from: &str,
    to: &str,
) -> Result<BTreeMap<Position, Seqs>, ReadError> {
    let mut found: BTreeMap<Position, Seqs> = BTreeMap::new();
    if parts.is_empty() {
        return Ok(found);
    }
    // In SQLite a cross join also says: take the parts one by one, and look each up.
    let sql = format!(
        "SELECT t.part, t.token, t.seqs FROM {} CROSS JOIN search_tokens AS t \
         WHERE t.part = k.part AND t.token >= $2 AND t.token < $3",
        TOKENS.keys_of(snapshot.dialect(), &["part"]),
    );
    let keys = crate::database::json(&part_names(parts))?;
    let rows = snapshot.all(&sql, &[keys, from.into(), to.into()]).await?;
    for row in &rows {
        let (key, seqs) = token_from_row(row)?;
        found.entry(key.part).or_default().unite(&seqs);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn seqs_are_stored_in_order_and_read_back(offsets in proptest::collection::btree_set(0..PART_SEQS, 0..60)) {
            let mut seqs = Seqs::default();
            for offset in &offsets {
                seqs.insert(Version(3 * PART_SEQS + offset));
            }
            let stored = seqs.stored();
            prop_assert_eq!(stored.len(), 2 * offsets.len());
            prop_assert_eq!(Seqs::parse(&stored).unwrap(), seqs);
            let read: BTreeSet<u64> = seqs.of_part(3).map(|seq| seq.0 - 3 * PART_SEQS).collect();
            prop_assert_eq!(read, offsets);
        }
    }

    #[test]
    fn what_is_no_seqs_is_not_read() {
        for wrong in ["0", "0z", "--"] {
            assert!(Seqs::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_taken_away_is_gone() {
        let mut seqs = Seqs::default();
        seqs.insert(Version(PART_SEQS + 7));
        assert!(seqs.remove(Version(7)) && !seqs.remove(Version(7)));
        assert!(seqs.is_empty());
    }
}
