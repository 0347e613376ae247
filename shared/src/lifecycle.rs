//! Lifecycles: which kinds of thing Xendit tells about, and the phases each goes through.
//!
//! One table. A `Stage` is a kind together with one of *its* phases, so `invoice.reversed` cannot be written.
//! The order of the phases in the table is their rank: how far along the thing is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How two observations of one thing are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The lifecycle only moves forward: the later phase in the table wins, whenever it was heard of.
    ByRank,
    /// The thing goes back and forth: what Xendit says happened last wins, and rank only breaks a tie.
    ByTime,
}

macro_rules! lifecycles {
    ($(
        $(#[doc = $doc:literal])*
        $kind:ident $name:literal $order:ident [$( $phase:ident $word:literal ),+ $(,)?] as $phases:ident;
    )+) => {
        $(
            #[doc = concat!("The phases of `", $name, "`, in the order of their rank.")]
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[allow(missing_docs, reason = "a phase is documented by its word")]
            pub enum $phases { $( $phase ),+ }
        )+

        /// What kind of thing an observation is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(into = "&'static str")]
        pub enum Kind { $( $(#[doc = $doc])* $kind ),+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$( Self::$kind ),+];

            /// The name used in ledger keys and domain events.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$kind => $name ),+ }
            }

            /// How observations of this kind are put in order.
            pub const fn order(self) -> Order {
                match self { $( Self::$kind => Order::$order ),+ }
            }
        }

        /// A kind of thing in one of its own phases, such as `payment.succeeded`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[allow(missing_docs, reason = "each variant is the kind of the same name")]
        pub enum Stage { $( $kind($phases) ),+ }

        impl Stage {
            /// Every stage, kind by kind, each kind's phases by rank.
            pub const ALL: &[Self] = &[$( $( Self::$kind($phases::$phase) ),+ ),+];

            /// The kind.
            pub const fn kind(self) -> Kind {
                match self { $( Self::$kind(_) => Kind::$kind ),+ }
            }

            /// The phase's name, such as `succeeded`.
            pub const fn phase(self) -> &'static str {
                match self { $( $( Self::$kind($phases::$phase) => $word ),+ ),+ }
            }

            /// Kind and phase, such as `payment.succeeded`.
            pub const fn as_str(self) -> &'static str {
                match self { $( $( Self::$kind($phases::$phase) => concat!($name, ".", $word) ),+ ),+ }
            }
        }
    };
}

lifecycles! {
    /// Money from a payer: virtual accounts, outlets, e-wallets, QR codes, direct debit, cards, `PayLater`.
    ///
    /// A success is taken over a failure, a cancellation or an expiry, because Xendit confirms late: a provider
    /// that recovers, or a payer who transfers to an expired account, still pays.
    Payment "payment" ByRank [
        Pending "pending", Authorized "authorized", Failed "failed", Canceled "canceled", Expired "expired",
        Succeeded "succeeded", Voided "voided",
    ] as PaymentPhase;
    /// An invoice or payment link. Money can arrive after expiry.
    Invoice "invoice" ByRank [
        Pending "pending", Expired "expired", Paid "paid", Settled "settled",
    ] as InvoicePhase;
    /// A fixed virtual account, which is updated any number of times.
    VirtualAccount "virtual_account" ByTime [
        Pending "pending", Active "active", Inactive "inactive",
    ] as VirtualAccountPhase;
    /// Money back to a payer.
    Refund "refund" ByRank [
        Pending "pending", Canceled "canceled", Failed "failed", Succeeded "succeeded",
    ] as RefundPhase;
    /// Money out. A success may still be reversed by the receiving bank.
    Payout "payout" ByRank [
        Pending "pending", Ready "ready", Locked "locked", Rejected "rejected", Canceled "canceled",
        Expired "expired", Failed "failed", Succeeded "succeeded", Refunded "refunded", Reversed "reversed",
    ] as PayoutPhase;
    /// A webhook that is not known, or not well enough to act on. Kept, counted and published.
    Unknown "unknown" ByRank [
        Received "received",
    ] as UnknownPhase;
}

impl From<Kind> for &'static str {
    fn from(kind: Kind) -> Self {
        kind.as_str()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind with one of its phases")]
pub struct NotAStage;

impl FromStr for Stage {
    type Err = NotAStage;

    fn from_str(text: &str) -> Result<Self, NotAStage> {
        Self::ALL.iter().copied().find(|stage| stage.as_str() == text).ok_or(NotAStage)
    }
}

impl TryFrom<String> for Stage {
    type Error = NotAStage;

    fn try_from(text: String) -> Result<Self, NotAStage> {
        text.parse()
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        stage.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_found_again_by_its_name() {
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse(), Ok(*stage));
            assert_eq!(stage.as_str(), format!("{}.{}", stage.kind(), stage.phase()));
        }
    }

    #[test]
    fn money_after_expiry_outranks_the_expiry() {
        assert!(Stage::Invoice(InvoicePhase::Paid) > Stage::Invoice(InvoicePhase::Expired));
        assert!(Stage::Payment(PaymentPhase::Succeeded) > Stage::Payment(PaymentPhase::Expired));
        assert!(Stage::Payout(PayoutPhase::Reversed) > Stage::Payout(PayoutPhase::Succeeded));
    }
}
