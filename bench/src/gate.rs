//! Gate: compares the functions with what was accepted. Instructions, AWS calls, billed units, log bytes and sizes, and the
//! list of linked crates, against `baseline.json`.
//!
//! An improvement is a difference too: accept it, or the next change may undo it unnoticed. What is compared does not
//! depend on the load of the machine, but on its architecture, which the baseline names.

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

/// How much a figure may differ. Cachegrind repeats itself to a few in a thousand.
const TOLERANCE: f64 = 0.03;

/// The write units of one webhook, to the digit: most of the bill. An item of more than 1 KB would double a part of them.
const WRITE_UNITS: [(&str, f64); 6] = [
    ("write units fresh", 3.0),
    ("write units fresh, invoice", 3.0),
    ("write units fresh, payout", 3.0),
    ("write units duplicate", 1.0),
    ("write units stale", 1.0),
    ("write units second phase", 2.0),
];

/// TLS stacks other than rustls on ring, none of which may be linked: each adds to the size, and AWS-LC starts slowly.
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
    let text = fs::read_to_string(baseline).context("there is no baseline: `make bench-accept` makes one")?;
    let before: Baseline = serde_json::from_str(&text)?;
    ensure!(before.architecture == now.architecture, "the baseline is of {}", before.architecture);
    let differences = compare(&before, &now);
    for difference in &differences {
        println!("{difference}");
    }
    if !differences.is_empty() {
        bail!("not as accepted; if that is intended, run `make bench-accept` and commit {}", baseline.display());
    }
    println!("as accepted: {} figures, {} crates", now.figures.len(), now.crates.len());
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
    check_units(&figures)?;
    measure::processor_instructions(&mut figures, &processor, &cloud, &events)?;
    let all = figures.0.iter().flat_map(|(measure, of_all)| {
        of_all.iter().map(move |(of, figure)| (format!("{of}: {measure}"), figure.median()))
    });
    Ok(Baseline { architecture: env::consts::ARCH.to_owned(), figures: all.collect(), crates })
}

/// Refuses even to accept other write units than these.
fn check_units(figures: &Figures) -> Result<()> {
    let wrong = |&(measure, expected): &(&str, f64)| -> Option<Result<String>> {
        match figures.median(measure, "processor") {
            Ok(units) if (units - expected).abs() < f64::EPSILON => None,
            Ok(units) => Some(Ok(format!("{measure}: {units} instead of {expected}"))),
            Err(error) => Some(Err(error)),
        }
    };
    let wrong = WRITE_UNITS.iter().filter_map(wrong).collect::<Result<Vec<_>>>()?;
    if !wrong.is_empty() {
        let sizes = figures.0.iter().filter(|(measure, _)| measure.starts_with("bytes of an item"));
        for (measure, of_all) in sizes {
            println!("{measure}: {:.0}", of_all.values().next().map_or(f64::NAN, measure::Figure::median));
        }
        bail!("{}", wrong.join("; "));
    }
    Ok(())
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
    fn write_units_are_exact() {
        let mut figures = Figures::default();
        for (measure, expected) in WRITE_UNITS {
            figures.note(measure, "processor", expected);
        }
        check_units(&figures).unwrap();
        figures.0.remove("write units fresh");
        assert!(check_units(&figures).is_err(), "not measured");
        figures.note("write units fresh", "processor", 3.01);
        assert!(check_units(&figures).unwrap_err().to_string().contains("3.01 instead of 3"));
    }

    #[test]
    fn a_new_crate_is_a_difference() {
        assert_eq!(
            compare(&baseline(1.0, &["ring"]), &baseline(1.0, &["ring", "clap"])),
            ["clap: a new crate in the functions"]
        );
    }
}
