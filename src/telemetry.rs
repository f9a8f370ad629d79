//! Logs to standard error, metrics for the admin listener to show.

use std::{io::IsTerminal, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::time::SystemTime, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `PASSKEY_HSM_LOG` is no filter.
    #[error("environment variable PASSKEY_HSM_LOG: {0}; write a level or a list such as info,passkey_hsm::hsm=debug")]
    Filter(#[from] ParseError),
    /// Somebody else already set the process's logger.
    #[error("the process already has a logger")]
    Logger(#[from] tracing_subscriber::util::TryInitError),
    /// The metrics' buckets are wrong, or somebody else already set the process's recorder.
    #[error("metrics cannot be recorded: {0}")]
    Recorder(String),
}

/// Sets the process's logger: standard error, for people (colours on a terminal only) or one JSON object a line.
///
/// Standard output stays free for what a command answers.
///
/// # Errors
/// A filter that cannot be read, or a second call in one process.
pub fn init_logs(log: &Log) -> Result<(), Error> {
    let filter = match &log.filter {
        Some(directives) => EnvFilter::builder().parse(directives)?,
        None => EnvFilter::default().add_directive(log.level.into()),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_timer(SystemTime);
    match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()?,
    }
    Ok(())
}

/// Upper bounds of the buckets of every histogram in seconds: from a signature in software to a slow HSM's time limit.
const SECONDS: [f64; 13] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// How often [`Metrics::upkeep`] empties the histograms' buffers.
const UPKEEP: Duration = Duration::from_secs(5);

/// What was measured so far in this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Makes the recorder of the `metrics` crate's macros; names that end in `_seconds` are histograms with buckets.
    ///
    /// # Errors
    /// A second call in one process.
    pub fn install() -> Result<Self, Error> {
        let recorder = builder().map_err(|e| Error::Recorder(e.to_string()))?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|e| Error::Recorder(e.to_string()))?;
        Ok(Self(handle))
    }

    /// All metrics in the text format of Prometheus (`text/plain; version=0.0.4`).
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Runs for ever. Without it a histogram that nobody scrapes grows without bound.
    pub async fn upkeep(self) {
        let mut interval = tokio::time::interval(UPKEEP);
        loop {
            interval.tick().await;
            self.0.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_counters_and_bucketed_seconds() {
        let recorder = builder().unwrap().build_recorder();
        let metrics = Metrics(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("signatures_total", "alg" => "ES256").increment(3);
            metrics::histogram!("sign_seconds").record(0.003);
        });
        let text = metrics.render();
        assert!(text.contains("signatures_total{alg=\"ES256\"} 3"), "{text}");
        assert!(text.contains("sign_seconds_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("sign_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }

    #[test]
    fn refuses_a_filter_that_is_none() {
        let log = Log { format: LogFormat::Text, level: tracing::Level::INFO, filter: Some("info,=bad=".to_owned()) };
        let error = init_logs(&log).unwrap_err();
        assert!(error.to_string().contains("PASSKEY_HSM_LOG"), "{error}");
    }
}
