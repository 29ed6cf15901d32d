//! Command line arguments.

use std::path::PathBuf;

use clap::Parser;
use kinesis_sandbox::{SandboxConfig, ShardLimits};

/// A Kinesis on one's own machine, for demo, tests and benchmarks
#[derive(Debug, Parser)]
#[command(
    name = "kinesis-sandbox",
    version,
    after_help = "\
The first line on stdout is \"listening on http://127.0.0.1:PORT\", with --tls-port the second one
\"listening on https://127.0.0.1:PORT\"; by then the certificate is written. SIGTERM and SIGINT end it.
Everything is in memory. Knobs and counters: POST /sandbox/knobs, GET /sandbox/stats, POST /sandbox/reset.
KINESIS_SANDBOX_LOG sets the log's level on stderr (e.g. debug; default warn)."
)]
pub(crate) struct Args {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 4567)]
    port: u16,
    /// Port on 127.0.0.1 for HTTPS beside the plain one; 0 takes a free one [default: none]
    #[arg(long, value_name = "N", requires = "tls_cert_file")]
    tls_port: Option<u16>,
    /// Where to write the certificate (PEM) that clients of the HTTPS port have to trust
    #[arg(long, value_name = "PATH", requires = "tls_port")]
    tls_cert_file: Option<PathBuf>,
    /// Requests under way on one HTTP/2 connection
    #[arg(long, value_name = "N", default_value_t = SandboxConfig::default().http2_streams)]
    http2_streams: u32,
    /// Open shards of all streams together
    #[arg(long, value_name = "N", default_value_t = SandboxConfig::default().shard_limit)]
    shard_limit: usize,
    /// Maximum record size of new streams, 1024 to 10240 [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1024..=10_240))]
    max_record_kib: Option<i64>,
    /// How long a stream or consumer is not ACTIVE after a change
    #[arg(long, value_name = "MS", default_value_t = SandboxConfig::default().transition_ms)]
    transition_ms: u64,
    /// How old a shard iterator may grow
    #[arg(long, value_name = "MS", default_value_t = SandboxConfig::default().iterator_max_age_ms)]
    iterator_max_age_ms: u64,
    /// Enforce a shard's limits: 1 MiB and 1000 records a second written, 2 MiB and 5 GetRecords calls a second read
    #[arg(long)]
    shard_throughput: bool,
    /// Answer this access key id with UnrecognizedClientException; may be repeated
    #[arg(long, value_name = "ID")]
    reject_key: Vec<String>,
    /// Seed of random faults
    #[arg(long, value_name = "N", default_value_t = SandboxConfig::default().seed)]
    seed: u64,
}

impl Args {
    /// Returns the sandbox's configuration, and the file for its certificate.
    pub(crate) fn into_parts(self) -> (SandboxConfig, Option<PathBuf>) {
        let config = SandboxConfig {
            port: self.port,
            tls_port: self.tls_port,
            http2_streams: self.http2_streams,
            shard_limit: self.shard_limit,
            max_record_kib: self.max_record_kib,
            transition_ms: self.transition_ms,
            iterator_max_age_ms: self.iterator_max_age_ms,
            shard_limits: self.shard_throughput.then(ShardLimits::default),
            rejected_keys: self.reject_key,
            seed: self.seed,
        };
        (config, self.tls_cert_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<(SandboxConfig, Option<PathBuf>), String> {
        Args::try_parse_from(std::iter::once("kinesis-sandbox").chain(args.iter().copied()))
            .map(Args::into_parts)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn reads_both_forms() {
        let (config, certificate) = parse(&[
            "--port",
            "0",
            "--tls-port=7",
            "--tls-cert-file",
            "ca.pem",
            "--seed=9",
            "--shard-throughput",
            "--reject-key",
            "A",
            "--reject-key=B",
        ])
        .unwrap();
        assert_eq!((config.port, config.seed, config.rejected_keys.len()), (0, 9, 2));
        assert_eq!((config.tls_port, certificate), (Some(7), Some("ca.pem".into())));
        assert_eq!(config.shard_limits, Some(ShardLimits::default()));
    }

    #[test]
    fn defaults_are_the_services() {
        let (config, certificate) = parse(&[]).unwrap();
        let expected = SandboxConfig {
            port: 4567,
            ..SandboxConfig::default()
        };
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
        assert_eq!(certificate, None);
    }

    #[test]
    fn refuses_with_a_reason() {
        for (args, reason) in [
            (&["--prot", "1"][..], "unexpected argument '--prot' found"),
            (&["--tls-port=0"], "--tls-cert-file <PATH>"),
            (&["--tls-cert-file=x"], "--tls-port <N>"),
            (&["--port"], "a value is required for '--port <N>'"),
            (&["--port", "x"], "invalid value 'x' for '--port <N>'"),
            (&["--port=70000"], "70000 is not in 0..=65535"),
            (
                &["--shard-throughput=1"],
                "unexpected value '1' for '--shard-throughput'",
            ),
            (&["--max-record-kib", "1"], "1 is not in 1024..=10240"),
        ] {
            let refusal = parse(args).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}
