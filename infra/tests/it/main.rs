//! Tests of `infra` against the real thing: files, processes, disks.

#[cfg(test)]
mod bus;
#[cfg(test)]
mod event_store;
