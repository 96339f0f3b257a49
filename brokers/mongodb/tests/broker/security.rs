//! Users, passwords and TLS, all of them given by the URI, on a server that asks for them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bson::doc;
use mongodb::Client;
use tokio::runtime::Runtime;
use watermill_mongodb::MongoBroker;
use watermill_servers::{Mongo, MongoOptions};

use crate::common::{Here, Next, Speed, expected, here, speeds, told};

/// It has what must be encoded in a URI.
const PASSWORD: &str = "p@ss/w:rd%";
const ENCODED: &str = "p%40ss%2Fw%3Ard%25";

/// Who does not get through is told so by then.
const SOON: &str = "serverSelectionTimeoutMS=1500";

/// A server with TLS and with the user `robot`, who may read and write the database `robots` and no other.
fn secured() -> &'static Mongo {
    static SECURED: OnceLock<Mongo> = OnceLock::new();
    SECURED.get_or_init(|| {
        let mongo = Mongo::start(MongoOptions::new().secured()).unwrap();
        Runtime::new().unwrap().block_on(fill(&mongo));
        mongo
    })
}

async fn fill(mongo: &Mongo) {
    let at = |user: &str| trusting(mongo, user, "");
    // The first user may be made by whoever comes from the same machine.
    let nobody = Client::with_uri_str(at("")).await.unwrap();
    let root = doc! { "createUser": "root", "pwd": "toor", "roles": ["root"] };
    nobody.database("admin").run_command(root).await.unwrap();
    let root = Client::with_uri_str(at("root:toor@")).await.unwrap();
    let database = root.database("robots");
    let roles = ["readWrite"].map(|role| doc! { "role": role, "db": "robots" });
    let user = doc! { "createUser": "robot", "pwd": PASSWORD, "roles": roles.to_vec() };
    database.run_command(user).await.unwrap();
    let index = doc! { "key": { "time": 1, "_id": 1 }, "name": "time" };
    database.run_command(doc! { "createIndexes": "here", "indexes": [index] }).await.unwrap();
    database.collection("here").insert_many((0..100).map(here)).await.unwrap();
}

/// The URI for a user, by TLS, with the server's authority trusted.
fn trusting(mongo: &Mongo, user: &str, more: &str) -> String {
    let authority = mongo.authority().unwrap().display().to_string().replace('/', "%2F");
    at(mongo, user, &format!("tls=true&tlsCAFile={authority}&{SOON}{more}"))
}

fn at(mongo: &Mongo, user: &str, options: &str) -> String {
    format!("mongodb://{user}{}/?{options}", mongo.uri().trim_start_matches("mongodb://"))
}

fn broker(uri: &str, to: &str) -> MongoBroker {
    MongoBroker::new(uri, "robots").read::<Here>("here").read::<Next>("here").write::<Speed>(to)
}

/// What a run that does not get through says, and that it says nothing of the password.
#[track_caller]
fn refused(uri: &str, parts: &[&str]) {
    let began = Instant::now();
    let broker = broker(uri, "refused");
    let shown = format!("{broker:?}");
    let text = told(&speeds().run_blocking(broker).unwrap_err());
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(!text.contains("RawDocumentBuf"), "the driver's own words: {text}");
    for secret in [PASSWORD, ENCODED, "p@ss", "w:rd", "guessed"] {
        assert!(!text.contains(secret) && !shown.contains(secret), "{secret}: {text}\n{shown}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {text}", began.elapsed());
}

#[test]
fn a_user_by_tls() {
    let mongo = secured();
    let user = format!("robot:{ENCODED}@");
    let uri = trusting(mongo, &user, "&authSource=robots");
    let report = speeds().run_blocking(broker(&uri, "speeds")).unwrap();
    assert_eq!(report.results, 90, "{report}");
    let found = Runtime::new().unwrap().block_on(async {
        let database = Client::with_uri_str(&uri).await.unwrap().database("robots");
        let mut cursor =
            database.collection::<Speed>("speeds").find(doc! {}).sort(doc! { "from": 1 }).await.unwrap();
        let mut found = Vec::new();
        while cursor.advance().await.unwrap() {
            found.push(cursor.deserialize_current().unwrap());
        }
        found
    });
    assert_eq!(found, expected(100));
    // Lanes, whose leases are in a collection of their own, ask for no other rights.
    let lanes =
        broker(&uri, "by-lanes").application("lanes").lanes(watermill_mongodb::Lanes::by_hash("x", 1));
    assert_eq!(speeds().run_blocking(lanes).unwrap().results, 90);
}

#[test]
fn who_is_not_let_in_is_told_what_to_do() {
    let mongo = secured();
    let right = format!("robot:{ENCODED}@");
    let user = "check user, password and `authSource` in the URI";
    refused(&trusting(mongo, "robot:guessed@", "&authSource=robots"), &["database `robots`", user]);
    refused(&trusting(mongo, "nobody:guessed@", "&authSource=robots"), &[user]);
    // The user is one of the database `robots`, not of `admin`.
    refused(&trusting(mongo, &right, ""), &[user]);
    refused(&trusting(mongo, "", ""), &["give user and password in the URI"]);
    // What is allowed in one database is not in another.
    let elsewhere = MongoBroker::new(trusting(mongo, &right, "&authSource=robots"), "others")
        .read::<Here>("here")
        .read::<Next>("here")
        .write::<Speed>("speeds");
    let text = told(&speeds().run_blocking(elsewhere).unwrap_err());
    assert!(text.contains("collection `here`") && text.contains("`readWrite`"), "{text}");
}

#[test]
fn a_server_that_is_not_trusted_is_told_with_what_to_do() {
    let mongo = secured();
    let right = format!("robot:{ENCODED}@");
    let certificate = ["cannot reach", "certificate", "`tlsCAFile`"];
    // Nobody that is trusted by everyone has signed its certificate.
    refused(&at(mongo, &right, &format!("tls=true&authSource=robots&{SOON}")), &certificate);
    // It is not the server that the URI names.
    let other = trusting(mongo, &right, "").replace("127.0.0.1", "127.0.0.2");
    refused(&other, &["cannot reach"]);
    let missing = at(mongo, &right, &format!("tls=true&tlsCAFile=not-there.pem&{SOON}"));
    refused(&missing, &["not-there.pem", "check the certificates that the URI names"]);
    // Spoken to without TLS.
    refused(&at(mongo, &right, SOON), &["cannot reach", "`tls=true`"]);
}

#[test]
fn a_password_that_is_not_encoded_is_told_to_nobody() {
    for uri in [
        format!("mongodb://robot:{PASSWORD}@127.0.0.1:9/?{SOON}"),
        format!("mongodb://robot:p@ss@127.0.0.1:9/?{SOON}"),
        format!("mongodb://robot:w:rd@127.0.0.1:9/?{SOON}"),
        format!("mongodb://robot:guessed/@127.0.0.1:9/?{SOON}"),
        format!("mongodb://robot:guessed%@127.0.0.1:9/?{SOON}"),
        format!("mongodb://robot:guessed?@127.0.0.1:9/?{SOON}"),
    ] {
        refused(&uri, &["cannot reach", "percent-encoded"]);
    }
}
