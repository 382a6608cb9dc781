//! The binary `verbatim` once more, under a name that cargo tells the journeys.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    server::cli::main().await
}
