//! Reports that were asked for. The body holds a link to the report that works for a day: a secret.

use serde::Deserialize;

use super::{
    body::{Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::ReportPhase,
    observation::{Drift, Observation, Unknown},
};

/// A report.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    id: Field<Text>,
}

impl Thing for Report {
    type Phase = ReportPhase;

    const PRODUCT: Product<ReportPhase> = Product {
        name: "Report (balance and transactions)",
        url: Url::Api("report"),
        form: Form::Unnamed,
        events: &[Named::by_status(
            "report",
            &[("COMPLETED", ReportPhase::Completed), ("FAILED", ReportPhase::Failed)],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        Ok(wire.observation(id, wire.phase(drift)?, drift))
    }
}
