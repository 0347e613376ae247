//! Readme: README.md and README.id.md have the same headings, commands, tables and links, in the same order.

#![expect(clippy::unwrap_used, reason = "test code: an unexpected value must fail the test")]

use std::{fs, path::Path};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap()
}

/// What a translation must keep: a line for each heading, command, table row and link.
fn skeleton(page: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut language = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(""), _) => language = None,
            (Some(opened), _) => language = Some(opened),
            // Comments, placeholders and the drawing are translated.
            (None, Some("text")) => {}
            (None, Some(_)) => {
                let command = line.split(" # ").next().unwrap().split('<').next().unwrap();
                kept.push(command.trim_end().to_owned());
            }
            (None, None) => {
                kept.extend(line.strip_prefix('#').map(|_| line.split(' ').next().unwrap().to_owned()));
                kept.extend(line.starts_with('|').then(|| format!("| {}", line.matches('|').count())));
                let links = line.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
                kept.extend(links.filter(|link| !link.starts_with("README")));
            }
        }
    }
    kept
}

#[test]
fn both_readmes_have_the_same_headings_commands_tables_and_links() {
    assert_eq!(skeleton(&file("README.id.md")), skeleton(&file("README.md")));
}

#[test]
fn every_action_of_a_workflow_is_pinned_by_its_commit() {
    let workflows = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows")).unwrap();
    let workflows = workflows.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let pages: Vec<_> = workflows.chain([file("docs/github-actions.md")]).collect();
    let actions: Vec<_> =
        pages.iter().flat_map(|page| page.lines()).filter_map(|line| line.split("uses: ").nth(1)).collect();
    assert!(actions.len() > pages.len(), "{actions:?}");
    for action in actions {
        let commit = action.split(['@', ' ']).nth(1).unwrap_or_default();
        let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_commit && action.contains(" # v"), "{action}");
    }
}

#[test]
fn every_make_target_in_the_readme_exists() {
    let makefile = file("Makefile");
    let page = file("README.md");
    let commands = page.split(['`', '\n']).filter_map(|text| text.strip_prefix("make "));
    let targets: Vec<_> = commands.map(|command| command.split(' ').next().unwrap()).collect();
    assert!(targets.len() > 8, "{targets:?}");
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}
