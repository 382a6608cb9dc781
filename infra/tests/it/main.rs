//! Tests of `infra` against the real thing: files, processes, disks, servers.

#[cfg(test)]
mod blobs;
#[cfg(test)]
mod bus;
#[cfg(test)]
mod event_store;
#[cfg(test)]
mod leadership;

/// Servers of other makers, as the journeys start them, too.
#[cfg(test)]
#[path = "../../../tests/src/nats.rs"]
#[expect(
    unreachable_pub,
    dead_code,
    reason = "it is public, and used whole, in the crate that it belongs to"
)]
mod nats;
#[cfg(test)]
#[path = "../../../tests/src/postgres.rs"]
#[expect(
    unreachable_pub,
    dead_code,
    reason = "it is public, and used whole, in the crate that it belongs to"
)]
mod postgres;
#[cfg(test)]
#[path = "../../../tests/src/s3.rs"]
#[expect(
    unreachable_pub,
    dead_code,
    reason = "it is public, and used whole, in the crate that it belongs to"
)]
mod s3;
