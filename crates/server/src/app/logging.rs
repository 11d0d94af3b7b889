//! Logs: one line per event, on standard error.
//!
//! A line never waits for standard error: see [`BackgroundWriter`].
//!
//! Input of clients cannot break a line: JSON escapes it, and the format for people escapes every control
//! character of messages and fields, so that a client cannot forge a line or move the cursor.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use model::Clock;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::app::background_writer::BackgroundWriter;
use crate::config::{LogFilter, LogFormat, TelemetryConfig};

/// Changes the log filter while the process runs.
#[derive(Clone)]
pub struct Logging(reload::Handle<EnvFilter, Registry>);

impl Logging {
    /// Replaces the log filter.
    pub fn set(&self, filter: &LogFilter) -> Result<(), LoggingError> {
        self.0.reload(parse(filter)?).map_err(|why| LoggingError(why.to_string()))
    }
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logging")
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("logging: {0}")]
pub struct LoggingError(String);

/// Starts the writer of standard error, for log lines and for the last message of a command.
///
/// # Errors
/// The system starts no thread.
pub fn standard_error() -> io::Result<BackgroundWriter> {
    let report = |lines| tracing::warn!(lines, "log lines were dropped: standard error did not accept them");
    BackgroundWriter::start("standard error", io::stderr(), report)
}

/// Initialises logging for the process; may be called once. Lines go to `to`. A panic is logged instead of
/// being written to standard error by the thread that panics.
pub fn init(config: &TelemetryConfig, clock: &Clock, to: &BackgroundWriter) -> Result<Logging, LoggingError> {
    let terminal = io::stderr().is_terminal();
    let (filter, handle) = reload::Layer::new(parse(&config.log_level)?);
    let to = to.clone();
    let lines = lines(config.log_format, terminal, clock, move || to.clone());
    let set_up = tracing_subscriber::registry().with(filter).with(lines).try_init();
    set_up.map_err(|why| LoggingError(why.to_string()))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Logging(handle))
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a value that is not text");
    let location = panic.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(location, backtrace, "panicked: {message}");
}

fn parse(filter: &LogFilter) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(filter.as_str()).map_err(|why| LoggingError(why.to_string()))
}

/// The layer that writes lines to `writer`.
fn lines<S, W>(
    format: LogFormat,
    terminal: bool,
    clock: &Clock,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync + 'static>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let pretty = match format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal);
    if pretty {
        layer.compact().with_timer(Time(clock.clone())).fmt_fields(debug_fn(field).delimited(" ")).boxed()
    } else {
        layer.json().flatten_event(true).with_current_span(false).with_timer(Time(clock.clone())).boxed()
    }
}

/// RFC 3339, from the clock of the application.
struct Time(Clock);

impl FormatTime for Time {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", self.0.now())
    }
}

/// Writes a field as `key=value`, and the message as it is, both escaped.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut text = String::new();
    if field.name() != "message" {
        text.push_str(field.name());
        text.push('=');
    }
    escape(&format!("{value:?}"), &mut text);
    writer.write_str(&text)
}

/// Whether a character can end a line, move the cursor or change the text direction.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes text with those characters escaped.
pub(crate) fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        if is_dangerous(c) {
            into.extend(c.escape_default());
        } else {
            into.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use model::Now;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, terminal: bool, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let clock = Clock::test(Now::from_seconds(0));
        let layer = lines(format, terminal, &clock, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    fn log_an_attack() {
        let forged = "x\n2026-01-01T00:00:00Z INFO all is well\r\x1b[2J\u{202e}\u{9b}";
        tracing::warn!(target: "t", user_agent = forged, shown = %forged, count = 3, "odd: {forged}");
    }

    #[test]
    fn client_input_cannot_forge_a_log_line() {
        for terminal in [false, true] {
            let text = written(LogFormat::Pretty, terminal, log_an_attack);
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            // The formatter's own: dim, yellow, plain.
            let colours = ["\x1b[2m", "\x1b[33m", "\x1b[0m"];
            let ours = colours.iter().fold(text, |text, code| text.replace(code, ""));
            assert!(!ours.trim_end_matches('\n').contains(is_dangerous), "{ours:?}");
            assert!(ours.starts_with("1970-01-01T00:00:00Z  WARN t: odd: x\\n2026"), "{ours}");
            assert!(ours.contains(" count=3") && ours.contains(" user_agent=\"x\\n2026"), "{ours}");
            assert!(ours.contains(" shown=x\\n2026"), "{ours}");
        }
    }

    #[test]
    fn json_is_one_object_a_line_with_flat_fields() {
        let text = written(LogFormat::Json, true, log_an_attack);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.starts_with("{\"timestamp\":\"1970-01-01T00:00:00Z\",\"level\":\"WARN\""), "{text}");
        assert!(text.contains("\"count\":3") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn auto_is_pretty_on_a_terminal_and_json_elsewhere() {
        let log = || tracing::info!("hello");
        assert!(written(LogFormat::Auto, true, log).contains("INFO"));
        assert!(written(LogFormat::Auto, false, log).starts_with('{'));
    }
}
