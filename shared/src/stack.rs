//! Stack: the names that the parts of a deployment share. `template.yaml` sets these variables; the local stack and the
//! tests set the same ones.

/// An environment variable of a function, and what it must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// What it must hold, for the error message.
    pub holds: &'static str,
}

macro_rules! variables {
    ($( $constant:ident $name:literal $holds:literal; )+) => {
        $(
            #[doc = $holds]
            pub const $constant: Variable = Variable { name: $name, holds: $holds };
        )+

        /// Every variable of this project's own.
        pub const VARIABLES: &[Variable] = &[$( $constant ),+];
    };
}

variables! {
    CALLBACK_TOKENS "CALLBACK_TOKENS"
        "label=digest pairs separated by commas, such as live=<64 hex digits>: `xendit-hooks token digest` makes the digest of a token";
    TOKEN_ACCOUNTS "TOKEN_ACCOUNTS"
        "nothing, or label=account pairs separated by commas, for every label: a token is accepted only for its accounts, * for any";
    ENVIRONMENT "ENVIRONMENT" "`test` or `live`";
    LOG_LEVEL "LOG_LEVEL" "`info`, `debug` or `trace`";
    QUEUE_URL "QUEUE_URL" "the URL of the webhook queue";
    DLQ_URL "DLQ_URL" "the URL of the dead-letter queue";
    INBOX_BUCKET "INBOX_BUCKET" "the name of the S3 bucket for envelopes that the queue cannot take";
    LEDGER_TABLE "LEDGER_TABLE" "the name of the DynamoDB table that is the ledger";
    BUS_NAME "BUS_NAME" "the name of the EventBridge bus that domain events go to";
}

/// The ledger's index by the merchant's reference.
pub const INDEX_BY_REFERENCE: &str = "by-reference";

/// The ledger's index of open subjects.
pub const INDEX_OPEN: &str = "open";
