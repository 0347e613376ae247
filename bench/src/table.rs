//! Table: what was measured, with spread and ratio, and what it says of the targets.

use std::fmt::Write as _;

use crate::{
    measure::Figures,
    targets::{self, Target},
};

/// The whole report, as Markdown.
pub fn render(figures: &Figures) -> String {
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
    text.push_str("\n| target | what | measured | at most | |\n|---|---|--:|--:|---|\n");
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
