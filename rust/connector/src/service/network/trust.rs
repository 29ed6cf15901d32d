//! Certificates to trust.

use std::path::Path;
use std::sync::OnceLock;

use aws_smithy_http_client::tls::TrustStore;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::NetworkFailure;
use crate::error::ErrorKind;

/// Certificate file for AWS only, as read by AWS's tools.
const BUNDLE: &str = "AWS_CA_BUNDLE";
/// Certificate file and folders for all programs, as read by OpenSSL's.
const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// Certificates to trust: only those of `AWS_CA_BUNDLE`, otherwise only those of `SSL_CERT_FILE` and `SSL_CERT_DIR`,
/// otherwise the system's.
#[derive(Clone, Debug)]
pub(super) struct Trusted {
    pub store: TrustStore,
    /// Where the certificates come from.
    pub source: String,
}

impl Trusted {
    /// The certificates selected by this process's environment.
    pub fn of_environment() -> Result<Self, NetworkFailure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = set(BUNDLE) {
            let source = format!("{BUNDLE}={}", path.display());
            return match certificates(Path::new(&path)) {
                Ok(found) => Ok(Self {
                    store: TrustStore::empty().with_pem_certificate(found),
                    source,
                }),
                Err(why) => Err(nobody(&format!("{source}: {why}"))),
            };
        }
        let source = [FILE, FOLDERS]
            .into_iter()
            .filter_map(|name| Some(format!("{name}={}", set(name)?.display())))
            .collect::<Vec<_>>();
        let source = match source.is_empty() {
            true => "the system's certificates".to_owned(),
            false => source.join(", "),
        };
        system().map_err(|why| nobody(&format!("{source}: {why}")))?;
        Ok(Self {
            store: TrustStore::default(),
            source,
        })
    }
}

fn nobody(found: &str) -> NetworkFailure {
    NetworkFailure::new(
        ErrorKind::Transport,
        format!(
            "there are no CA certificates to trust an https address by ({found}). Install the system's (as the package \
             ca-certificates), or name a PEM file with {FILE} for all programs or {BUNDLE} for AWS alone, in the \
             environment of the driver and of every executor"
        ),
    )
}

/// Checks that the HTTP client finds certificates by itself, through the variables or in the system's places. The
/// client searches only once per process.
fn system() -> Result<(), String> {
    static FOUND: OnceLock<()> = OnceLock::new();
    if FOUND.get().is_some() {
        return Ok(());
    }
    let found = rustls_native_certs::load_native_certs();
    let (good, bad) = RootCertStore::empty().add_parsable_certificates(found.certs);
    match (good, found.errors.first()) {
        (0, Some(error)) => Err(error.to_string()),
        (0, None) if bad > 0 => Err("no certificate there can be read".to_owned()),
        (0, None) => Err("no certificate is there".to_owned()),
        _ => {
            FOUND.get_or_init(|| ());
            Ok(())
        }
    }
}

/// The usable certificates of a PEM file, in PEM.
fn certificates(path: &Path) -> Result<String, String> {
    let content = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut kept = String::new();
    for certificate in CertificateDer::pem_slice_iter(&content) {
        let certificate = certificate.map_err(|error| format!("not a PEM file: {error}"))?;
        // An odd certificate doesn't spoil the others.
        if RootCertStore::empty().add(certificate.clone()).is_ok() {
            let text = BASE64_STANDARD.encode(&certificate);
            kept.push_str(&format!(
                "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
            ));
        }
    }
    match kept.is_empty() {
        true => Err("no certificate that can be trusted is in it".to_owned()),
        false => Ok(kept),
    }
}
