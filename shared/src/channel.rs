//! Channels: the currency that a bank, wallet or outlet implies where none is stated.
//!
//! A channel that exists in one country only implies that country's currency. Cards imply none: they are charged in any.
//!
//! **Invariant:** a channel that is not known to be in one country implies no currency.

use crate::money::Currency;

/// The countries that Xendit serves, with their currencies.
const COUNTRIES: &[(&str, &str)] = &[
    ("ID", "IDR"),
    ("PH", "PHP"),
    ("VN", "VND"),
    ("TH", "THB"),
    ("MY", "MYR"),
    ("SG", "SGD"),
    ("HK", "HKD"),
    ("MX", "MXN"),
];

/// Channels without a country prefix that exist in one country only, as legacy products and invoices write them.
const CHANNELS_OF_ONE_COUNTRY: &[(&str, &str)] = &[
    (
        "ID",
        "BCA BNI BRI BSI BJB CIMB MANDIRI PERMATA SAHABAT_SAMPOERNA ALFAMART INDOMARET ASTRAPAY DANA LINKAJA OVO QRIS \
         AKULAKU INDODANA KREDIVO UANGME",
    ),
    ("PH", "BPI GCASH PAYMAYA 7ELEVEN CEBUANA ECPAY QRPH BILLEASE CASHALO"),
    ("TH", "PROMPTPAY"),
];

/// Channels that Xendit offers in several countries, each in that country's currency.
const CHANNELS_OF_SEVERAL_COUNTRIES: &[&str] = &["SHOPEEPAY", "GRABPAY"];

/// The currency of a country, by its ISO 3166 code.
fn currency_of_country(country: &str) -> Option<Currency> {
    let (_, currency) = COUNTRIES.iter().find(|(code, _)| *code == country)?;
    currency.parse().ok()
}

/// The currency of a channel that exists in one country only.
pub(crate) fn currency_of_channel(channel: &str) -> Option<Currency> {
    // `BNI_VIRTUAL_ACCOUNT` is payments v3's name for the virtual accounts of `BNI`.
    let name = channel.strip_suffix("_VIRTUAL_ACCOUNT").unwrap_or(channel);
    let local = CHANNELS_OF_ONE_COUNTRY
        .iter()
        .find(|(_, names)| names.split(' ').any(|it| it == name))
        .map(|(country, _)| *country);
    local.or_else(|| channel.split_once('_').map(|(prefix, _)| prefix)).and_then(currency_of_country)
}

/// The currency of a channel that exists in several countries, and is charged in the currency of the country where it is used.
pub(crate) fn currency_of_channel_in(channel: &str, country: &str) -> Option<Currency> {
    CHANNELS_OF_SEVERAL_COUNTRIES.contains(&channel).then(|| currency_of_country(country)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_of_one_country_implies_its_currency_and_no_other_does() {
        let currency = |channel: &str| currency_of_channel(channel).map(String::from);
        for (channel, expected) in [
            ("PH_GCASH", Some("PHP")),
            ("ID_OVO", Some("IDR")),
            ("VN_ZALOPAY", Some("VND")),
            ("GCASH", Some("PHP")),
            ("BNI_VIRTUAL_ACCOUNT", Some("IDR")),
            ("SHOPEEPAY", None),
            ("BA_BPI", None),
            ("CARDS", None),
            ("PH", None),
            ("XX_GCASH", None),
        ] {
            assert_eq!(currency(channel).as_deref(), expected, "{channel}");
        }
    }

    #[test]
    fn no_channel_is_listed_in_two_countries_and_every_country_has_a_currency() {
        let names: Vec<_> = CHANNELS_OF_ONE_COUNTRY.iter().flat_map(|(_, names)| names.split(' ')).collect();
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
        assert!(COUNTRIES.iter().all(|(country, _)| currency_of_country(country).is_some()));
        assert!(CHANNELS_OF_ONE_COUNTRY.iter().all(|(country, _)| currency_of_country(country).is_some()));
    }
}
