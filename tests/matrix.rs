//! Every row of docs/reliability.md names a test, and every test it names is there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a surprise has to end the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The rows that no test covers yet. One that is covered must go from here, and one that is not must say `open`.
const OPEN: [usize; 0] = [];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The names of all tests: functions marked as one, rules for the template, and verbs of the Makefile.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let folders = ["tests", "functions", "ledger", "shared", "cli", "poller"];
    for path in folders.iter().flat_map(|folder| files(&root().join(folder))) {
        let text = if path.extension().is_some_and(|kind| kind == "rs") {
            fs::read_to_string(path).unwrap()
        } else {
            continue;
        };
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let Some((name, _)) = function.and_then(|function| function.split_once('(')) {
                names.extend(marked.then(|| name.to_owned()));
                marked = false;
            }
        }
    }
    let rules = fs::read_to_string(root().join("tests/template.py")).unwrap();
    names.extend(
        rules.lines().filter_map(|line| Some(line.strip_prefix("def ")?.strip_suffix("(template):")?.to_owned())),
    );
    let verbs = fs::read_to_string(root().join("Makefile")).unwrap();
    names.extend(verbs.lines().filter_map(|line| Some(format!("make {}", line.split_once(':')?.0))));
    names
}

/// The rows of the table: what goes wrong, and the tests that it names.
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
fn every_row_names_a_test_and_every_test_it_names_is_there() {
    let (tests, rows) = (tests(), rows());
    assert!(rows.len() >= 30, "{} rows", rows.len());
    let mut open = Vec::new();
    for (number, (wrong, named)) in (1..).zip(rows) {
        if named.is_empty() {
            open.push(number);
        }
        for name in named {
            assert!(tests.contains(&name), "row {number}, {wrong}: there is no test {name}");
        }
    }
    assert_eq!(open, OPEN, "rows without a test");
}
