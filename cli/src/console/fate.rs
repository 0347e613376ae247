//! Fate: what became of a delivery, in one word. Where the functions have a word for it in their logs, it is the same.

use serde::Serialize;

macro_rules! fates {
    ($( $fate:ident $word:literal $meaning:literal, )+) => {
        /// What became of a delivery.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum Fate { $( $fate ),+ }

        impl Fate {
            pub(super) const ALL: &[Self] = &[$( Self::$fate ),+];

            /// The word, as the API and the style sheet have it.
            pub(super) const fn word(self) -> &'static str {
                match self { $( Self::$fate => $word ),+ }
            }

            /// What the word means.
            pub(super) const fn meaning(self) -> &'static str {
                match self { $( Self::$fate => $meaning ),+ }
            }
        }
    };
}

fates! {
    Waiting "waiting" "It was acknowledged and is in the queue. The processor has not finished it yet.",
    Applied "applied" "It changed what is known about its subject.",
    Duplicate "duplicate" "It says what was known already. Nothing changed.",
    Stale "stale" "It is older than what is known. Nothing changed.",
    Conflict "conflict" "It contradicts what is known. Both answers are kept, and webhook.conflict was published.",
    Unknown "unknown" "It was not recognised. It is kept, and webhook.unknown was published with the reason.",
    Parked "parked" "It could not be processed. It was moved to the dead-letter queue, with the reason.",
    Refused "refused" "It was refused. Nothing was stored.",
    NotStored "not_stored" "It could not be stored. Xendit would send it again.",
    Lost "lost" "Its message is gone, and neither the ledger nor the dead-letter queue has it. This is a bug.",
}

impl Fate {
    /// The word for people, as `dev` prints it.
    pub(super) fn label(self) -> String {
        match self {
            Self::Stale => "older news".to_owned(),
            _ => self.word().replace('_', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::outcome::{Processed, Received};

    use super::*;

    #[test]
    fn a_fate_is_written_as_the_logs_write_it() {
        let logged: Vec<_> =
            Processed::ALL.iter().map(|it| it.as_str()).chain(Received::ALL.iter().map(|it| it.as_str())).collect();
        for fate in Fate::ALL {
            assert_eq!(serde_json::to_value(fate).unwrap(), fate.word());
            let is_ours = matches!(fate, Fate::Waiting | Fate::Unknown | Fate::Lost);
            assert_eq!(logged.contains(&fate.word()), !is_ours, "{fate:?}");
        }
    }
}
