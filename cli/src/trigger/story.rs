//! Story: several webhooks about one subject, in the order in which they arrive. A table: each step is a bundled webhook with
//! its changes.
//!
//! Ids and times are those of the samples. They are made new before a story is sent, in all its webhooks at once.

use anyhow::{Context as _, Result};

use super::change::Change;
use crate::samples;

/// What a story's name begins with, in the one list of what can be triggered.
pub(crate) const PREFIX: &str = "story:";

/// Several webhooks that belong together.
#[derive(Debug)]
pub(crate) struct Story {
    /// The name without `story:`.
    pub(crate) name: &'static str,
    /// What happens, in one sentence.
    pub(crate) says: &'static str,
    pub(crate) steps: &'static [Step],
}

/// One webhook of a story.
#[derive(Debug)]
pub(crate) struct Step {
    /// The name of the bundled webhook.
    pub(crate) sample: &'static str,
    /// Values that are the same as in the first step's webhook.
    same: &'static [&'static str],
    /// Other values, as for `--set`.
    set: &'static [(&'static str, &'static str)],
    pub(super) flaw: Option<Flaw>,
}

/// What is wrong with a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It carries another token.
    WrongToken,
    /// Its second half is missing.
    CutOff,
    /// Its description has as many bytes as this.
    Large(usize),
}

/// A bundled webhook as it is.
const fn sample(name: &'static str) -> Step {
    Step { sample: name, same: &[], set: &[], flaw: None }
}

impl Step {
    const fn same(self, same: &'static [&'static str]) -> Self {
        Self { same, ..self }
    }

    const fn set(self, set: &'static [(&'static str, &'static str)]) -> Self {
        Self { set, ..self }
    }

    const fn with(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }
}

const INVOICE: &[&str] = &["id", "external_id", "currency"];
const PAYMENT: &[&str] =
    &["data.payment_id", "data.payment_request_id", "data.reference_id", "data.currency", "data.request_amount"];
const PAYOUT: &[&str] = &["data.id", "data.reference_id"];
const DISPUTE: &[&str] = &["id", "payment_id", "reference_id"];

/// The expiry of the invoice in `invoice.paid`, a minute before it is paid.
const EXPIRED: &[(&str, &str)] =
    &[("amount", "510000"), ("created", "2024-11-27T06:40:26.508Z"), ("updated", "2024-11-28T06:40:26.508Z")];

