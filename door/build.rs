//! Turns the messages in `proto/` into Rust, without a `protoc` on the machine.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let messages = protox::compile(["streams.proto", "server_features.proto"], ["proto"])?;
    tonic_build::configure()
        .build_client(false)
        // Data of events is passed on without being copied.
        .bytes(["."])
        .compile_fds(messages)?;
    Ok(())
}
