//! Mills over real topics: what they write, and how they end.

use crate::common::{broker, end, expected, fill, logged, results, speeds};
use watermill_core::EndReason;
use watermill_servers::kafka::{Kafka, unique};

#[test]
fn every_partition_is_joined_to_itself_and_ends_with_its_mark() {
    logged();
    let kafka = Kafka::shared().unwrap();
    for partitions in [1, 3] {
        let from = kafka.fresh_topic("locations", partitions).unwrap();
        let to = kafka.fresh_topic("speeds", partitions).unwrap();
        fill(kafka, &from, partitions, 0..500);
        end(kafka, &from, partitions);
        let application = unique("joins");
        let report = speeds().run_blocking(broker(kafka, &application, &from, &to)).unwrap();
        let of = u64::from(partitions);
        assert_eq!((report.calls, report.results), (490 * of, 490 * of), "{report}");
        assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
        for (partition, (records, marks)) in (0..).zip(results(kafka, &to, partitions)) {
            assert_eq!(records, expected(500, partition), "partition {partition}");
            assert_eq!(marks, 1);
        }
        // It has ended: started again it says so, and writes nothing.
        let again = speeds().run_blocking(broker(kafka, &application, &from, &to)).unwrap();
        assert_eq!((again.end, again.results), (EndReason::EndedBefore, 0));
        assert!(
            results(kafka, &to, partitions)
                .iter()
                .all(|(records, marks)| records.len() == 490 && *marks == 1)
        );
    }
}
