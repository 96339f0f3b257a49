//! Reading the URI, without telling the password that is in it.

use mongodb::options::ClientOptions;

use crate::failure::{Told, hint};

/// What the URI says.
///
/// # Errors
/// What is wrong with it. The driver quotes what it does not understand, and where a password is not encoded, that is a part of the password.
pub(crate) async fn parse(uri: &str) -> Result<ClientOptions, Told> {
    if !uri.contains("://") {
        return Err(Told(
            "the URI: it has no scheme; write `mongodb://` before the server's name".to_owned(),
        ));
    }
    if has_two(uri) {
        return Err(Told(with_advice("there is more than one `@` in it")));
    }
    ClientOptions::parse(uri).await.map_err(|error| {
        let text = error.kind.to_string();
        if !uri.contains('@') {
            return Told(format!("{text}{}", hint(&error)));
        }
        let text = if is_told(uri, &text) { "it cannot be read" } else { &text };
        Told(with_advice(text))
    })
}

fn with_advice(text: &str) -> String {
    format!(
        "the URI: {text}; user and password in it must be percent-encoded: `%` as `%25`, `@` as `%40`, `:` as `%3A`, `/` as `%2F`, `?` as `%3F`"
    )
}

/// Whether users and hosts are divided at more than one place.
fn has_two(uri: &str) -> bool {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default().matches('@').count() > 1
}

/// Whether a part of what may be a user or a password is in `text`.
fn is_told(uri: &str, text: &str) -> bool {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let secret = rest.rsplit_once('@').map_or("", |(secret, _)| secret);
    let parts = secret.split(|sign: char| ":/?#[]@%,".contains(sign));
    // As it stands there, and behind the two digits of an encoded sign.
    parts
        .flat_map(|part| [Some(part), part.get(2..)])
        .flatten()
        .any(|part| !part.is_empty() && text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_what_stands_before_the_host_are_seen() {
        assert!(is_told("mongodb://robot:se/cret@db/?w=1", "the port must be a number, got se"));
        assert!(is_told("mongodb://robot:a%40secret@db", "of secret"));
        assert!(!is_told("mongodb://robot:secret@db/?w=x", "`w` is no number"));
        assert!(!is_told("mongodb://db/?w=x", "option `w` must be a number"));
    }

    #[tokio::test]
    async fn a_scheme_that_is_missing_is_asked_for() {
        let Err(Told(text)) = parse("localhost:27017").await else { panic!("it is no URI") };
        assert!(text.contains("write `mongodb://` before"), "{text}");
    }

    #[test]
    fn one_at_sign_divides_users_from_hosts() {
        assert!(has_two("mongodb://robot:p@ss@db"));
        assert!(!has_two("mongodb://robot:pass@db/?appName=a@b"));
    }
}
