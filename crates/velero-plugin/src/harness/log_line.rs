//! [`LogLine`]: what Velero makes of a line on a plug-in's stderr.

use serde_json::{Map, Value};

/// Velero reads lines up to this length, newline included; a longer one comes out in pieces, at level debug.
const BUFFER: usize = 64 * 1024;

/// What Velero makes of one line that a plug-in has written to stderr.
#[derive(Debug, Clone, PartialEq)]
pub enum LogLine {
    /// A log entry with fields.
    Entry {
        /// `trace`, `debug`, `info`, `warn` or `error`. During a backup or restore each `warn` and `error` is counted.
        level: String,
        /// The message.
        message: String,
        /// Further fields.
        fields: Map<String, Value>,
    },
    /// Shown as it is at level debug: it is no entry, or too long.
    Text,
    /// The Velero server panics on it, and this is why.
    Crash(String),
}

impl LogLine {
    /// Reads a line as Velero does.
    #[must_use]
    pub fn read(line: &str) -> Self {
        if line.len() >= BUFFER {
            return Self::Text;
        }
        let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(line) else { return Self::Text };
        let mut own = [String::new(), String::new()];
        for (text, key) in own.iter_mut().zip(["@message", "@level"]) {
            match fields.shift_remove(key) {
                Some(Value::String(value)) => *text = value,
                Some(other) => return Self::Crash(format!("{key} is {other}, not a string")),
                None => {}
            }
        }
        match fields.get("@timestamp") {
            // There is one layout that does not turn the line into text; entries of this crate have none at all.
            Some(Value::String(_)) => return Self::Text,
            Some(other) => return Self::Crash(format!("@timestamp is {other}, not a string")),
            None => {}
        }
        let [message, level] = own;
        // The library takes any case and surrounding spaces.
        let level = level.trim().to_lowercase();
        if !["trace", "debug", "info", "warn", "error"].contains(&level.as_str()) {
            return Self::Text;
        }
        for key in ["namespace", "name", "resource"] {
            if let Some(value) = fields.get(key)
                && !value.is_string()
            {
                return Self::Crash(format!("the field {key} is {value}, not a string"));
            }
        }
        for key in ["time", "timestamp", "level"] {
            fields.shift_remove(key);
        }
        Self::Entry { level, message, fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_entries_from_text_and_from_what_crashes() {
        let entry = LogLine::read(r#"{"@level":"info","@message":"m","name":"n","time":"t"}"#);
        let LogLine::Entry { level, message, fields } = entry else { panic!("{entry:?}") };
        assert_eq!((&*level, &*message, fields.len()), ("info", "m", 1));
        for text in
            ["plain", "[]", r#"{"@level":"warning","@message":"m"}"#, r#"{"@level":"info","@timestamp":"2026"}"#]
        {
            assert_eq!(LogLine::read(text), LogLine::Text, "{text}");
        }
        assert_eq!(LogLine::read(&format!(r#"{{"@message":"{}"}}"#, "x".repeat(BUFFER))), LogLine::Text);
        for deadly in
            [r#"{"@message":7}"#, r#"{"@level":null}"#, r#"{"@timestamp":1}"#, r#"{"@level":"warn","name":null}"#]
        {
            assert!(matches!(LogLine::read(deadly), LogLine::Crash(_)), "{deadly}");
        }
    }
}
