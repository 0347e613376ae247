//! Table: what was measured, with spread and ratio, and what it says of the targets.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    measure::{BATCHES, BODIES, Figures},
    targets::{self, Target},
};

/// The whole report, as Markdown.
pub fn render(figures: &Figures) -> String {
    measures(figures) + "\n" + &targets(figures)
}

/// The page in docs: what was reached, and the curves.
pub fn page(figures: &Figures) -> Result<String> {
    let mut text = String::from(
        "# Performance\n\n\
         Made by `make chart` from `bench/results.json` (`make bench`); do not edit. What is measured and beside whom: \
         [bench/README.md](../bench/README.md). A ratio is of medians of runs in turns on one machine; instructions are \
         cachegrind's.\n\n",
    );
    text += &targets(figures);
    text += "\n![CPU over the size of the body and of the batch](performance.svg)\n\n";
    text += "| body, bytes | receiver, CPU µs | memory over the base, bodies | processor, CPU µs | memory |\n";
    text += "|--:|--:|--:|--:|--:|\n";
    for size in BODIES {
        let _ = write!(text, "| {size} ");
        for of in ["receiver", "processor"] {
            let cpu = figures.median(&format!("cpu µs at {size} B"), of)?;
            let memory = figures.median(&format!("memory over base at {size} B"), of)?;
            let _ = write!(text, "| {} | {} ", number(cpu), number(memory));
        }
        text += "|\n";
    }
    text += "\nBelow some 100 KB, what memory grows by is the allocator's and not the body's.\n\n";
    text +=
        "| messages in a batch | processor, CPU µs per message | Powertools | wall ms of the batch, stores at 5 ms |\n";
    text += "|--:|--:|--:|--:|\n";
    for size in BATCHES {
        let cpu = |of| figures.median(&format!("cpu µs per message at {size}"), of);
        let wall = figures.median(&format!("wall ms of {size} at 5 ms"), "processor")?;
        let (ours, theirs) = (number(cpu("processor")?), number(cpu("powertools")?));
        let _ = writeln!(text, "| {size} | {ours} | {theirs} | {} |", number(wall));
    }
    Ok(text)
}

fn measures(figures: &Figures) -> String {
    let mut text =
        String::from("| measure | of | median | 10 % … 90 % | n | ratio to ours |\n|---|---|--:|--:|--:|--:|\n");
    for (measure, of_all) in &figures.0 {
        let ours = ["receiver", "processor"].iter().find_map(|name| of_all.get(*name)).map_or(f64::NAN, |f| f.median());
        for (of, figure) in of_all {
            let ratio = figure.median() / ours;
            let ratio = if ratio.is_finite() && of_all.len() > 1 { format!("{ratio:.2}") } else { String::new() };
            let (median, low, high) = (number(figure.median()), number(figure.at(0.1)), number(figure.at(0.9)));
            // Writing to a string cannot fail.
            let _ =
                writeln!(text, "| {measure} | {of} | {median} | {low} … {high} | {} | {ratio} |", figure.samples.len());
        }
    }
    text
}

fn targets(figures: &Figures) -> String {
    let mut text = String::from("| target | what | measured | at most | |\n|---|---|--:|--:|---|\n");
    for Target { id, what, measured, limit } in &targets::all(figures) {
        let (value, verdict) = match measured {
            Ok(value) => (number(*value), if value <= limit { "met" } else { "**missed**" }),
            Err(_) => (String::new(), "not measured"),
        };
        let _ = writeln!(text, "| {id} | {what} | {value} | {} | {verdict} |", number(*limit));
    }
    text
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => format!("{:.0} k", value / 1_000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
