//! `trigger`: sends a webhook as Xendit would, with optional changes, and prints the response.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use receiver::verify::TOKEN_HEADER;
use serde_json::value::RawValue;

use crate::project::Project;

/// Xendit's own timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(crate) struct Options {
    /// The name of a bundled webhook, such as `invoice.paid`, or the path of a file.
    what: String,
    /// The URL to send it to. Default: the running local stack.
    #[arg(long)]
    url: Option<String>,
    /// The callback token. Default: the local stack's.
    #[arg(long, env = "XENDIT_CALLBACK_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Set a value before sending, such as data.amount=10000.01 or external_id=order-7. Can be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Change>,
    /// The `webhook-id` header. Default: a new UUID.
    #[arg(long)]
    webhook_id: Option<String>,
    /// The number of deliveries. All carry the same `webhook-id`, like Xendit's retries.
    #[arg(long, default_value_t = 1)]
    times: u32,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let file = find(&options.what)?;
    let mut body = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for change in &options.set {
        body = change.apply(&body).with_context(|| format!("cannot set {}", change.path.join(".")))?;
    }
    let running = || {
        let running = Project::find().ok().and_then(|project| project.running());
        running.context("no local stack is running; start one with `make run`, or give --url and --token")
    };
    let url = options.url.clone().map_or_else(|| running().map(|running| running.url), Ok)?;
    let token = options.token.clone().map_or_else(|| running().map(|running| running.token), Ok)?;
    let webhook_id = options.webhook_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let mut failed = false;
    for _ in 0..options.times {
        let begun = Instant::now();
        let (status, text) = send(&url, &token, &webhook_id, &body)?;
        failed |= !(200..300).contains(&status);
        anstream::println!("{status}  {} ms  {text}", begun.elapsed().as_millis());
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Posts a webhook and returns the status and the body of the response.
fn send(url: &str, token: &str, webhook_id: &str, body: &str) -> Result<(u16, String)> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build();
    let mut response = ureq::Agent::new_with_config(agent)
        .post(url)
        .header(TOKEN_HEADER, token)
        .header("webhook-id", webhook_id)
        .header("content-type", "application/json")
        .send(body)
        .with_context(|| format!("no response from {url}"))?;
    let text = response.body_mut().read_to_string().context("cannot read the response")?;
    Ok((response.status().as_u16(), text))
}

fn find(what: &str) -> Result<PathBuf> {
    if Path::new(what).is_file() {
        return Ok(what.into());
    }
    let webhooks = Project::find()?.webhooks()?;
    let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(path) = webhooks.iter().find(|path| name(path) == what) {
        return Ok(path.clone());
    }
    let names: Vec<_> = webhooks.iter().map(|path| name(path)).collect();
    bail!("`{what}` is neither a file nor a bundled webhook; the bundled webhooks are: {}", names.join(", "))
}

/// One value to set, at a path of object keys and list indexes.
#[derive(Clone, Debug)]
struct Change {
    path: Vec<String>,
    value: Box<RawValue>,
}

impl FromStr for Change {
    type Err = anyhow::Error;

    /// A value that is JSON is used as it is written, digit for digit. Any other value becomes a string.
    fn from_str(text: &str) -> Result<Self> {
        let (path, value) = text.split_once('=').context("expected PATH=VALUE")?;
        ensure!(!path.is_empty(), "the path is empty");
        let value = match serde_json::from_str(value) {
            Ok(json) => json,
            Err(_) => RawValue::from_string(serde_json::to_string(value)?)?,
        };
        Ok(Self { path: path.split('.').map(str::to_owned).collect(), value })
    }
}

impl Change {
    fn apply(&self, body: &str) -> Result<String> {
        Ok(set(body, &self.path, &self.value)?.get().to_owned())
    }
}

/// Rebuilds the values along the path. All others stay as they are written.
fn set(json: &str, path: &[String], value: &RawValue) -> Result<Box<RawValue>> {
    let Some((step, rest)) = path.split_first() else { return Ok(value.to_owned()) };
    let rebuilt = if json.trim_start().starts_with('[') {
        let mut list: Vec<Box<RawValue>> = serde_json::from_str(json)?;
        let index: usize = step.parse().with_context(|| format!("`{step}` is not a list index"))?;
        let old = list.get_mut(index).with_context(|| format!("the list has no index {index}"))?;
        *old = set(old.get(), rest, value)?;
        serde_json::to_string(&list)?
    } else {
        let mut object: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(json).with_context(|| format!("`{step}` is not in an object"))?;
        let old = object.get(step).map_or("{}", |old| old.get());
        let new = set(old, rest, value)?;
        object.insert(step.clone(), new);
        serde_json::to_string(&object)?
    };
    Ok(RawValue::from_string(rebuilt)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(body: &str, change: &str) -> String {
        change.parse::<Change>().unwrap().apply(body).unwrap()
    }

    #[test]
    fn a_value_is_set_at_its_path_and_other_digits_stay() {
        let body = r#"{"data":{"amount":10000.10,"list":[{"a":1.50},2]}}"#;
        assert_eq!(changed(body, "data.amount=0.30"), r#"{"data":{"amount":0.30,"list":[{"a":1.50},2]}}"#);
        assert_eq!(changed(body, "data.list.0.a=x"), r#"{"data":{"amount":10000.10,"list":[{"a":"x"},2]}}"#);
        assert_eq!(changed("{}", "a.b=null"), r#"{"a":{"b":null}}"#);
    }

    #[test]
    fn a_path_that_does_not_exist_is_an_error() {
        for change in ["list.7=1", "list.x=1", "number.x=1"] {
            let change: Change = change.parse().unwrap();
            assert!(change.apply(r#"{"list":[],"number":1}"#).is_err(), "{change:?}");
        }
        assert!("no-equals-sign".parse::<Change>().is_err());
    }
}
