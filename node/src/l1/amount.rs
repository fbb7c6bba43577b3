//! Amounts as people write them.

use crate::error::{Error, Result};
use alloy_primitives::U256;
use alloy_primitives::utils::{ParseUnits, format_units, parse_units};

/// Digits after the point of the token.
pub(crate) const TOKEN_DECIMALS: u8 = 18;

/// `12.5` with so many digits after the point, in the smallest unit.
pub(crate) fn parse(text: &str, decimals: u8) -> Result<U256> {
    let wrong = |why: &str| Error::Usage(format!("{text:?} is no amount: {why}"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return Err(wrong("write it as 12 or 12.5"));
    }
    if fraction.len() > usize::from(decimals) {
        return Err(wrong(&format!("this asset has {decimals} digits after the point")));
    }
    match parse_units(text, decimals) {
        Ok(ParseUnits::U256(value)) if !value.is_zero() => Ok(value),
        Ok(ParseUnits::U256(_)) => Err(wrong("it is zero")),
        _ => Err(wrong("it is too large")),
    }
}

/// The other way, without trailing zeros.
pub(crate) fn show(value: U256, decimals: u8) -> String {
    let Ok(text) = format_units(value, decimals) else { return value.to_string() };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Token wei as tokens.
pub(crate) fn tokens(value: U256) -> String {
    show(value, TOKEN_DECIMALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written() {
        for (text, decimals, value) in
            [("1", 18, "1000000000000000000"), ("0.5", 6, "500000"), ("12.000001", 6, "12000001")]
        {
            let parsed = parse(text, decimals).unwrap();
            assert_eq!(parsed.to_string(), value);
            assert_eq!(show(parsed, decimals), text);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", "1.", "-1", "1e3", "0", "0.0", "1.0000001", "1_0", " 1"] {
            assert!(parse(text, 6).is_err(), "{text}");
        }
        assert!(parse(&"9".repeat(80), 18).is_err());
    }
}
