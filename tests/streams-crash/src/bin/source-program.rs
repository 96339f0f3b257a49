//! Fills the stream `items` of a file from a source, for ever: `file path`, `kafka servers/topic`, `collection uri/database` or `changes uri/database`, then the file of the streams.

use std::error::Error;
use std::time::Duration;

use watermill::mongodb::ReadCollection;
use watermill::prelude::*;
use watermill::streams::Background;
use watermill::streams::source::from_broker;
use watermill_streams_crash::Item;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, from, file] = arguments.as_slice() else { return Err("source-program KIND FROM FILE".into()) };
    let items = Streams::open(&format!("sqlite:{file}"))?.stream::<Item>("items")?;
    let at = || from.rsplit_once('/').ok_or("FROM has no slash");
    let attached: Background = match kind.as_str() {
        "file" => items.attach("file", from_broker(JsonFileBroker::new().read::<Item>(from).follow()))?,
        "kafka" => {
            let (servers, topic) = at()?;
            // Others wait so long for the partitions of one that was killed.
            let kafka = KafkaBroker::new(servers, "source").option("session.timeout.ms", "6000");
            items.attach("kafka", from_broker(kafka.read::<Item>(topic)))?
        }
        "collection" => {
            let (uri, database) = at()?;
            let collection = ReadCollection::new("items").order_by(["number"]);
            let broker = MongoBroker::new(uri, database).create_indexes();
            let broker = broker.read::<Item>(collection.follow(Duration::from_millis(200)));
            items.attach("collection", from_broker(broker))?
        }
        "changes" => {
            let (uri, database) = at()?;
            let broker = MongoBroker::new(uri, database).create_indexes().watch::<Item>("items");
            items.attach("changes", from_broker(broker))?
        }
        _ => return Err(format!("`{kind}` is none of file, kafka, collection, changes").into()),
    };
    attached.wait_blocking()?;
    Ok(())
}
