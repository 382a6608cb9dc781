//! The read models: what was said, laid out for reading. Each file has one model's tables, the
//! batches that fill them and the queries that answer from them. How events become rows is in the
//! projector; who may ask what is in the query API.
//!
//! Everything here can be thrown away: it is built again from the log.

pub mod attachments;
pub mod conversations;
pub mod members;
pub mod messages;
pub mod projections;
pub mod receipts;
pub mod search;
pub mod services;
pub mod sessions;
mod snapshot;
pub mod users;
pub mod words;

use crate::database::Table;

pub use snapshot::{Behind, ReadError, Snapshot, WAIT_MAX, wait_for};

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
pub const ALL: [&Model; 9] = [
    &attachments::MODEL,
    &conversations::MODEL,
    &members::MODEL,
    &messages::MODEL,
    &receipts::MODEL,
    &search::MODEL,
    &services::MODEL,
    &sessions::MODEL,
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
