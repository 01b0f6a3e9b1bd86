//! Sizes as Kubernetes writes them.

/// The bytes that `text` stands for, rounded up; `None` if it is no quantity.
pub(crate) fn bytes(text: &str) -> Option<u128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // (numerator, denominator) of the unit.
    let (by, per): (u128, u128) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1000_u128.pow(2), 1),
        "G" => (1000_u128.pow(3), 1),
        "T" => (1000_u128.pow(4), 1),
        "P" => (1000_u128.pow(5), 1),
        "E" => (1000_u128.pow(6), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number: u128 = format!("{whole}{fraction}").parse().ok()?;
    Some(number.checked_mul(by)?.div_ceil(scale.checked_mul(per)?))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn reads_every_form() {
        for (text, expected) in [
            ("0", 0),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("129M", 129_000_000),
            ("123Mi", 128_974_848),
            ("1.5Gi", 1_610_612_736),
            (".5k", 500),
            ("128974848000m", 128_974_848),
            ("1m", 1),
            ("12E", 12_000_000_000_000_000_000),
            ("1E3", 1000),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for bad in ["", ".", "1.2.3", "Gi", "-1", "1 Gi", "1gi", "1e", "1e99"] {
            assert_eq!(bytes(bad), None, "{bad:?}");
        }
    }
}
