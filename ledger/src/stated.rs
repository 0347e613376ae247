//! Stated: the values that webhooks stated for one field of a subject, here called answers. Normally there is one. Several
//! contradict each other; all are kept, the first separately.
//!
//! Merging is associative, commutative and idempotent, with two exceptions that depend on the order of arrival: which answer
//! is the first, and which of too many are kept.

use std::{cmp::Ordering, collections::BTreeSet, fmt::Display, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// How many further values are kept beside the first. More would tell nothing new.
const MAX_OTHERS: usize = 7;

/// The distinct values stated for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated<T: Ord> {
    first: Option<T>,
    others: BTreeSet<T>,
    overflow: bool,
    as_of: Option<Timestamp>,
}

impl<T: Ord> Default for Stated<T> {
    fn default() -> Self {
        Self { first: None, others: BTreeSet::new(), overflow: false, as_of: None }
    }
}

impl<T: Ord> From<T> for Stated<T> {
    fn from(answer: T) -> Self {
        Self { first: Some(answer), ..Self::default() }
    }
}

impl<T: Ord> From<Option<T>> for Stated<T> {
    fn from(answer: Option<T>) -> Self {
        Self { first: answer, ..Self::default() }
    }
}

impl<T: Ord> Stated<T> {
    /// Dates the value: a later one replaces it instead of contradicting it.
    #[must_use]
    pub fn as_of(self, moment: Option<Timestamp>) -> Self {
        let as_of = moment.filter(|_| self.first.is_some());
        Self { as_of, ..self }
    }

    /// Adds what else was stated.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        if other.first.is_none() {
            return self;
        }
        let order = if self.first.is_none() { Ordering::Less } else { self.as_of.cmp(&other.as_of) };
        match order {
            Ordering::Less => other,
            Ordering::Greater => self,
            Ordering::Equal => {
                self.overflow |= other.overflow;
                for answer in other.first.into_iter().chain(other.others) {
                    if self.first.as_ref() != Some(&answer) {
                        self.others.insert(answer);
                    }
                }
                while self.others.len() > MAX_OTHERS {
                    self.others.pop_last();
                    self.overflow = true;
                }
                self
            }
        }
    }

    /// Whether nothing was stated.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The first answer, whatever was stated later.
    pub fn first(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The answer, unless there are several.
    pub fn only(&self) -> Option<&T> {
        self.first.as_ref().filter(|_| self.contradictions() == 0)
    }

    /// All answers that are kept, the first one first.
    pub fn answers(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.others)
    }

    /// How many answers contradict the first.
    pub fn contradictions(&self) -> usize {
        self.others.len() + usize::from(self.overflow)
    }
}

/// Stored as a list of texts, or as an object if there is more.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Answers(Vec<String>),
    More {
        answers: Vec<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        overflow: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        as_of: Option<Timestamp>,
    },
}

impl<T: Ord + Display> Serialize for Stated<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answers = self.answers().map(ToString::to_string).collect();
        match (self.overflow, self.as_of) {
            (false, None) => Stored::Answers(answers),
            (overflow, as_of) => Stored::More { answers, overflow, as_of },
        }
        .serialize(serializer)
    }
}

impl<'de, T: Ord + FromStr> Deserialize<'de> for Stated<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (answers, overflow, as_of) = match Stored::deserialize(deserializer)? {
            Stored::Answers(answers) => (answers, false, None),
            Stored::More { answers, overflow, as_of } => (answers, overflow, as_of),
        };
        let answer = |text: &String| text.parse().map_err(|_| D::Error::custom("a malformed value"));
        let mut answers = answers.iter().map(answer);
        Ok(Self { first: answers.next().transpose()?, others: answers.collect::<Result<_, _>>()?, overflow, as_of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(answers: &[u32]) -> Stated<u32> {
        answers.iter().map(|answer| Stated::from(*answer)).fold(Stated::default(), Stated::merge)
    }

    #[test]
    fn one_answer_is_the_answer_however_often_it_is_given() {
        let one = stated(&[5, 5, 5]);
        assert_eq!((one.only(), one.contradictions()), (Some(&5), 0));
        assert_eq!(stated(&[]).only(), None);
    }

    #[test]
    fn of_many_answers_the_first_is_kept_and_an_overflow_is_marked() {
        let many = stated(&[100, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(many.answers().copied().collect::<Vec<_>>(), [100, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((many.first(), many.only(), many.contradictions()), (Some(&100), None, 8));
        assert_eq!(many.clone().merge(stated(&[9])), many, "and nothing more changes it");
        assert_eq!(stated(&[100]).merge(many).contradictions(), 8, "also the other way");
        assert_eq!(stated(&[100, 1, 2, 3, 4, 5, 6, 7]).contradictions(), 7, "eight answers fit");
    }

    #[test]
    fn a_later_answer_replaces_an_earlier_one() {
        let at = |answer: u32, minute: u32| {
            Stated::from(answer).as_of(Some(format!("2026-01-02T03:{minute:02}:00Z").parse().unwrap()))
        };
        assert_eq!(at(1, 1).merge(at(2, 2)).only(), Some(&2));
        assert_eq!(at(2, 2).merge(at(1, 1)).only(), Some(&2));
        assert_eq!(at(1, 1).merge(at(2, 1)).contradictions(), 1);
        assert_eq!(at(1, 1).merge(Stated::default()).only(), Some(&1), "silence takes nothing back");
        let nothing = Stated::default().as_of(at(9, 9).as_of);
        assert_eq!((nothing.clone(), nothing.merge(at(1, 1)).only()), (Stated::default(), Some(&1)));
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let later = stated(&[1]).as_of(Some(Timestamp::UNIX_EPOCH));
        for original in [stated(&[]), stated(&[7]), stated(&[7, 3]), stated(&[9, 1, 2, 3, 4, 5, 6, 7, 8]), later] {
            let text = serde_json::to_string(&original).unwrap();
            assert_eq!(serde_json::from_str::<Stated<u32>>(&text).unwrap(), original, "{text}");
        }
        assert_eq!(serde_json::to_string(&stated(&[7])).unwrap(), r#"["7"]"#);
    }
}
