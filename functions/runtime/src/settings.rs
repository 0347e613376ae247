//! Settings: the environment variables that `template.yaml` gives a function, read once at start.
//!
//! **Invariant:** a setting that is missing or wrong ends the process before its first event, with one line that
//! names the variable and says what it should hold. There is no default for anything that matters.

use std::{env, fmt::Display, str::FromStr};

use shared::stack::Variable;

/// A setting is missing or wrong. The process cannot start; its deployment must change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {problem}; it must hold {holds}")]
pub struct BadSetting {
    /// The environment variable.
    pub name: &'static str,
    /// What is wrong with it. Never its value.
    pub problem: String,
    /// What it should hold.
    pub holds: &'static str,
}

/// Reads a setting that must be there.
pub fn required<T>(variable: Variable) -> Result<T, BadSetting>
where
    T: FromStr<Err: Display>,
{
    parse(env::var(variable.name).ok(), variable)
}

/// Reads a setting that must be there but may be empty, with a reader that returns `None` for invalid text.
pub fn optional<T>(variable: Variable, read: impl FnOnce(&str) -> Option<T>) -> Result<T, BadSetting> {
    let text = env::var(variable.name).map_err(|_| BadSetting::new(variable, "is not set".to_owned()))?;
    read(&text).ok_or_else(|| BadSetting::new(variable, "is wrong".to_owned()))
}

/// Parses a setting that was read.
///
/// An empty value counts as none, since that is what a template leaves where a parameter was forgotten.
pub fn parse<T>(value: Option<String>, variable: Variable) -> Result<T, BadSetting>
where
    T: FromStr<Err: Display>,
{
    let value = value.filter(|value| !value.trim().is_empty());
    let value = value.ok_or_else(|| BadSetting::new(variable, "is not set".to_owned()))?;
    value.trim().parse().map_err(|error: T::Err| BadSetting::new(variable, format!("is wrong ({error})")))
}

impl BadSetting {
    /// What is wrong with a variable.
    pub fn new(variable: Variable, problem: String) -> Self {
        Self { name: variable.name, problem, holds: variable.holds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Variable = Variable { name: "PORT", holds: "a port" };

    fn read(value: Option<&str>) -> Result<u16, String> {
        parse(value.map(str::to_owned), PORT).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_that_is_missing_or_empty_is_named() {
        assert_eq!(read(None), Err("PORT is not set; it must hold a port".to_owned()));
        assert_eq!(read(Some(" ")), Err("PORT is not set; it must hold a port".to_owned()));
    }

    #[test]
    fn a_setting_that_is_wrong_is_named_without_its_value() {
        let error = read(Some("70000000")).unwrap_err();
        assert!(error.starts_with("PORT is wrong (") && error.ends_with("; it must hold a port"), "{error}");
        assert!(!error.contains("7000"));
    }

    #[test]
    fn a_setting_is_parsed() {
        assert_eq!(read(Some("80\n")), Ok(80));
    }
}
