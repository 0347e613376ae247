//! Matrix: every row of docs/reliability.md names tests, and all of them exist.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: an unexpected value must fail the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The names of all tests: test functions, rules of tests/template.py, and targets of the Makefile.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let folders = ["tests", "functions", "ledger", "shared", "cli", "poller"];
    for path in folders.iter().flat_map(|folder| files(&root().join(folder))) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let mut is_test = false;
        for line in fs::read_to_string(path).unwrap().lines().map(str::trim) {
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((name, _)) = function.and_then(|function| function.split_once('(')) {
                names.extend(is_test.then(|| name.to_owned()));
                is_test = false;
            }
        }
    }
    let rules = fs::read_to_string(root().join("tests/template.py")).unwrap();
    names.extend(
        rules.lines().filter_map(|line| Some(line.strip_prefix("def ")?.strip_suffix("(template):")?.to_owned())),
    );
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    names.extend(makefile.lines().filter_map(|line| Some(format!("make {}", line.split_once(':')?.0))));
    names
}

/// The rows of the table: what goes wrong, and the names of the tests.
fn rows() -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let table = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")).map(cells);
    table
        .enumerate()
        .map(|(index, row)| {
            let [number, wrong, _, tests] = row.try_into().unwrap_or_else(|row| panic!("not four cells: {row:?}"));
            assert_eq!(number, (index + 1).to_string(), "{wrong}");
            (wrong, tests.split('`').skip(1).step_by(2).map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn every_row_names_tests_that_exist() {
    let (tests, rows) = (tests(), rows());
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for (number, (wrong, named)) in (1..).zip(rows) {
        assert!(!named.is_empty(), "row {number}, {wrong}: it names no test");
        for name in named {
            assert!(tests.contains(&name), "row {number}, {wrong}: no test is named {name}");
        }
    }
}
