//! Fuzzing: looks for input that breaks what reads it, guided by what input reaches. What is found is kept
//! beside the test, where every run of the tests tries it again.

use std::fs;
use std::path::Path;

use crate::{Outcome, cargo, root, run, step, succeeds};

/// How long each target is looked at where nobody says, in seconds.
const SECONDS: u32 = 60;

/// Memory that a target may take, in MiB: two pictures as large as they may be.
const MEBIBYTES_MAX: u32 = 2_048;

/// Package, folder of the test and its path.
const TARGETS: &[(&str, &str, &str)] = &[
    ("domain", "domain/src", "fuzz::events"),
    ("domain", "domain/src", "fuzz::markdown"),
    ("domain", "domain/src", "fuzz::mentions"),
    ("domain", "domain/src", "fuzz::values"),
    ("infra", "infra/src/files", "files::fuzz::sniffing"),
    ("infra", "infra/src/files", "files::fuzz::pictures"),
    (
        "infra",
        "infra/src/read_models/search",
        "read_models::search::fuzz::queries",
    ),
    (
        "infra",
        "infra/src/read_models/search",
        "read_models::search::fuzz::texts",
    ),
    ("gateway", "gateway/src", "fuzz::frames"),
    ("gateway", "gateway/src", "fuzz::cursors"),
    ("command-api", "command-api/src", "fuzz::commands"),
    (
        "command-api",
        "command-api/src/attachments/tus",
        "attachments::tus::fuzz::metadata",
    ),
    (
        "command-api",
        "command-api/src/import/slack/tests",
        "import::slack::tests::fuzz::records_of_a_file",
    ),
    (
        "command-api",
        "command-api/src/import/slack/tests",
        "import::slack::tests::fuzz::exports",
    ),
];

/// Fuzzes every target, or those whose path has `named` in it, for `seconds` each.
pub(crate) fn fuzz(arguments: &[String]) -> Outcome {
    let mut seconds = SECONDS;
    let mut named = None;
    for argument in arguments {
        match argument.parse() {
            Ok(number) => seconds = number,
            Err(_) => named = Some(argument.as_str()),
        }
    }
    if !succeeds(cargo().args(["bolero", "--version"])) {
        run(cargo().args(["install", "--locked", "cargo-bolero"]))?;
    }
    let targets = TARGETS.iter().filter(|(package, _, test)| {
        named.is_none_or(|named| test.contains(named) || *package == named)
    });
    let mut is_any = false;
    for (package, folder, test) in targets {
        is_any = true;
        step(&format!("{package} {test}"), || {
            one(package, folder, test, seconds)
        })?;
    }
    if is_any {
        return Ok(());
    }
    let known: Vec<_> = TARGETS.iter().map(|(_, _, test)| *test).collect();
    Err(format!(
        "no such target; there are\n  {}",
        known.join("\n  ")
    ))
}

fn one(package: &str, folder: &str, test: &str, seconds: u32) -> Outcome {
    let name = test.replace("::", "__");
    let kept = root().join(folder).join("__fuzz__").join(&name);
    let corpus = root().join("target/fuzz").join(package).join(&name);
    fs::create_dir_all(&corpus)
        .map_err(|error| format!("cannot make {}: {error}", corpus.display()))?;
    seeds(&kept.join("corpus"), &corpus)?;
    if test == "fuzz::events" {
        events(&corpus)?;
    }
    run(cargo()
        .args(["bolero", "test", "--package", package, test])
        .args(["--rustc-bootstrap", "--sanitizer", "NONE"])
        .arg(format!("-T{seconds}s"))
        .arg("--corpus-dir")
        .arg(&corpus)
        .arg(format!("--engine-args=-rss_limit_mb={MEBIBYTES_MAX}")))
}

/// Puts what is kept as a beginning where the fuzzer goes on from.
fn seeds(from: &Path, to: &Path) -> Outcome {
    let Ok(files) = fs::read_dir(from) else {
        return Ok(());
    };
    for file in files {
        let file = file.map_err(|error| format!("cannot read {}: {error}", from.display()))?;
        fs::copy(file.path(), to.join(file.file_name()))
            .map_err(|error| format!("cannot copy {}: {error}", file.path().display()))?;
    }
    Ok(())
}

/// Every event that was ever stored, as the target reads it: its type and schema, then its data.
fn events(to: &Path) -> Outcome {
    let fixtures = root().join("domain/fixtures");
    let failed = |error| format!("cannot read {}: {error}", fixtures.display());
    for file in fs::read_dir(&fixtures).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut parts = name.split('.');
        let (Some(event_type), Some(schema)) = (parts.next(), parts.next()) else {
            continue;
        };
        let mut seed = format!("{event_type}.{schema}\n").into_bytes();
        seed.extend(fs::read(&path).map_err(failed)?);
        fs::write(to.join(&*name), seed)
            .map_err(|error| format!("cannot write to {}: {error}", to.display()))?;
    }
    Ok(())
}
