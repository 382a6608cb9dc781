//! The protocol's messages in Rust are generated from `door/proto` and committed, so that building the
//! server needs neither `protoc` nor a compiler of protocols of its own. Here they are compared.

use std::fs;
use std::path::{Path, PathBuf};

/// Set by `cargo xtask generate`: write them instead of comparing.
const WRITE: &str = "VERBATIM_TEST_WRITE_GENERATED";

#[test]
fn the_committed_messages_are_those_of_the_protocol() {
    let door = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = door.join("src/generated");
    let fresh = tempfile::tempdir().unwrap();
    let into: PathBuf = match std::env::var_os(WRITE) {
        Some(_) => committed.clone(),
        None => fresh.path().to_owned(),
    };
    let protocols = ["streams.proto", "server_features.proto"];
    let messages = protox::compile(protocols, [door.join("proto")]).unwrap();
    tonic_build::configure()
        .build_client(false)
        // Data of events is passed on without being copied.
        .bytes(["."])
        .out_dir(&into)
        .compile_fds(messages)
        .unwrap();
    for file in fs::read_dir(&into).unwrap() {
        let file = file.unwrap();
        let beside = committed.join(file.file_name());
        assert!(
            fs::read(file.path()).unwrap() == fs::read(&beside).unwrap_or_default(),
            "{} is old: run `cargo xtask generate`",
            beside.display()
        );
    }
}
