//! Lifecycles: the kinds of subjects that Xendit's webhooks are about, and the phases each goes through.
//!
//! One table. A `Stage` is a kind together with one of *its* phases, so `invoice.reversed` cannot be written.
//! The order of the phases in the table is their rank: how far along the subject is. Each kind's entry says how its
//! observations are ordered, and why.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How two observations of one subject are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The lifecycle only moves forward: the later phase in the table wins, whenever it arrives.
    ByRank,
    /// The subject goes back and forth: the later time wins, Xendit's own, and rank only breaks a tie.
    ByTime,
}

macro_rules! lifecycles {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident $name:literal $order:ident [$( $phase:ident $word:literal ),+ $(,)?] as $phases:ident;
    )+) => {
        $(
            #[doc = concat!("The phases of `", $name, "`, in the order of their rank.")]
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[allow(missing_docs, reason = "a phase is documented by its word")]
            pub enum $phases { $( $phase ),+ }
        )+

        /// What kind of subject an observation is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(into = "&'static str")]
        pub enum Kind { $( $(#[doc = $doc])+ $kind ),+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$( Self::$kind ),+];

            /// The name used in ledger keys and domain events.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$kind => $name ),+ }
            }

            /// How observations of this kind are ordered.
            pub const fn order(self) -> Order {
                match self { $( Self::$kind => Order::$order ),+ }
            }
        }

        /// A kind in one of its own phases, such as `payment.succeeded`.
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

        $(
            impl From<$phases> for Stage {
                fn from(phase: $phases) -> Self {
                    Self::$kind(phase)
                }
            }
        )+
    };
}

