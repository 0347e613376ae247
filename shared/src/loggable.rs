//! Loggable: ids and names from outside, redacted where they must not be logged.
//!
//! Senders choose these texts. What looks like a secret, like personal data, or unlike any id of Xendit's is replaced by
//! `[redacted]`.

use std::fmt;

/// Xendit's ids are shorter.
const MAX_BYTES: usize = 128;

/// The longest run of letters and digits. A UUID without hyphens has 32, Xendit's tokens and keys have more.
const MAX_RUN: usize = 32;

/// An id that is written to a log as it is, or as `[redacted]`.
#[derive(Clone, Copy)]
pub struct Loggable<'a>(pub &'a str);

impl Loggable<'_> {
    fn is_harmless(&self) -> bool {
        let text = self.0;
        let id_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '#' | '+' | '=');
        let longest_run = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap_or_default();
        text.len() <= MAX_BYTES
            && text.chars().all(id_like)
            && longest_run <= MAX_RUN
            // The prefix of Xendit's API keys.
            && !text.to_ascii_lowercase().contains("xnd_")
            && !holds_card_number(text)
    }
}

impl fmt::Display for Loggable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_harmless() { self.0 } else { "[redacted]" })
    }
}

impl fmt::Debug for Loggable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a text holds 14 to 19 digits with a card number's check digit, with or without hyphens or spaces between them.
///
/// Thirteen digits are left alone: Xendit's older ids are times in milliseconds, and no card has had so few for decades.
fn holds_card_number(text: &str) -> bool {
    let joined: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    joined.split(|c: char| !c.is_ascii_digit()).any(|digits| (14..=19).contains(&digits.len()) && passes_luhn(digits))
}

/// Luhn's check: every second digit from the right is doubled, and all digits add up to a multiple of ten.
fn passes_luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .map(|byte| u32::from(byte - b'0'))
        .zip([false, true].into_iter().cycle())
        .map(|(digit, doubled)| if doubled { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(text: &str) -> String {
        Loggable(text).to_string()
    }

    #[test]
    fn an_id_is_logged_as_it_is() {
        for id in [
            "py-1402feb0-bb79-47ae-9d1e-e69394d3949c",
            "579c8d61f23fa4ca35e52da4",
            "1487156512722",
            "6bf8105dc72643a40c598cba81520b52",
            "ewc_6d0b7a0e-2f0b-4b53-9a55-7b1a6d0f1c22",
            "order/2026#7",
            "",
        ] {
            assert_eq!(logged(id), id);
        }
    }

    #[test]
    fn what_looks_like_a_secret_or_personal_data_is_redacted() {
        for text in [
            "somebody@example.com",
            "4000000000001091",
            "card-4000-0000-0000-1091",
            "4000 0000 0000 1091",
            "378282246310005",
            "xnd_production_abc",
            "XND_development_abc",
            "iQ5xY0kJdGm4sVb1nTzR8wLhCpE7uAoF2q",
            "a\nb",
            "Budi Santoso",
            "Siti \u{e9}",
            &"x-".repeat(65),
        ] {
            assert_eq!(logged(text), "[redacted]", "{text}");
        }
    }

    #[test]
    fn digits_that_fail_the_luhn_check_are_logged() {
        assert_eq!(logged("4000000000001092"), "4000000000001092");
    }
}
