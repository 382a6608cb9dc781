//! The binary `verbatim` once more, under a name that cargo tells the journeys.

use std::process::ExitCode;

fn main() -> ExitCode {
    server::cli::main()
}
