//! How a program starts to log: lines for people or JSON for machines, on stderr, filtered; traces beside it.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// What a program wants to log.
#[derive(Debug, Clone, Copy)]
pub struct LogPlan<'a> {
    /// Directives of `tracing`; `off` for nothing.
    pub filter: &'a str,
    /// Directives that come first, so that `filter` may still undo them: libraries that say too much.
    pub quiet: &'a str,
    /// `text` or `json`.
    pub format: &'a str,
    /// Whether text is coloured.
    pub colour: bool,
}

/// Something beside the log that hears of spans.
pub type Beside = Box<dyn Layer<Registry> + Send + Sync>;

/// Why a program does not log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be understood.
    #[error("not a log filter: `{filter}`")]
    Filter {
        /// What was given.
        filter: String,
    },
    /// There is no such format.
    #[error("not a log format (`text` or `json`): `{format}`")]
    Format {
        /// What was given.
        format: String,
    },
    /// It logs already.
    #[error("logging was started twice")]
    Started,
}

/// What lines may look like.
pub const FORMATS: [&str; 2] = ["text", "json"];

/// Starts to log, once a process.
///
/// # Errors
/// See [`LogError`].
pub fn start(plan: LogPlan<'_>, beside: Option<Beside>) -> Result<(), LogError> {
    let registry = Registry::default().with(beside);
    let layer = layer(plan, io::stderr)?;
    tracing::subscriber::set_global_default(registry.with(layer)).map_err(|_| LogError::Started)
}

fn layer<S, W>(plan: LogPlan<'_>, writer: W) -> Result<Box<dyn Layer<S> + Send + Sync>, LogError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let LogPlan { filter, quiet, format, colour } = plan;
    let directives = if quiet.is_empty() { filter.to_owned() } else { format!("{quiet},{filter}") };
    let wrong = |_| LogError::Filter { filter: filter.to_owned() };
    let filter = EnvFilter::try_new(directives).map_err(wrong)?;
    let layer = fmt::layer().with_writer(writer);
    match format {
        "text" => Ok(layer.with_ansi(colour).with_filter(filter).boxed()),
        "json" => Ok(layer.json().with_filter(filter).boxed()),
        other => Err(LogError::Format { format: other.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: &str) -> String {
        let page = Page::default();
        let writer = page.clone();
        let plan = LogPlan { filter, quiet: "loud=off", format, colour: false };
        let layer = layer(plan, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let span = tracing::error_span!("attempt", job = "j1", trace_id = tracing::field::Empty);
            span.record("trace_id", "t1");
            let _in = span.enter();
            tracing::info!(seconds = 3, "done");
            tracing::debug!("hidden");
            tracing::error!(target: "loud", "hidden");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_carry_job_and_trace() {
        let text = logged("info", "text");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("attempt{job=\"j1\" trace_id=\"t1\"}") && text.contains("done seconds=3"),
            "{text}"
        );
        let line: serde_json::Value = serde_json::from_str(&logged("info", "json")).unwrap();
        assert_eq!((&line["span"]["job"], &line["span"]["trace_id"]), (&"j1".into(), &"t1".into()));
        assert_eq!((&line["fields"]["message"], &line["fields"]["seconds"]), (&"done".into(), &3.into()));
        assert_eq!(logged("off", "text"), "");
        assert_eq!(logged("info,loud=error", "text").lines().count(), 2);
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let plan = |filter, format| LogPlan { filter, quiet: "", format, colour: false };
        let refused = |plan| layer::<Registry, _>(plan, io::stderr).err().unwrap();
        assert_eq!(refused(plan("a=b=c", "text")), LogError::Filter { filter: "a=b=c".into() });
        assert_eq!(refused(plan("info", "xml")), LogError::Format { format: "xml".into() });
    }
}
