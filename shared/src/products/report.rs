//! Reports that were requested. The body holds a link to the report that works for a day: a secret.

use crate::{
    lifecycle::{
        ReportPhase::{Completed, Failed},
        Stage::Report,
    },
    resource::{COMMON, Resource},
    webhook::{Event, Form, Product, Url},
};

/// A report.
const REPORTS: Resource =
    Resource { statuses: &[("COMPLETED", Report(Completed)), ("FAILED", Report(Failed))], ..COMMON };

pub(super) const REPORT: Product = Product {
    name: "Report (balance and transactions)",
    url: Url::Api("report"),
    form: Form::Unnamed,
    resource: &REPORTS,
    events: &[Event::by_status("report")],
    adjust: None,
};
