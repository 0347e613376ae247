//! Reports that were requested. The body holds a pre-signed URL, valid for a day: a secret.

use super::prelude::*;
use ReportPhase::{Completed, Failed, Pending};

/// A report.
const REPORTS: Resource = Resource {
    statuses: &[("PENDING", Report(Pending)), ("COMPLETED", Report(Completed)), ("FAILED", Report(Failed))],
    ..COMMON
};

pub(super) const REPORT: Product = Product {
    name: "Report (balance and transactions)",
    url: Url::Api("report"),
    form: Form::Unnamed,
    resource: &REPORTS,
    events: &[Event::by_status("report")],
};
