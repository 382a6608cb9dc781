//! The repository's own rules, which no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;

/// Which of our crates a crate may depend on. `ARCHITECTURE.md` says why.
const EDGES: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("infra", &["domain"]),
    ("command-api", &["domain", "infra"]),
    ("projector", &["domain", "infra"]),
    ("query-api", &["domain", "infra"]),
    ("gateway", &["domain", "infra"]),
    ("door", &["domain", "infra"]),
    (
        "server",
        &[
            "domain",
            "infra",
            "command-api",
            "projector",
            "query-api",
            "gateway",
            "door",
        ],
    ),
    (
        "tests",
        &[
            "domain",
            "infra",
            "command-api",
            "projector",
            "query-api",
            "gateway",
            "door",
            "server",
        ],
    ),
    (
        "bench",
        &[
            "domain",
            "infra",
            "command-api",
            "projector",
            "query-api",
            "gateway",
            "door",
            "server",
            "tests",
        ],
    ),
    ("xtask", &[]),
];

/// Crates of engines, which only `infra` may name.
const ENGINES: &[&str] = &["sqlx", "rusqlite", "async-nats", "kurrentdb", "eventstore"];

/// Engines that a crate's tests may name: the door is tested with the client that it is there for, and
/// what the relay left in NATS is read as others read it.
const ENGINES_OF_TESTS: &[(&str, &str)] = &[("door", "kurrentdb"), ("tests", "async-nats")];

/// What the one permitted reason for `#[ignore]` says: a test that kills runs it.
const ANOTHER_RUNS_IT: &str = "as a process of its own";

/// Dependencies that only tests have: the query API is tested on rows that were projected.
const EDGES_OF_TESTS: &[(&str, &str)] = &[("query-api", "projector")];

/// The longest source file, in lines: beyond this a file has more than one purpose.
const LINES_MAX: usize = 900;

/// Checks every rule; the error lists every breach.
pub(crate) fn check(root: &Path) -> Outcome {
    let mut breaches = Vec::new();
    dependency_edges(root, &mut breaches)?;
    let files = tracked(root)?;
    for file in &files {
        let path = root.join(file);
        match file.extension().and_then(|extension| extension.to_str()) {
            // Nobody writes what is generated.
            Some("rs") if file.iter().any(|part| part == "generated") => {}
            Some("rs") => source(file, &read(&path)?, &mut breaches),
            Some("md") => document(root, file, &read(&path)?, &mut breaches),
            _ => {}
        }
    }
    if breaches.is_empty() {
        Ok(())
    } else {
        Err(breaches.join("\n"))
    }
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Files that git knows or would know; those deleted but not yet committed are left out.
fn tracked(root: &Path) -> Outcome<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    let files = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(files
        .lines()
        .map(PathBuf::from)
        .filter(|file| root.join(file).exists())
        .collect())
}

fn dependency_edges(root: &Path, breaches: &mut Vec<String>) -> Outcome {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cannot read cargo metadata: {error}"))?;
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            breaches.push(format!(
                "{name}: a crate that xtask/src/tidy.rs has no rule for"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let for_tests = dependency["kind"] == "dev";
            let dependency = dependency["name"].as_str().unwrap_or_default();
            let excepted = for_tests && EDGES_OF_TESTS.contains(&(name, dependency));
            if ours.contains(dependency) && !allowed.contains(&dependency) && !excepted {
                breaches.push(format!("{name} must not depend on {dependency}"));
            }
            let tested_with = for_tests && ENGINES_OF_TESTS.contains(&(name, dependency));
            if ENGINES.contains(&dependency) && name != "infra" && !tested_with {
                breaches.push(format!("{name} must not name an engine: {dependency}"));
            }
        }
    }
    Ok(())
}

fn source(file: &Path, text: &str, breaches: &mut Vec<String>) {
    let shown = file.display();
    if !text.starts_with("//!") {
        breaches.push(format!(
            "{shown}:1: a module opens with //! and says what it is"
        ));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        breaches.push(format!(
            "{shown}: {lines} lines; split it by meaning (at most {LINES_MAX})"
        ));
    }
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
            breaches.push(format!(
                "{shown}:{}: #[expect(…, reason)] instead of allow",
                index + 1
            ));
        }
        if line.starts_with("#[ignore") && !line.contains(ANOTHER_RUNS_IT) {
            breaches.push(format!("{shown}:{}: no test is skipped", index + 1));
        }
    }
}

/// Every path that a document names in backticks must exist.
fn document(root: &Path, file: &Path, text: &str, breaches: &mut Vec<String>) {
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        for named in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|named| is_path(named))
        {
            if !root.join(named).exists() {
                breaches.push(format!(
                    "{}:{}: `{named}` does not exist",
                    file.display(),
                    index + 1
                ));
            }
        }
        for target in line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = target.split('#').next().unwrap_or_default();
            let beside = file
                .parent()
                .map_or_else(PathBuf::new, Path::to_path_buf)
                .join(target);
            if !target.is_empty() && !target.contains("://") && !root.join(beside).exists() {
                breaches.push(format!(
                    "{}:{}: broken link {target}",
                    file.display(),
                    index + 1
                ));
            }
        }
    }
}

/// Whether words in backticks name a file or folder of the repository: they begin with one of its
/// top-level folders, or are a document or manifest at its top.
fn is_path(named: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if named.is_empty() || !named.chars().all(plain) {
        return false;
    }
    let folders = EDGES
        .iter()
        .map(|(name, _)| *name)
        .chain(["docs", ".ci", "deploy"]);
    let in_folder = folders.into_iter().any(|folder| {
        named
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    });
    let at_top = !named.contains('/')
        && (Path::new(named)
            .extension()
            .is_some_and(|extension| extension == "md")
            || ["Cargo.toml", "Cargo.lock", "deny.toml"].contains(&named));
    in_folder || at_top
}

#[cfg(test)]
mod tests {
    use super::{check, document, is_path, source};
    use std::path::Path;

    #[test]
    fn this_repository_is_tidy() {
        check(&crate::root()).unwrap();
    }

    #[test]
    fn a_source_file_without_module_docs_is_found() {
        let mut breaches = Vec::new();
        source(Path::new("x.rs"), "fn main() {}\n", &mut breaches);
        assert_eq!(breaches.len(), 1, "{breaches:?}");
    }

    #[test]
    fn a_path_that_does_not_exist_is_found() {
        let mut breaches = Vec::new();
        let text = "see `domain/src/nowhere.rs` and [it](nowhere.md)";
        document(&crate::root(), Path::new("README.md"), text, &mut breaches);
        assert_eq!(breaches.len(), 2, "{breaches:?}");
    }

    #[test]
    fn only_paths_are_taken_for_paths() {
        assert!(is_path("docs/adr"));
        assert!(is_path("README.md"));
        assert!(!is_path("/v1/users"));
        assert!(!is_path("cargo run"));
        assert!(!is_path("conversation-{id}"));
    }
}
