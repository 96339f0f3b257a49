//! Errors of this broker: which topic and partition, what was attempted, why, and what to do.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use watermill_core::error::{BoxError, BrokerError};

/// What the broker is called in messages.
pub(crate) const NAME: &str = "KafkaBroker";

/// An error of this broker.
pub(crate) fn failure(action: &str, location: impl fmt::Display, cause: impl Into<BoxError>) -> BrokerError {
    BrokerError {
        broker: NAME.to_owned(),
        action: action.to_owned(),
        location: location.to_string(),
        cause: cause.into(),
    }
}

/// An error of the client, with what to do where its code tells.
pub(crate) fn client_failure(action: &str, location: impl fmt::Display, cause: KafkaError) -> BrokerError {
    let hint = match &cause {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => hint_of_build(&cause.to_string()),
        _ => cause.rdkafka_error_code().map_or("", hint),
    };
    failure(action, format_args!("{location}{hint}"), cause)
}

/// What to do where librdkafka was built without what is asked for.
fn hint_of_build(text: &str) -> &'static str {
    if text.contains("OpenSSL") || text.contains("SCRAM") {
        return " (TLS and SCRAM need the feature `kafka-tls` or `kafka-tls-vendored`)";
    }
    ""
}

/// What to do about an error.
pub(crate) fn hint(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Resolve => " (check the name of the server)",
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut => {
            " (check that the servers are up and can be reached, and whether they want TLS)"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => " (check user and password)",
        Code::SSL => " (check the certificates, of which `KafkaBroker::tls` says which are trusted)",
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => " (ask for the right to do so)",
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            " (the topic is gone, or was never made)"
        }
        Code::MessageSizeTooLarge => {
            " (raise `max.message.bytes` of the topic and `message.max.bytes` of the client, or leave such results out by `on_refused`)"
        }
        _ => "",
    }
}

/// A message of the server or of librdkafka, as a cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Told(pub(crate) String);
