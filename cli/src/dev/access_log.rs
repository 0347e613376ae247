//! Access log: a line per request, as API Gateway writes it with the `Format` of template.yaml.
//!
//! **Invariant:** no path, query, header or body, as in the template: they may hold a token or personal data.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// What API Gateway writes for a value that there is none of.
const NONE: &str = "-";

/// The file, in the folder of the logs.
#[derive(Clone)]
pub(super) struct AccessLog(Arc<Mutex<File>>);

/// All values are texts, as in the template's format.
#[derive(Serialize)]
struct Line<'a> {
    /// Lambda's request id.
    delivery: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    route: &'a str,
    status: String,
    ms: String,
    lambda_ms: String,
    lambda_error: &'a str,
}

/// A request that was answered.
pub(super) struct Access<'a> {
    pub(super) id: &'a str,
    /// `None`: no route has its path.
    pub(super) route: Option<&'static str>,
    pub(super) status: u16,
    pub(super) took: Duration,
    /// What became of the receiver's invocation. `None`: there was none.
    pub(super) invoked: Option<Invoked>,
}

/// What became of an invocation: an error, if there was no answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invoked(pub(super) Result<(), &'static str>);

impl AccessLog {
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let file = File::create(folder.join("access.log")).context("cannot create the access log")?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// API Gateway, too, goes on when it cannot log.
    pub(super) fn write(&self, access: &Access<'_>) {
        let line = serde_json::to_string(&Line::from(access)).unwrap_or_default();
        let _ = writeln!(self.0.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
    }
}

impl<'a> From<&Access<'a>> for Line<'a> {
    fn from(access: &Access<'a>) -> Self {
        let ms = access.took.as_millis().to_string();
        Self {
            delivery: access.invoked.map_or(NONE, |_| access.id),
            request_id: access.id,
            route: access.route.unwrap_or(NONE),
            status: access.status.to_string(),
            lambda_ms: access.invoked.map_or_else(|| NONE.to_owned(), |_| ms.clone()),
            ms,
            lambda_error: access.invoked.and_then(|invoked| invoked.0.err()).unwrap_or(NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn line(status: u16, invoked: Option<Invoked>) -> Value {
        let took = Duration::from_millis(12);
        let access = Access { id: "d-1", route: Some("POST /webhook"), status, took, invoked };
        serde_json::to_value(Line::from(&access)).unwrap()
    }

    #[test]
    fn a_line_has_the_fields_of_the_template() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");
        let template = std::fs::read_to_string(file).unwrap();
        let (_, format) = template.split_once("        Format: >-\n").unwrap();
        let format: Value = serde_json::from_str(format.split_inclusive("\"}\n").next().unwrap()).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&line(200, None)), keys(&format));
    }

    #[test]
    fn what_the_receiver_did_not_see_has_no_delivery() {
        assert_eq!(line(429, None)["delivery"], "-");
        let failed = line(500, Some(Invoked(Err("timed out"))));
        assert_eq!((&failed["delivery"], &failed["lambda_error"]), (&json!("d-1"), &json!("timed out")));
        let answered = line(200, Some(Invoked(Ok(()))));
        assert_eq!((&answered["lambda_ms"], &answered["lambda_error"]), (&json!("12"), &json!("-")));
    }
}
