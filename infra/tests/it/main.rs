//! Tests of `infra` against the real thing: files, processes, disks, servers.

#[cfg(test)]
mod bus;
#[cfg(test)]
mod event_store;
#[cfg(test)]
mod leadership;