/// All stories.
pub(crate) const ALL: &[Story] = &[
    Story { name: "paid", says: "An invoice is paid.", steps: &[sample("invoice.paid")] },
    Story {
        name: "paid-twice",
        says: "The webhook of a paid invoice arrives twice.",
        steps: &[sample("invoice.paid"), sample("invoice.paid")],
    },
    Story {
        name: "expired-then-paid",
        says: "An invoice expires, and is paid anyway.",
        steps: &[sample("invoice.expired").set(EXPIRED), sample("invoice.paid").same(INVOICE)],
    },
    Story {
        name: "late",
        says: "The webhook of an authorization arrives after that of its capture.",
        steps: &[
            sample("payment.capture"),
            sample("payment.authorization").same(PAYMENT).set(&[
                ("data.channel_code", "GCASH"),
                ("created", "2029-12-31T23:50:00Z"),
                ("data.created", "2029-12-31T23:50:00Z"),
                ("data.updated", "2029-12-31T23:50:00Z"),
            ]),
        ],
    },
    Story {
        name: "jumbled",
        says: "An invoice expires, is paid and is settled; its webhooks arrive in reverse order.",
        steps: &[
            sample("invoice.paid").set(&[("status", "SETTLED")]),
            sample("invoice.paid"),
            sample("invoice.expired").same(INVOICE).set(EXPIRED),
        ],
    },
    Story {
        name: "two-amounts",
        says: "Two webhooks of one invoice state different amounts.",
        steps: &[sample("invoice.paid"), sample("invoice.paid").set(&[("paid_amount", "500000")])],
    },
    Story {
        name: "partial-captures",
        says: "A payment is captured in two parts, and the webhook of the second arrives twice.",
        steps: &[
            sample("payment.capture").set(&[("data.captures", FIRST_CAPTURE)]),
            sample("payment.capture").set(&[("data.captures", BOTH_CAPTURES)]),
            sample("payment.capture").set(&[("data.captures", BOTH_CAPTURES)]),
        ],
    },
    Story {
        name: "payout-reversed",
        says: "A payout succeeds, and the receiving bank sends the money back.",
        steps: &[sample("payout.succeeded"), sample("payout.reversed").same(PAYOUT)],
    },
    Story {
        name: "refund",
        says: "A payment is captured and refunded.",
        steps: &[
            sample("payment.capture"),
            sample("refund.succeeded").same(&["data.payment_id", "data.currency", "data.channel_code"]).set(&[
                ("data.amount", "10000.01"),
                ("data.payment_method_type", "EWALLET"),
                ("created", "2030-01-01T09:12:33Z"),
                ("data.created", "2030-01-01T09:12:33Z"),
                ("data.updated", "2030-01-01T09:12:33Z"),
            ]),
        ],
    },
    Story {
        name: "dispute",
        says: "A card payment is disputed; the merchant wins.",
        steps: &[
            sample("dispute.action_required"),
            sample("dispute.under_review").same(DISPUTE),
            sample("dispute.due_date_approaching").same(DISPUTE),
            sample("dispute.won").same(DISPUTE),
        ],
    },
    Story {
        name: "unknown",
        says: "A webhook of a kind that nobody has heard of.",
        steps: &[sample("payment.capture").set(&[("event", "gift_card.redeemed")])],
    },
    Story {
        name: "wrong-token",
        says: "Somebody who does not know the callback token sends a webhook.",
        steps: &[sample("invoice.paid").with(Flaw::WrongToken)],
    },
    Story {
        name: "unreadable",
        says: "The second half of a webhook is missing.",
        steps: &[sample("invoice.paid").with(Flaw::CutOff)],
    },
    Story {
        name: "3mb",
        says: "A webhook is too large for the queue.",
        steps: &[sample("invoice.paid").with(Flaw::Large(3 * 1024 * 1024))],
    },
];

const FIRST_CAPTURE: &str = r#"[{"capture_id":"cap-1502feb0-bb79-47ae-9d1e-e69394d3949c","capture_amount":4000.01,
    "capture_timestamp":"2029-12-31T23:58:00Z"}]"#;
const BOTH_CAPTURES: &str = r#"[{"capture_id":"cap-1502feb0-bb79-47ae-9d1e-e69394d3949c","capture_amount":4000.01,
    "capture_timestamp":"2029-12-31T23:58:00Z"},{"capture_id":"cap-2602feb0-bb79-47ae-9d1e-e69394d3949d",
    "capture_amount":6000.00,"capture_timestamp":"2029-12-31T23:59:59Z"}]"#;

impl Story {
    /// The name in the list of what can be triggered.
    pub(crate) fn full_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// The body of each step, before it gets new ids and its flaw.
    pub(super) fn bodies(&self) -> Result<Vec<String>> {
        let mut bodies: Vec<String> = Vec::new();
        for step in self.steps {
            let sample = samples::find(step.sample).with_context(|| format!("there is no sample {}", step.sample))?;
            let mut body = sample.body.to_owned();
            for path in step.same {
                body = Change::like(path, bodies.first().context("the first step")?)?.apply(&body)?;
            }
            for (path, value) in step.set {
                body = Change::new(path, value)?.apply(&body)?;
            }
            bodies.push(body);
        }
        Ok(bodies)
    }
}

impl Flaw {
    /// The body with the flaw.
    pub(super) fn spoil(self, body: &str) -> Result<String> {
        Ok(match self {
            Self::WrongToken => body.to_owned(),
            Self::CutOff => body.chars().take(body.chars().count() / 2).collect(),
            Self::Large(bytes) => Change::new("description", &"x".repeat(bytes))?.apply(body)?,
        })
    }
}
