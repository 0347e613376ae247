//! `trigger`: sends a webhook like Xendit does, with optional changes, and prints the response.

use std::{
    path::Path,
    process::ExitCode,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use receiver::verify::TOKEN_HEADER;
use serde_json::value::RawValue;

use crate::{samples, stack::Stack};

/// Xendit's own timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(crate) struct Options {
    /// The name of a bundled webhook, such as `invoice.paid`, or the path of a file.
    webhook: String,
    /// The URL to send it to. Default: the running local stack.
    #[arg(long)]
    url: Option<String>,
    /// The callback token. Default: the token of the running local stack. Put a real token into the variable, because
    /// the shell's history and `ps` show arguments.
    #[arg(long, env = "XENDIT_CALLBACK_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Set a value in the body, such as data.amount=10000.01 or external_id=order-7. Can be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Change>,
    /// The `webhook-id` header. Default: a new UUID.
    #[arg(long)]
    webhook_id: Option<String>,
    /// How often to send the webhook. All deliveries have the same `webhook-id`, like Xendit's retries.
    #[arg(long, default_value_t = 1)]
    times: u32,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut body = find(&options.webhook)?;
    for change in &options.set {
        body = change.apply(&body).with_context(|| format!("cannot set {}", change.path.join(".")))?;
    }
    let local = || Stack::local(None).context("give --url and --token, or start a local stack");
    let url = options.url.clone().map_or_else(|| local().map(|stack| stack.url), Ok)?;
    let token = match &options.token {
        Some(token) => token.clone(),
        None => local()?.token.context("this local stack has another token; give it in XENDIT_CALLBACK_TOKEN")?,
    };
    let webhook_id = options.webhook_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let mut failed = false;
    for _ in 0..options.times {
        let start = Instant::now();
        let (status, text) = send(&url, &token, &webhook_id, &body)?;
        failed |= !(200..300).contains(&status);
        anstream::println!("{status}  {} ms  {text}", start.elapsed().as_millis());
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
        .with_context(|| format!("no response from {url}; check the URL, and that the stack is running"))?;
    let text = response.body_mut().read_to_string().context("cannot read the response")?;
    Ok((response.status().as_u16(), text))
}

/// The body of a bundled webhook, or of the file with the given path.
fn find(name_or_path: &str) -> Result<String> {
    if let Some(sample) = samples::find(name_or_path) {
        return Ok(sample.body.to_owned());
    }
    let path = Path::new(name_or_path);
    if path.is_file() {
        return std::fs::read_to_string(path).with_context(|| format!("cannot read {name_or_path}"));
    }
    let names = samples::all().into_iter().map(|sample| sample.name);
    match samples::closest(name_or_path, names) {
        Some(name) => bail!("`{name_or_path}` is neither a file nor a bundled webhook; did you mean `{name}`?"),
        None => bail!("`{name_or_path}` is neither a file nor a bundled webhook; `xendit-hooks events` lists those"),
    }
}

/// A value to set in a body, with the object keys and list indexes that lead to it.
#[derive(Clone, Debug)]
struct Change {
    path: Vec<String>,
    value: Box<RawValue>,
}

impl FromStr for Change {
    type Err = anyhow::Error;

    /// A value that is JSON keeps its exact digits. Any other value becomes a JSON string.
    fn from_str(text: &str) -> Result<Self> {
        let (path, value) = text.split_once('=').context("it has no `=`; write PATH=VALUE")?;
        ensure!(!path.is_empty(), "the path is empty; write PATH=VALUE");
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

/// Sets a value. Rebuilds only the objects and lists on the path, and keeps the text of all other values.
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
            serde_json::from_str(json).with_context(|| format!("the parent of `{step}` is not an object"))?;
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
    fn a_value_is_set_at_its_path_and_all_other_digits_stay() {
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