lifecycles! {
    /// Money from a payer: virtual accounts, outlets, e-wallets, QR codes, direct debit, cards, `PayLater`.
    ///
    /// By rank. A success outranks a failure, a cancellation and an expiry, because Xendit confirms late: a provider that
    /// recovers, or a payer who transfers to an expired account, still pays.
    Payment "payment" ByRank [
        Pending "pending", Authorized "authorized", Failed "failed", Canceled "canceled", Expired "expired",
        Succeeded "succeeded", Voided "voided",
    ] as PaymentPhase;
    /// A failed capture. The authorization may still stand, and parts may have been captured, so the payment has not failed. A
    /// successful capture is an observation of its payment.
    ///
    /// By rank: there is only one phase.
    Capture "capture" ByRank [
        Failed "failed",
    ] as CapturePhase;
    /// An invoice or payment link.
    ///
    /// By rank. Money can arrive after expiry.
    Invoice "invoice" ByRank [
        Pending "pending", Expired "expired", Paid "paid", Settled "settled",
    ] as InvoicePhase;
    /// A fixed virtual account.
    ///
    /// By time: it is updated any number of times.
    VirtualAccount "virtual_account" ByTime [
        Pending "pending", Active "active", Inactive "inactive",
    ] as VirtualAccountPhase;
    /// A request for money. The money is a payment of its own, and can arrive after the request has expired.
    ///
    /// By rank: a fulfilled request stays fulfilled.
    PaymentRequest "payment_request" ByRank [
        Expired "expired", Succeeded "succeeded",
    ] as PaymentRequestPhase;
    /// A checkout page. The money is a payment of its own, as is a saved card or wallet.
    ///
    /// By rank: a completed session stays completed.
    PaymentSession "payment_session" ByRank [
        Expired "expired", Canceled "canceled", Completed "completed",
    ] as PaymentSessionPhase;
    /// A card, account or wallet that can be charged. One for a single use expires with the payment it was made for,
    /// which is neither an error nor a cancellation.
    ///
    /// By time: it can be renewed, disabled and enabled.
    PaymentMethod "payment_method" ByTime [
        Pending "pending", Active "active", Expiring "expiring", Inactive "inactive", Failed "failed",
        Expired "expired",
    ] as PaymentMethodPhase;
    /// The payment method of payments v3.
    ///
    /// By rank: it is created once, and ends once.
    PaymentToken "payment_token" ByRank [
        Pending "pending", Failed "failed", Active "active", Expired "expired", Canceled "canceled",
    ] as PaymentTokenPhase;
    /// A bank account or wallet that a payer has linked.
    ///
    /// By rank: a linked account stays linked.
    LinkedAccount "linked_account" ByRank [
        Linked "linked",
    ] as LinkedAccountPhase;
    /// A check of a card: its authentication, its tokenization, its verification without a payment.
    ///
    /// By rank: one check has one result.
    Card "card" ByRank [
        InReview "in_review", Failed "failed", Verified "verified",
    ] as CardPhase;
    /// Money back to a payer.
    ///
    /// By rank. As for payments, a success outranks a failure.
    Refund "refund" ByRank [
        Pending "pending", Canceled "canceled", Failed "failed", Succeeded "succeeded",
    ] as RefundPhase;
    /// Money out.
    ///
    /// By rank. A success may still be reversed by the receiving bank.
    Payout "payout" ByRank [
        Pending "pending", Ready "ready", Locked "locked", Rejected "rejected", Canceled "canceled",
        Expired "expired", Failed "failed", Succeeded "succeeded", Refunded "refunded", Reversed "reversed",
    ] as PayoutPhase;
    /// Many disbursements in one. Completed says that all have been tried, not that all have succeeded.
    ///
    /// By rank: a batch is processed once.
    PayoutBatch "payout_batch" ByRank [
        Pending "pending", Failed "failed", Completed "completed",
    ] as PayoutBatchPhase;
    /// A bill, such as one for electricity, paid for a customer.
    ///
    /// By rank. As for payments, a success outranks a failure.
    BillPayment "bill_payment" ByRank [
        Failed "failed", Succeeded "succeeded",
    ] as BillPaymentPhase;
    /// One share of a payment, passed on to another account.
    ///
    /// By rank. As for payments, a success outranks a failure.
    Split "split" ByRank [
        Failed "failed", Completed "completed",
    ] as SplitPhase;
    /// A report that was requested.
    ///
    /// By rank: it is made once.
    Report "report" ByRank [
        Pending "pending", Failed "failed", Completed "completed",
    ] as ReportPhase;
    /// A subscription.
    ///
    /// By time: it can be deactivated and reactivated.
    RecurringPlan "recurring_plan" ByTime [
        Pending "pending", Active "active", Inactive "inactive",
    ] as RecurringPlanPhase;
    /// One billing cycle of a subscription, with its attempts. Its money is a payment of its own.
    ///
    /// By rank. The merchant can force an attempt after the last one failed, so a success outranks a failure.
    RecurringCycle "recurring_cycle" ByRank [
        Scheduled "scheduled", Retrying "retrying", Canceled "canceled", Failed "failed", Succeeded "succeeded",
    ] as RecurringCyclePhase;
    /// A sub-account: its onboarding and its standing.
    ///
    /// By time: it can be suspended and cleared repeatedly.
    Account "account" ByTime [
        Registered "registered", Created "created", Activated "activated", Cleared "cleared",
        Suspected "suspected", Suspended "suspended",
    ] as AccountPhase;
    /// The verification of a sub-account. A kind of its own, so that neither makes the other's observations stale.
    ///
    /// By time: documents may be requested again.
    AccountVerification "account_verification" ByTime [
        InProgress "in_progress", ResubmissionRequired "resubmission_required", Failed "failed", Passed "passed",
    ] as AccountVerificationPhase;
    /// The verification of an account holder.
    ///
    /// By time: documents may be requested again.
    AccountHolder "account_holder" ByTime [
        InProgress "in_progress", ResubmissionRequired "resubmission_required", Failed "failed", Passed "passed",
    ] as AccountHolderPhase;
    /// An account holder's capabilities per channel. A list has no single phase; the body has each channel's.
    ///
    /// By time: each channel goes back and forth.
    Capabilities "capabilities" ByTime [
        Updated "updated",
    ] as CapabilitiesPhase;
    /// A chargeback.
    ///
    /// By time: evidence is asked for again, and a decision can be appealed.
    Dispute "dispute" ByTime [
        ActionRequired "action_required", DueDateApproaching "due_date_approaching", UnderReview "under_review",
        Lost "lost", Won "won",
    ] as DisputePhase;
    /// A webhook that was not recognised. Stored, counted and published.
    ///
    /// By rank: there is only one phase.
    Unknown "unknown" ByRank [
        Received "received",
    ] as UnknownPhase;
    /// A canary: not a webhook of Xendit's, but one that `xendit-hooks smoke` sends. Publishes nothing.
    ///
    /// By rank: there is only one phase. Its mark is the time.
    Canary "canary" ByRank [
        Seen "seen",
    ] as CanaryPhase;
}

impl Kind {
    /// Whether changes of a subject are published.
    pub const fn is_published(self) -> bool {
        !matches!(self, Self::Canary)
    }
}

impl Stage {
    /// Whether money has moved, even if it was returned.
    pub const fn moved_money(self) -> bool {
        matches!(
            self,
            Self::Payment(PaymentPhase::Succeeded | PaymentPhase::Voided)
                | Self::Invoice(InvoicePhase::Paid | InvoicePhase::Settled)
                | Self::Refund(RefundPhase::Succeeded)
                | Self::Payout(PayoutPhase::Succeeded | PayoutPhase::Refunded | PayoutPhase::Reversed)
                | Self::BillPayment(BillPaymentPhase::Succeeded)
                | Self::Split(SplitPhase::Completed)
        )
    }

    /// The stage whose event announces the money that is here: a settled invoice was paid, even if that webhook never arrived.
    ///
    /// `None`: no money has arrived, or it was returned.
    pub const fn money_stage(self) -> Option<Self> {
        match self {
            Self::Invoice(InvoicePhase::Settled) => Some(Self::Invoice(InvoicePhase::Paid)),
            Self::Payment(PaymentPhase::Voided) | Self::Payout(PayoutPhase::Refunded | PayoutPhase::Reversed) => None,
            moved if moved.moved_money() => Some(moved),
            _ => None,
        }
    }

