//! Kafka's own command line tools: users look at groups with them, and tests show that they see what users need.

use std::process::Command;

use super::Kafka;
use super::installed::Pace;
use crate::error::ServerError;
use crate::install;

/// `kafka-consumer-groups`.
pub const CONSUMER_GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
/// `kafka-topics`.
pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
/// `kafka-console-consumer`.
pub const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// `kafka-get-offsets`.
pub const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";

impl Kafka {
    /// Runs one of Kafka's tools, by the name of its class, to its end, and returns what it wrote to standard output. Each run takes more
    /// than a second. The arguments begin with `--bootstrap-server`, which is not to be given.
    ///
    /// # Errors
    /// When it fails. The error has the end of what it wrote.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String, ServerError> {
        install::run(self.command(class, arguments), class)
    }

    /// The same as a command that is not run yet: for a tool that reads its input, or is to be killed.
    #[must_use]
    pub fn command(&self, class: &str, arguments: &[&str]) -> Command {
        let words = self.installed.java("128m", Pace::Soon, "error");
        let mut command = Command::new(words.first().cloned().unwrap_or_default());
        command
            .args(words.iter().skip(1))
            .arg(class)
            .args(["--bootstrap-server", self.bootstrap()])
            .args(arguments);
        command
    }
}
