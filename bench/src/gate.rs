//! Gate: what has been reached stays reached. Instructions, AWS calls, log bytes and sizes of the functions, and the list
//! of crates that they are made of, against `baseline.json`.
//!
//! A figure that got better is a difference too: accept it, or the next change may waste it unseen. What is compared
//! does not depend on how busy the machine is; it does depend on its architecture, which the baseline names.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    events::Events,
    measure::{self, Figures},
    package,
    subjects::{self, Places},
};

/// How far a figure may be off. Cachegrind repeats itself to a few in a thousand.
const TOLERANCE: f64 = 0.03;

/// How many events of a batch go out in one call is a matter of moments: so many calls more of each message are no
/// difference yet. Without going together it is nearly a whole one.
const MOMENTS: f64 = 0.5;
const MATTERS_OF_MOMENTS: [&str; 2] = ["processor: calls fresh", "processor: calls further"];

/// TLS stacks besides rustls on ring, none of which may be linked: each costs size, and AWS-LC a slow start.
const SECOND_TLS_STACKS: [&str; 7] =
    ["aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys", "openssl", "openssl-sys", "native-tls", "s2n-tls"];

/// What was accepted.
#[derive(Serialize, Deserialize)]
struct Baseline {
    architecture: String,
    figures: BTreeMap<String, f64>,
    crates: BTreeSet<String>,
}

/// Measures, and compares with the baseline or replaces it.
pub fn run(places: &Places, project: &Path, baseline: &Path, accept: bool) -> Result<()> {
    let now = now(places, project)?;
    if accept {
        fs::write(baseline, serde_json::to_string_pretty(&now)? + "\n")?;
        println!("accepted: {}", baseline.display());
        return Ok(());
    }
    let text = fs::read_to_string(baseline).context("there is no baseline: make one by `make bench-accept`")?;
    let before: Baseline = serde_json::from_str(&text)?;
    ensure!(before.architecture == now.architecture, "the baseline is of {}", before.architecture);
    let differences = compare(&before, &now);
    for difference in &differences {
        println!("{difference}");
    }
    if !differences.is_empty() {
        bail!("not as before; if it is meant, say so by `make bench-accept` and commit {}", baseline.display());
    }
    println!("as before: {} figures, {} crates", now.figures.len(), now.crates.len());
    Ok(())
}

fn now(places: &Places, project: &Path) -> Result<Baseline> {
    let crates = crates(project)?;
    let second: Vec<_> = SECOND_TLS_STACKS.iter().filter(|name| crates.contains(**name)).collect();
    ensure!(second.is_empty(), "the functions hold a second TLS stack: {second:?}");
    let cloud = crate::cloud(project)?;
    let events = Events::read(project)?;
    let (receiver, processor) = (subjects::receiver(places, &cloud)?, subjects::processor(places, &cloud)?);
    let mut figures = Figures::default();
    package::note(&mut figures, places)?;
    measure::receiver_instructions(&mut figures, &receiver, &events)?;
    measure::receiver_calls(&mut figures, &receiver, &cloud, &events)?;
    measure::processor_calls(&mut figures, &processor, &cloud, &events)?;
    measure::processor_instructions(&mut figures, &processor, &cloud, &events)?;
    // Of what is measured several times: a disturbance only ever adds.
    let least = figures.0.iter().flat_map(|(measure, of_all)| {
        of_all.iter().map(move |(of, figure)| (format!("{of}: {measure}"), figure.at(0.0)))
    });
    Ok(Baseline { architecture: env::consts::ARCH.to_owned(), figures: least.collect(), crates })
}

/// The names of all crates that are linked into the functions, as the functions alone are resolved.
fn crates(project: &Path) -> Result<BTreeSet<String>> {
    let tree = Command::new("cargo")
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", "receiver", "--package", "processor"])
        .current_dir(project)
        .output()?;
    ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

fn compare(before: &Baseline, now: &Baseline) -> Vec<String> {
    let mut differences = Vec::new();
    for name in before.figures.keys().chain(now.figures.keys()).collect::<BTreeSet<_>>() {
        let (then, now) = (before.figures.get(name), now.figures.get(name));
        let near = match (then, now) {
            (Some(then), Some(now)) if MATTERS_OF_MOMENTS.contains(&&**name) => (now - then).abs() <= MOMENTS,
            // Both 0: as before.
            (Some(then), Some(now)) => (now - then).abs() <= then.abs() * TOLERANCE,
            _ => false,
        };
        if !near {
            let show = |value: Option<&f64>| value.map_or("nothing".to_owned(), |value| format!("{value:.1}"));
            differences.push(format!("{name}: {} before, {} now", show(then), show(now)));
        }
    }
    differences
        .extend(now.crates.difference(&before.crates).map(|name| format!("{name}: a new crate in the functions")));
    differences.extend(before.crates.difference(&now.crates).map(|name| format!("{name}: gone from the functions")));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(instructions: f64, crates: &[&str]) -> Baseline {
        Baseline {
            architecture: "x86_64".to_owned(),
            figures: BTreeMap::from([("receiver: warm instructions".to_owned(), instructions)]),
            crates: crates.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn a_figure_may_move_by_three_percent() {
        assert!(compare(&baseline(1_000.0, &[]), &baseline(1_029.0, &[])).is_empty());
        assert_eq!(compare(&baseline(1_000.0, &[]), &baseline(1_031.0, &[])).len(), 1);
        assert_eq!(compare(&baseline(1_000.0, &[]), &baseline(969.0, &[])).len(), 1);
    }

    #[test]
    fn events_that_go_out_alone_are_a_difference_and_fewer_together_are_not() {
        let calls = |calls| Baseline {
            figures: BTreeMap::from([("processor: calls fresh".to_owned(), calls)]),
            ..baseline(0.0, &[])
        };
        assert!(compare(&calls(2.1), &calls(2.3)).is_empty());
        assert_eq!(compare(&calls(2.1), &calls(3.0)), ["processor: calls fresh: 2.1 before, 3.0 now"]);
    }

    #[test]
    fn a_new_crate_is_a_difference() {
        assert_eq!(
            compare(&baseline(1.0, &["ring"]), &baseline(1.0, &["ring", "clap"])),
            ["clap: a new crate in the functions"]
        );
    }
}
