//! Tests of `infra` against the real thing: files, processes, disks.

mod event_store;
