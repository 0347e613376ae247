//! Columns: texts within the 80 columns of a terminal.

use std::{borrow::Cow, io::IsTerminal as _};

use comfy_table::{ContentArrangement, Table, presets::NOTHING};

/// The width of all output.
pub(crate) const WIDTH: usize = 80;

/// The words of a text, in lines of at most so many columns. A longer word has a line of its own, so that it can be copied.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text behind something of so many columns, and its further lines below its first.
pub(crate) fn beside(indent: usize, text: &str) -> String {
    let lines = wrapped(text, WIDTH.saturating_sub(indent));
    let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join(&format!("\n{:indent$}", ""))
}

/// Two parts of a line. If they do not fit, the second one gets its own line.
pub(crate) fn then(first: &str, second: &str) -> String {
    let gap = if first.chars().count() + 2 + second.chars().count() > WIDTH { "\n  " } else { "  " };
    if second.is_empty() { first.to_owned() } else { format!("{first}{gap}{second}") }
}

/// A message for standard error: in lines for a terminal, in one for a script.
pub(crate) fn message(indent: usize, text: &str) -> Cow<'_, str> {
    if !std::io::stderr().is_terminal() {
        return text.into();
    }
    text.lines().map(|line| beside(indent, line)).collect::<Vec<_>>().join("\n").into()
}

/// A table without lines, whose cells are wrapped until it fits.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH).unwrap_or(u16::MAX)).set_header(header);
    table
}

/// Prints a table, without spaces at the ends of its lines.
pub(crate) fn print_table(table: &Table) {
    for row in table.lines() {
        anstream::println!("{}", row.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_stands_below() {
        let long = "x".repeat(70);
        assert_eq!(then("200", "delivery d"), "200  delivery d");
        assert_eq!(then(&long, "delivery d"), format!("{long}\n  delivery d"));
        assert_eq!(then(&long, ""), long);
        assert_eq!(beside(4, &format!("{long} and more")), format!("{long} and\n    more"));
    }
}
