//! TLS and SASL on a real listener. Builds OpenSSL, which takes minutes: `cargo test -p watermill-kafka --features tls-vendored --test tls`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{Here, Next, Speed, end, expected, fill, results, speeds, told};
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Kafka, KafkaOptions, unique};

#[test]
fn tls_with_and_without_passwords() {
    let kafka = Kafka::start(KafkaOptions::new().secured()).unwrap();
    let security = kafka.security().unwrap();
    let from = kafka.fresh_topic("locations", 2).unwrap();
    fill(&kafka, &from, 2, 0..100);
    end(&kafka, &from, 2);
    let authority = security.authority().to_str().unwrap();
    let at = |servers: &str, to: &str| {
        KafkaBroker::new(servers, unique("secured"))
            .read::<Here>(&from)
            .read::<Next>(&from)
            .write::<Speed>(to)
            .retry_for(Duration::from_secs(5))
    };
    type Way<'a> = Box<dyn Fn(&str) -> KafkaBroker + 'a>;
    let sasl = |mechanism: &'static str| -> Way<'_> {
        Box::new(move |to| {
            let broker = at(security.sasl_bootstrap(), to).tls(Some(authority));
            broker.sasl(mechanism, security.user(), security.password())
        })
    };
    let plain: Way<'_> = Box::new(|to| at(security.tls_bootstrap(), to).tls(Some(authority)));
    for way in [plain, sasl("SCRAM-SHA-512"), sasl("PLAIN")] {
        let to = kafka.fresh_topic("speeds", 2).unwrap();
        let report = speeds().run_blocking(way(&to)).unwrap();
        assert_eq!(report.results, 180, "{report}");
        for (partition, found) in (0..).zip(results(&kafka, &to, 2)) {
            assert_eq!(found, (expected(100, partition), 1));
        }
    }

    let to = kafka.fresh_topic("speeds", 2).unwrap();
    let refused = |broker: KafkaBroker, contents: &[&str]| {
        let begin = Instant::now();
        let error = told(&speeds().run_blocking(broker).unwrap_err());
        for content in contents {
            assert!(error.contains(content), "{content:?} is not in: {error}");
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}: {error}", begin.elapsed());
    };
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let wrong = at(security.sasl_bootstrap(), &to).sasl(mechanism, security.user(), "guessed");
        refused(wrong.tls(Some(authority)), &["check user and password", security.sasl_bootstrap()]);
    }
    // Nobody that is trusted vouches for the broker.
    let stranger = at(security.tls_bootstrap(), &to).tls(None);
    refused(stranger, &["check the certificates", security.tls_bootstrap()]);
    // Spoken to without TLS.
    refused(at(security.tls_bootstrap(), &to), &["cannot reach", security.tls_bootstrap(), "TLS"]);
}
