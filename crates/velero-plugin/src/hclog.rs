//! Log lines in the form that Velero reads from a plug-in's stderr: one JSON object per line.
//!
//! What is not in exactly this form is logged at debug level at best. `@message` that is no string panics the *Velero
//! server*, and so does a field `name`, `namespace` or `resource` that is none: every value here is a string.
//! `@timestamp` is left out, for Velero takes one layout only, and has its own clock. A line of level error counts as an
//! error of the running backup, a line of level warn as a warning.

use crate::stderr;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Velero reads lines of up to 64 KiB; a longer one is logged in pieces at debug level.
pub(crate) const MAX_LINE: usize = 60 * 1024;
/// What is kept of each value of a line that is too long, tried one after the other. A control character takes six bytes in
/// JSON, so the first may not be enough.
const MAX_VALUE: [usize; 3] = [32 * 1024, 4 * 1024, 256];

/// Crates below the actions: at Velero's level debug they tell of every frame, and a warning of theirs (a broken watch, a
/// certificate not checked) would count as a warning of the backup.
const QUIET: [&str; 8] = ["h2", "hyper", "hyper_util", "kube_client", "kube_runtime", "rustls", "tonic", "tower"];

/// Writes events as hclog JSON to stderr.
#[derive(Debug, Default)]
pub struct HclogLayer(());

impl HclogLayer {
    /// The layer; put it on a `tracing_subscriber::Registry`.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

/// Makes [`HclogLayer`] the process's log, unless the program has chosen one already.
pub(crate) fn install(level: LevelFilter) {
    let quiet = QUIET.iter().map(|target| (*target, level.min(LevelFilter::ERROR)));
    let filter = Targets::new().with_default(level).with_targets(quiet);
    // An error means that there is a subscriber: the program's choice stands.
    let _ = tracing_subscriber::registry().with(HclogLayer::new().with_filter(filter)).try_init();
}

/// Fields of a span or event, all of them text.
#[derive(Debug, Default, Clone)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        let key = match (field.name(), field.name().trim_start_matches('@')) {
            ("message", _) => "@message".to_owned(),
            // Velero drops these, and reads `@…` itself.
            (_, taken @ ("time" | "timestamp" | "level")) => format!("{taken}_"),
            (_, name) => name.to_owned(),
        };
        self.0.insert(key, Value::String(cut(value, MAX_VALUE[0])));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.put(field, text);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// hclog's names; "warning" is not one of them.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// One entry, with its end. `fields` are all text.
pub(crate) fn line(level: Level, source: Option<String>, fields: Map<String, Value>) -> String {
    let mut all = Map::new();
    all.insert("@level".to_owned(), level_name(level).into());
    all.insert("@message".to_owned(), "".into());
    if let Some(source) = source {
        all.insert("logSource".to_owned(), source.into());
        all.insert("@logSourceSetBy".to_owned(), "plugin".into());
    }
    all.extend(fields);
    let mut text = Value::Object(all.clone()).to_string();
    for max in MAX_VALUE {
        if text.len() <= MAX_LINE {
            break;
        }
        for value in all.values_mut() {
            if let Value::String(value) = value {
                *value = cut(std::mem::take(value), max);
            }
        }
        text = Value::Object(all.clone()).to_string();
    }
    if text.len() > MAX_LINE {
        // So many fields that not even the start of each has room.
        all.retain(|key, _| key.starts_with('@'));
        text = Value::Object(all).to_string();
    }
    text.push('\n');
    text
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for HclogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        fields.0.retain(|_, value| value != "");
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().into_iter().rev() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let source = metadata.file().map(|file| format!("{file}:{}", metadata.line().unwrap_or_default()));
        stderr::write(&line(*metadata.level(), source, fields.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Seen(std::sync::Arc<std::sync::Mutex<Vec<Value>>>);

    /// Does what the layer does, into memory.
    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let text = line(*event.metadata().level(), Some("a.rs:1".to_owned()), fields.0);
            assert!(text.ends_with('\n') && text.len() < 64 * 1024, "{}", text.len());
            self.0.lock().unwrap().push(serde_json::from_str(&text).unwrap());
        }
    }

    fn logged(log: impl FnOnce()) -> Value {
        let seen = Seen::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(seen.clone()), log);
        seen.0.lock().unwrap().pop().unwrap()
    }

    #[test]
    fn every_value_is_text_and_no_timestamp_is_set() {
        let got = logged(|| tracing::warn!(name = 7, resource = ?None::<u8>, ok = true, time = 1, "n {}", 1));
        for (key, value) in got.as_object().unwrap() {
            assert!(value.is_string(), "{key} is {value}");
        }
        assert_eq!(got["@level"], "warn");
        assert_eq!(got["@message"], "n 1");
        assert_eq!(got["name"], "7");
        assert_eq!(got["time_"], "1");
        assert!(got.get("@timestamp").is_none());
    }

    #[test]
    fn fields_cannot_pass_for_what_velero_reads_itself() {
        let got = logged(|| tracing::info!("@level" = 1, "@message" = "no", "@timestamp" = "t", "the message"));
        assert_eq!((&got["@level"], &got["@message"]), (&"info".into(), &"the message".into()));
        assert_eq!((&got["level_"], &got["message"], &got["timestamp_"]), (&"1".into(), &"no".into(), &"t".into()));
    }

    #[test]
    fn a_message_is_there_even_if_the_event_has_none() {
        assert_eq!(logged(|| tracing::info!(a = "b"))["@message"], "");
    }

    #[test]
    fn long_lines_stay_below_velero_s_limit() {
        let long = "ü\"".repeat(100_000);
        let got = logged(|| tracing::info!(a = %long, b = %long, c = %long, d = %long, e = %long, "{long}"));
        assert_eq!(got["@level"], "info");
        // Six bytes for each.
        let got = logged(|| tracing::info!(a = "kept", "{}", "\u{1}".repeat(100_000)));
        assert_eq!(got["a"], "kept");
        assert!(got["@message"].as_str().unwrap().len() > 4000);
    }

    #[test]
    fn a_text_of_many_lines_is_kept_whole() {
        let text = "a\nb\r\n\u{2028}".repeat(1000);
        assert_eq!(logged(|| tracing::info!("{text}"))["@message"], *text);
    }
}
