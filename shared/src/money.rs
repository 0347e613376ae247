//! Money: an exact decimal with its currency. Read from webhooks, carried by `Observation`, written in domain events.
//!
//! **Invariant:** no float. What is printed is digit for digit what was read, trailing zeros included.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An amount in major units, exactly as written.
///
/// Holds any 28 significant digits. Equality is by value: `1000.1 == 1000.10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("pattern" = PATTERN)))]
pub struct Amount(Decimal);

/// The JSON Schema pattern of an amount.
#[cfg(feature = "schema")]
const PATTERN: &str = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$";

/// The text is not a plain decimal number of at most 28 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a plain decimal number of at most 28 digits")]
pub struct NotAnAmount;

impl Amount {
    /// The sum, or `None` when it has too many digits to be exact.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let sum = self.0.checked_add(other.0)?;
        // A sum that does not fit is rounded, and has fewer decimals then.
        (sum.scale() == self.0.scale().max(other.0.scale())).then_some(Self(sum))
    }

    /// Whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }

    /// Converts minor units to major units: 1000 centavos are `10.00`. `None` if the amount has a fraction.
    pub fn minor_to_major(self, digits: u32) -> Option<Self> {
        if self.0.scale() != 0 {
            return None;
        }
        Decimal::try_from_i128_with_scale(self.0.mantissa(), digits).ok().map(Self)
    }
}

impl FromStr for Amount {
    type Err = NotAnAmount;

    /// Reads `-?digits[.digits]`: no exponent, no plus sign, no superfluous leading zero, no separators.
    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits);
        if !plain {
            return Err(NotAnAmount);
        }
        // `from_str_exact` refuses what it would have to round.
        Decimal::from_str_exact(text).map(Self).map_err(|_| NotAnAmount)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Amount {
    type Error = NotAnAmount;

    fn try_from(text: String) -> Result<Self, NotAnAmount> {
        text.parse()
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

/// A currency code as Xendit writes it, such as `IDR`: an open set, since Xendit keeps adding to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("pattern" = "^[A-Z]{3}$")))]
pub struct Currency(String);

/// The text is not three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a currency code of three capital letters")]
pub struct NotACurrency;

impl Currency {
    /// The decimal digits of the minor unit at Xendit: 2 for PHP, of which 1000 centavos are 10.00.
    ///
    /// `None` for a code that is not in ISO 4217.
    pub fn minor_digits(&self) -> Option<u32> {
        // ISO 4217 gives the rupiah two digits. Xendit counts whole rupiah.
        if self.0 == "IDR" {
            return Some(0);
        }
        iso_currency::Currency::from_code(&self.0)?.exponent().map(u32::from)
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        let code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if code { Ok(Self(text.to_owned())) } else { Err(NotACurrency) }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Currency {
    type Error = NotACurrency;

    fn try_from(text: String) -> Result<Self, NotACurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0
    }
}

/// An amount with its currency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Money {
    /// How much, in major units.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
}

/// The text is not a currency and an amount, such as `IDR 1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a currency and an amount")]
pub struct NotMoney;

impl FromStr for Money {
    type Err = NotMoney;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let (currency, amount) = text.split_once(' ').ok_or(NotMoney)?;
        Ok(Self { amount: amount.parse().map_err(|_| NotMoney)?, currency: currency.parse().map_err(|_| NotMoney)? })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency, self.amount)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn the_sum_of_a_tenth_and_two_tenths_is_three_tenths() {
        assert_eq!(amount("0.1").checked_add(amount("0.2")), Some(amount("0.3")));
    }

    #[test]
    fn a_sum_that_would_have_to_be_rounded_is_none() {
        assert_eq!(amount(&"9".repeat(28)).checked_add(amount("0.5")), None);
        assert_eq!(
            amount(&"9".repeat(28)).checked_add(amount(&"9".repeat(28))),
            Some(amount(&format!("1{}8", "9".repeat(27))))
        );
        assert_eq!(amount("1.50").checked_add(amount("2")).unwrap().to_string(), "3.50");
        assert_eq!(amount("0.005").checked_add(amount("0.995")).unwrap().to_string(), "1.000");
    }

    #[test]
    fn an_amount_keeps_the_zeros_it_was_written_with() {
        for text in ["1000.10", "10000.01", "0", "0.00", "-5.50", "12345678901234567890", "12345678901234567.890"] {
            assert_eq!(amount(text).to_string(), text);
        }
        assert_eq!(amount("1000.1"), amount("1000.10"));
    }

    #[test]
    fn anything_but_a_plain_decimal_is_refused() {
        for text in ["", "-", ".", "1.", ".5", "+1", "01", "1e3", "1_000", "1,000", " 1", "NaN", "--1", "1.2.3"] {
            assert_eq!(text.parse::<Amount>(), Err(NotAnAmount), "{text}");
        }
        assert_eq!("1".repeat(40).parse::<Amount>(), Err(NotAnAmount));
    }

    #[test]
    fn minor_units_become_major_units() {
        assert_eq!(amount("1000").minor_to_major(2).unwrap().to_string(), "10.00");
        assert_eq!(amount("10").minor_to_major(0).unwrap().to_string(), "10");
        assert_eq!(amount("10.5").minor_to_major(2), None);
    }

    #[test]
    fn minor_digits_follow_iso_4217_except_for_the_rupiah() {
        let digits = |code: &str| code.parse::<Currency>().unwrap().minor_digits();
        assert_eq!(
            ["PHP", "USD", "VND", "JPY", "KWD", "IDR", "QQQ"].map(digits),
            [Some(2), Some(2), Some(0), Some(0), Some(3), Some(0), None]
        );
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!("PHP".parse::<Currency>().unwrap().as_str(), "PHP");
        for text in ["", "php", "PH", "PHPX", "P1P", "é1"] {
            assert_eq!(text.parse::<Currency>(), Err(NotACurrency), "{text}");
        }
    }

    #[test]
    fn money_is_read_as_it_is_written() {
        let money: Money = "PHP 1000.10".parse().unwrap();
        assert_eq!(money.to_string(), "PHP 1000.10");
        for text in ["", "PHP", "PHP ", "1 PHP", "PHP 1e3", "PHP  1"] {
            assert_eq!(text.parse::<Money>(), Err(NotMoney), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_prints_the_digits_it_read(text in "(0|[1-9][0-9]{0,17})(\\.[0-9]{1,9})?") {
            prop_assert_eq!(amount(&text).to_string(), text);
        }

        #[test]
        fn parsing_an_amount_never_panics(text in ".*") {
            let _ = text.parse::<Amount>();
        }
    }
}
