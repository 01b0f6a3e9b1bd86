//! Texts and numbers for people.

use jiff::{SignedDuration, Timestamp};

/// HTML text or attribute value. Control characters, which HTML forbids or terminals obey, become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if is_unseen(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// One line of plain text: no control characters, so that it cannot command the terminal.
pub(super) fn line(text: &str) -> String {
    let seen = text.chars().map(|c| match c {
        '\n' | '\t' => ' ',
        c if is_unseen(c) => '\u{fffd}',
        c => c,
    });
    seen.collect::<String>().trim().to_owned()
}

/// Control characters, and those that turn the direction of the text around them.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text`, at most `max` characters.
pub(super) fn short(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let head: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{}…", head.trim_end())
}

/// `3 parts`, `1 part`.
pub(super) fn count(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{} {thing}s", number(n)) }
}

/// `1 234 567`, with thin spaces.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A duration as one says it: `0.4 s`, `42 s`, `3 min 20 s`, `1 h 4 min`. What is none is a dash.
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    if seconds == 0.0 {
        return "0 s".to_owned();
    }
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.1));
    }
    let whole = SignedDuration::try_from_secs_f64(seconds.round()).map_or(i64::MAX, |d| d.as_secs());
    let (h, m, s) = (whole / 3600, whole % 3600 / 60, whole % 60);
    match (h, m, s) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// As [`seconds`]; a dash for what was not measured.
pub(super) fn maybe_seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), seconds)
}

/// As [`number`]; a dash for what was not counted.
pub(super) fn maybe_number(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// Seconds from `start` to `at`.
pub(super) fn since(start: Timestamp, at: Timestamp) -> f64 {
    at.duration_since(start).as_secs_f64()
}

/// `+2:05`, `+1:02:05`: how long after the start.
pub(super) fn offset(after: f64) -> String {
    let sign = if after < 0.0 { "−" } else { "+" };
    let whole = SignedDuration::try_from_secs_f64(after.abs().floor()).map_or(0, |d| d.as_secs());
    let (h, m, s) = (whole / 3600, whole % 3600 / 60, whole % 60);
    if h > 0 { format!("{sign}{h}:{m:02}:{s:02}") } else { format!("{sign}{m}:{s:02}") }
}

/// `2026-11-22 18:05:01 UTC`.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_one_says_them() {
        let cases = [
            (0.0, "0 s"),
            (0.01, "0.1 s"),
            (0.44, "0.4 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (200.0, "3 min 20 s"),
            (3840.0, "1 h 4 min"),
            (7200.0, "2 h"),
            (-1.0, "–"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ];
        for (value, expected) in cases {
            assert_eq!(seconds(value), expected, "{value}");
        }
        seconds(f64::MAX);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn nothing_gets_out_of_a_text() {
        assert_eq!(escape("<a href='x'>&\"\u{1b}\u{202e}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}\u{fffd}");
        assert_eq!(line(" a\nb\u{1b}[31m "), "a b\u{fffd}[31m");
        assert_eq!(short("abcdef", 4), "abc…");
    }

    #[test]
    fn offsets() {
        assert_eq!(offset(125.9), "+2:05");
        assert_eq!(offset(3725.0), "+1:02:05");
        assert_eq!(offset(-3.0), "−0:03");
    }
}
