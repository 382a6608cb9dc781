//! The read models: what was said, laid out for reading. Each file has one model's tables, the
//! batches that fill them and the queries that answer from them. How events become rows is in the
//! projector; who may ask what is in the query API.
//!
//! Everything here can be thrown away: it is built again from the log.

pub mod attachments;
pub mod conversations;
pub mod members;
pub mod messages;
pub mod notifications;
pub mod projections;
pub mod receipts;
pub mod search;
pub mod services;
pub mod sessions;
mod snapshot;
pub mod spaces;
pub mod users;
pub mod words;

use crate::database::Table;

pub use snapshot::{Behind, ReadError, Snapshot, WAIT_MAX, hurry_to, wait_for};

/// A read model: tables that one projection fills.
#[derive(Debug)]
pub struct Model {
    /// Its name, which is also the projection's.
    pub name: &'static str,
    /// Changes with the tables or the fold; a model of another version is built anew.
    pub version: u32,
    /// The category of the streams it is made of.
    pub category: &'static str,
    /// What it owns, in the order in which views are locked.
    pub tables: &'static [&'static Table],
}

/// Every read model.
pub const ALL: [&Model; 11] = [
    &attachments::MODEL,
    &conversations::MODEL,
    &members::MODEL,
    &messages::MODEL,
    &notifications::MODEL,
    &receipts::MODEL,
    &search::MODEL,
    &services::MODEL,
    &sessions::MODEL,
    &spaces::MODEL,
    &users::MODEL,
];

/// Builds an enum's stored text and reads it back: the names that its JSON has.
pub(crate) fn parse_stored<T: serde::de::DeserializeOwned>(
    text: &str,
) -> Result<T, crate::database::DatabaseError> {
    use serde::de::IntoDeserializer as _;
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        text.into_deserializer();
    T::deserialize(name).map_err(crate::database::DatabaseError::unreadable)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::ALL;

    /// The tables of every model's version. Where a model's are others, and the version was released,
    /// the version has to be the next: a model of the same version is followed as it is.
    #[test]
    fn a_version_of_a_model_has_the_tables_that_it_had() {
        let known = [
            ("attachments", 1, "e129322dbc392511"),
            ("conversations", 3, "cb670fddd9a46aac"),
            ("members", 1, "761f7a9b56bbd74d"),
            ("messages", 4, "48324ac73651efeb"),
            ("notifications", 1, "b49a5857c5e561e1"),
            ("receipts", 3, "464f5d68b0437720"),
            ("search", 1, "a96ae8235e60394c"),
            ("services", 1, "e6641de66741f3a3"),
            ("sessions", 3, "5c70546783f6b801"),
            ("spaces", 2, "bc4588ced9cfec7e"),
            ("users", 5, "a1d0b5de08b3e25b"),
        ];
        let models = ALL.map(|model| {
            let hash: [u8; 32] = Sha256::digest(format!("{:?}", model.tables)).into();
            let tables = u64::from_be_bytes(std::array::from_fn(|index| hash[index]));
            (model.name, model.version, format!("{tables:016x}"))
        });
        let known = known.map(|(name, version, tables)| (name, version, tables.to_owned()));
        assert_eq!(models, known);
    }
}
