//! Certificates for a server with TLS, of an authority that is made for it alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::error::ServerError;
use crate::place;

/// Files in the format PEM.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    /// New ones, in `directory`.
    pub(super) fn make(directory: &Path) -> Result<Self, ServerError> {
        place::create(directory)?;
        let made = Self {
            authority: directory.join("authority.pem"),
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
        };
        let texts = texts().map_err(|cause| ServerError::Unfit {
            what: format!("certificates cannot be made ({cause})"),
            remedy: "look at `tests/servers/src/mongodb/security.rs`",
        })?;
        for (file, text) in [&made.authority, &made.certificate, &made.key].into_iter().zip(texts) {
            place::write(file, &text)?;
        }
        Ok(made)
    }

    pub(super) fn authority(&self) -> &Path {
        &self.authority
    }

    /// What the server is told.
    pub(super) fn arguments(&self) -> [OsString; 4] {
        [
            "--tls-cert-file".into(),
            self.certificate.clone().into(),
            "--tls-key-file".into(),
            self.key.clone().into(),
        ]
    }
}

/// The authority's certificate, the server's, and the server's key.
fn texts() -> Result<[String; 3], rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "watermill-tests");
    let authority_key = KeyPair::generate()?;
    let authority_text = authority.self_signed(&authority_key)?.pem();
    let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let server_key = KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &Issuer::new(authority, authority_key))?;
    Ok([authority_text, certificate.pem(), server_key.serialize_pem()])
}
