//! What people and CI run: `cargo xtask test`, `lint`, `tidy`, `generate`. Has no dependencies on the
//! rest of the workspace, so that it builds in seconds.

mod clients;
mod fuzz;
mod packages;
mod postgres;
mod tidy;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// What went wrong, for people.
type Outcome<T = ()> = Result<T, String>;

const HELP: &str = "\
cargo xtask TASK

  test [ARGS…]   everything that must pass: tidy, then all tests of the workspace; ARGS go to
                 `cargo test` (`cargo xtask test -p domain`). Starts a private PostgreSQL, and installs
                 what the tests start themselves: nats-server, nginx, Chromium, oathtool and an S3 server, and under
                 target/ the Python and Node clients of the journeys
  lint           formatting, clippy without a warning, licences and banned crates
  tidy           the repository's own rules (dependency edges, module docs, paths in documents)
  generate       writes what is generated and committed: docs/openapi.json from the routes,
                 docs/access-matrix.md from asking them, and door/src/generated from door/proto
  fuzz [TARGET] [SECONDS]
                 looks for input that breaks what reads it, 60 seconds for each target or for those named so;
                 what it finds is kept in `__fuzz__` beside the test, and every `test` tries it again
  postgres       starts a private PostgreSQL, prints its URL, stops it on Enter
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments
        .split_first()
        .map(|(task, rest)| (task.as_str(), rest))
    {
        Some(("test", rest)) => test(rest),
        Some(("lint", [])) => lint(),
        Some(("tidy", [])) => tidy::check(&root()),
        Some(("generate", [])) => generate(),
        Some(("fuzz", rest)) => fuzz::fuzz(rest),
        Some(("postgres", [])) => postgres::interactive(),
        _ => Err(HELP.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

fn test(arguments: &[String]) -> Outcome {
    step("tidy", || tidy::check(&root()))?;
    step("nats-server", packages::nats_server)?;
    step("nginx", packages::nginx)?;
    let s3 = step("S3 server", || {
        packages::s3_server(&root().join("target/s3-server"))
    })?;
    let server = step("PostgreSQL", postgres::Server::start)?;
    let whole = if arguments.is_empty() {
        &["--workspace"][..]
    } else {
        &[]
    };
    let mut command = cargo();
    command
        .args(["test", "--no-fail-fast"])
        .args(whole)
        .args(arguments)
        .env("VERBATIM_TEST_S3_SERVER", s3)
        .env(postgres::VARIABLE, server.url())
        .env(postgres::PROGRAMS_VARIABLE, server.programs());
    // Only the journeys need them.
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "tests") {
        let clients = step("clients of the door", clients::Clients::install)?;
        step("Chromium", packages::chromium)?;
        step("oathtool", packages::oathtool)?;
        command
            .env(clients::PYTHON_VARIABLE, clients.python)
            .env(clients::NODE_VARIABLE, clients.node);
    }
    step("tests", || run(&mut command))
}

fn lint() -> Outcome {
    step("formatting", || {
        run(cargo().args(["fmt", "--all", "--check"]))
    })?;
    step("clippy", || {
        run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]))
    })?;
    step("licences and banned crates", || {
        if !succeeds(cargo().args(["deny", "--version"])) {
            // Nobody waits for a fast cargo-deny as long as for building one.
            run(cargo()
                .args(["install", "--locked", "cargo-deny"])
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"))?;
        }
        run(cargo().args(["deny", "check", "licenses", "bans", "sources"]))
    })
}

fn generate() -> Outcome {
    // The server's test comes first: the journeys ask every route of the description that it writes.
    // All of the workspace, as for `test`, so that nothing is built anew with other features.
    run(cargo()
        .args(["test", "--workspace", "the_committed_"])
        .env("VERBATIM_TEST_WRITE_GENERATED", "1"))
}

/// Says what begins and how long it took.
fn step<T>(name: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    eprintln!("── {name}");
    let begun = Instant::now();
    let result = work()?;
    eprintln!("── {name}: done in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(result)
}

/// Cargo, as if a person had called it: what it tells this program of this program would have build
/// scripts that ask for it run again, and everything that depends on them be built again.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        let of_this = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if of_this {
            command.env_remove(name);
        }
    }
    command
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn run(command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| format!("cannot run {}: {error}", said(command.get_program())))?;
    if status.success() {
        return Ok(());
    }
    let words: Vec<_> = command.get_args().map(said).collect();
    Err(format!(
        "failed ({status}): {} {}",
        said(command.get_program()),
        words.join(" ")
    ))
}

fn said(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}
