//! Listeners with TLS and SASL let in who is to be let in.

use watermill_servers::{Kafka, KafkaOptions};

#[test]
fn the_right_password_is_let_in_and_a_wrong_one_is_not() {
    let kafka = Kafka::start(KafkaOptions::new().secured()).unwrap();
    let security = kafka.security().unwrap();
    let pem = std::fs::read_to_string(security.authority()).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    kafka.create_topic("seen", 1, 1, &[]).unwrap();

    let tls = kafka.client_at(security.tls_bootstrap(), &security.tls_properties()).unwrap();
    assert_eq!(tls.topics().unwrap(), ["seen"]);
    // The answer has the addresses of the listener that was asked.
    assert_eq!(tls.nodes().unwrap()[0].address, security.tls_bootstrap());

    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let with = |password| {
            let properties = security.sasl_properties(mechanism, security.user(), password);
            kafka.client_at(security.sasl_bootstrap(), &properties).unwrap().topics()
        };
        assert_eq!(with(security.password()).unwrap(), ["seen"], "{mechanism}");
        let refused = with("guessed").unwrap_err();
        assert_eq!(refused.refusal(), Some("SaslAuthenticationException"), "{refused}");
    }

    // Nobody vouches for the broker's certificate.
    let trusting_nobody = [("security.protocol", "SSL")];
    let refused = kafka.client_at(security.tls_bootstrap(), &trusting_nobody).unwrap().topics().unwrap_err();
    assert_eq!(refused.refusal(), Some("SslAuthenticationException"), "{refused}");
    assert!(Kafka::shared().unwrap().security().is_err());
}