    /// Whether the subject failed, expired or was canceled. Money after this is late: the merchant may have released the stock.
    pub const fn is_given_up(self) -> bool {
        matches!(
            self,
            Self::Payment(PaymentPhase::Failed | PaymentPhase::Canceled | PaymentPhase::Expired)
                | Self::Invoice(InvoicePhase::Expired)
        )
    }

    /// Whether another webhook usually precedes this one.
    pub const fn usually_has_predecessor(self) -> bool {
        matches!(
            self,
            Self::Payment(PaymentPhase::Voided)
                | Self::Invoice(InvoicePhase::Settled)
                | Self::VirtualAccount(VirtualAccountPhase::Inactive)
                | Self::PaymentMethod(PaymentMethodPhase::Inactive | PaymentMethodPhase::Expired)
                | Self::PaymentToken(PaymentTokenPhase::Expired | PaymentTokenPhase::Canceled)
                | Self::Payout(PayoutPhase::Locked | PayoutPhase::Refunded | PayoutPhase::Reversed)
                | Self::RecurringPlan(RecurringPlanPhase::Inactive)
                | Self::RecurringCycle(
                    RecurringCyclePhase::Retrying | RecurringCyclePhase::Failed | RecurringCyclePhase::Succeeded
                )
                | Self::Account(AccountPhase::Activated | AccountPhase::Suspended | AccountPhase::Cleared)
                | Self::Dispute(
                    DisputePhase::DueDateApproaching
                        | DisputePhase::UnderReview
                        | DisputePhase::Lost
                        | DisputePhase::Won
                )
                | Self::Canary(CanaryPhase::Seen)
        )
    }

    /// Whether a further phase is still expected.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Payment(PaymentPhase::Pending | PaymentPhase::Authorized)
                | Self::Invoice(InvoicePhase::Pending)
                | Self::PaymentToken(PaymentTokenPhase::Pending)
                | Self::Card(CardPhase::InReview)
                | Self::Refund(RefundPhase::Pending)
                | Self::Payout(PayoutPhase::Pending | PayoutPhase::Ready | PayoutPhase::Locked)
                | Self::PayoutBatch(PayoutBatchPhase::Pending)
                | Self::Report(ReportPhase::Pending)
                | Self::RecurringCycle(RecurringCyclePhase::Scheduled | RecurringCyclePhase::Retrying)
        )
    }
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
#[error("not a stage such as `payment.succeeded`")]
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
    fn every_stage_parses_from_its_name() {
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

    /// Written out, because a stage that is missing here is money that is never announced.
    #[test]
    fn exactly_these_stages_announce_money() {
        let here = Stage::ALL.iter().filter_map(|stage| Some((stage.as_str(), stage.money_stage()?.as_str())));
        let expected = [
            ("payment.succeeded", "payment.succeeded"),
            ("invoice.paid", "invoice.paid"),
            ("invoice.settled", "invoice.paid"),
            ("refund.succeeded", "refund.succeeded"),
            ("payout.succeeded", "payout.succeeded"),
            ("bill_payment.succeeded", "bill_payment.succeeded"),
            ("split.completed", "split.completed"),
        ];
        assert_eq!(here.collect::<Vec<_>>(), expected);
        let moved = Stage::ALL.iter().filter(|stage| stage.moved_money() && stage.money_stage().is_none());
        let gone: Vec<_> = moved.map(|stage| stage.as_str()).collect();
        assert_eq!(gone, ["payment.voided", "payout.refunded", "payout.reversed"]);
    }

    #[test]
    fn what_was_given_up_or_is_still_open_has_moved_no_money() {
        for stage in Stage::ALL.iter().filter(|stage| stage.is_given_up() || stage.is_open()) {
            assert!(!stage.moved_money(), "{stage}");
            assert!(!(stage.is_given_up() && stage.is_open()), "{stage}");
        }
        let names = |is: fn(Stage) -> bool| -> Vec<_> {
            Stage::ALL.iter().filter(|stage| is(**stage)).map(|stage| stage.as_str()).collect()
        };
        let given_up = ["payment.failed", "payment.canceled", "payment.expired", "invoice.expired"];
        assert_eq!(names(Stage::is_given_up), given_up);
        let open = [
            "payment.pending",
            "payment.authorized",
            "invoice.pending",
            "payment_token.pending",
            "card.in_review",
            "refund.pending",
            "payout.pending",
            "payout.ready",
            "payout.locked",
            "payout_batch.pending",
            "report.pending",
            "recurring_cycle.scheduled",
            "recurring_cycle.retrying",
        ];
        assert_eq!(names(Stage::is_open), open);
    }
}
