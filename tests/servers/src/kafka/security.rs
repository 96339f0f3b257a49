//! Listeners with TLS and SASL: certificates, made once by the JDK's `keytool`, and a user with a password. All of it is for tests on this
//! machine: the secrets are no secrets.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ServerError;
use crate::{install, java, place};

/// The name of the user whom brokers let in.
const USER: &str = "watermill";
/// The user's password, and that of all stores of keys. It has what has to be quoted somewhere.
const PASSWORD: &str = "for-tests only";

/// How the listeners with TLS and SASL are reached.
#[derive(Debug, Clone)]
pub struct Security {
    tls: String,
    sasl: String,
    certificates: Certificates,
}

/// Files of an authority of our own, and of a node whose certificate it has signed.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    authority: PathBuf,
    trusted: PathBuf,
    node: PathBuf,
}

impl Security {
    pub(super) fn new(tls: String, sasl: String, certificates: Certificates) -> Self {
        Self { tls, sasl, certificates }
    }

    /// The addresses of the listeners with TLS (`security.protocol=SSL`), for everyone.
    #[must_use]
    pub fn tls_bootstrap(&self) -> &str {
        &self.tls
    }

    /// The addresses of the listeners with TLS and SASL (`security.protocol=SASL_SSL`), by `PLAIN` or `SCRAM-SHA-512`.
    #[must_use]
    pub fn sasl_bootstrap(&self) -> &str {
        &self.sasl
    }

    /// The user whom brokers let in.
    #[must_use]
    pub fn user(&self) -> &str {
        USER
    }

    /// The user's password.
    #[must_use]
    pub fn password(&self) -> &str {
        PASSWORD
    }

    /// The certificate of the authority that has signed those of the brokers, in the format PEM. Theirs are for `127.0.0.1` and `localhost`.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.certificates.authority
    }

    /// The same as a store for Java, of the type `PKCS12`, with [`Security::store_password`].
    #[must_use]
    pub fn truststore(&self) -> &Path {
        &self.certificates.trusted
    }

    /// The password of the store.
    #[must_use]
    pub fn store_password(&self) -> &str {
        PASSWORD
    }

    /// The properties of a Java client for the listener with TLS.
    #[must_use]
    pub fn tls_properties(&self) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            own("security.protocol", "SSL"),
            own("ssl.truststore.type", "PKCS12"),
            own("ssl.truststore.location", &self.certificates.trusted.to_string_lossy()),
            own("ssl.truststore.password", PASSWORD),
        ]
    }

    /// The properties of a Java client for the listener with SASL: with this mechanism, user and password.
    #[must_use]
    pub fn sasl_properties(&self, mechanism: &str, user: &str, password: &str) -> Vec<(String, String)> {
        let module = match mechanism {
            "PLAIN" => "org.apache.kafka.common.security.plain.PlainLoginModule",
            _ => "org.apache.kafka.common.security.scram.ScramLoginModule",
        };
        let mut properties = self.tls_properties();
        properties.retain(|(name, _)| name != "security.protocol");
        properties.push(("security.protocol".to_owned(), "SASL_SSL".to_owned()));
        properties.push(("sasl.mechanism".to_owned(), mechanism.to_owned()));
        let jaas = format!("{module} required username=\"{user}\" password=\"{password}\";");
        properties.push(("sasl.jaas.config".to_owned(), jaas));
        properties
    }
}

/// What a broker's properties say of the listeners.
pub(super) fn properties(certificates: &Certificates) -> String {
    format!(
        "ssl.keystore.type=PKCS12
ssl.keystore.location={}
ssl.keystore.password={PASSWORD}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
",
        certificates.node.display()
    )
}

/// The user, as the formatting of a broker's storage is told.
pub(super) fn scram() -> String {
    format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")
}

impl Certificates {
    /// Those that are there, or new ones.
    pub(super) fn get() -> Result<Self, ServerError> {
        let directory = place::once("kafka-certificates", STEPS, |directory| {
            for step in STEPS.lines() {
                let mut keytool = Command::new(java::program("keytool"));
                keytool.args(step.split(' ')).args(["-storepass", PASSWORD]).current_dir(directory);
                install::run(keytool, "keytool")?;
            }
            Ok(())
        })?;
        Ok(Self {
            authority: directory.join("authority.pem"),
            trusted: directory.join("trusted.p12"),
            node: directory.join("node.p12"),
        })
    }
}

/// Calls of `keytool`: an authority, its certificate as others want it, a node, and its certificate signed by the authority.
const STEPS: &str = "\
-genkeypair -keystore authority.p12 -alias authority -dname CN=watermill-tests -keyalg EC -groupname secp256r1 -validity 36500 -ext bc:critical=ca:true -ext ku:critical=keyCertSign
-exportcert -keystore authority.p12 -alias authority -rfc -file authority.pem
-importcert -keystore trusted.p12 -alias authority -file authority.pem -noprompt
-genkeypair -keystore node.p12 -alias node -dname CN=localhost -keyalg EC -groupname secp256r1 -validity 36500
-certreq -keystore node.p12 -alias node -file node.csr
-gencert -keystore authority.p12 -alias authority -infile node.csr -outfile node.pem -rfc -validity 36500 -ext san=ip:127.0.0.1,dns:localhost -ext eku=serverAuth
-importcert -keystore node.p12 -alias authority -file authority.pem -noprompt
-importcert -keystore node.p12 -alias node -file node.pem -noprompt";
