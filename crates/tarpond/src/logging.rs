//! The log: to standard error, for the journal.

use config::LogLevel;
use tracing_subscriber::EnvFilter;

/// Starts logging at `level`; `RUST_LOG` overrides it. Under systemd the journal adds the time itself.
pub fn start(level: LogLevel) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.word()));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(rustix::termios::isatty(std::io::stderr()));
    if journal {
        builder.without_time().init();
    } else {
        builder.init();
    }
}

/// The EAL's messages as ours.
pub fn dpdk_sink() -> dpdk::LogSink {
    use dpdk::LogLevel as Level;
    Box::new(|level, text| match level {
        Level::Error => tracing::error!("dpdk: {text}"),
        Level::Warning => tracing::warn!("dpdk: {text}"),
        Level::Notice | Level::Info => tracing::info!("dpdk: {text}"),
        Level::Debug => tracing::debug!("dpdk: {text}"),
    })
}
