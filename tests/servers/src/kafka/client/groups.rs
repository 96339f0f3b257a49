//! Consumer groups: their members and their offsets.

use super::{Client, Request};
use crate::error::ServerError;

/// Where a group stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset of the next record to read.
    pub offset: i64,
    /// What was committed along with it.
    pub metadata: String,
}

impl GroupOffset {
    /// An offset without metadata.
    #[must_use]
    pub fn new(topic: &str, partition: u32, offset: i64) -> Self {
        Self { topic: topic.to_owned(), partition, offset, metadata: String::new() }
    }
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `Stable`, `Empty`, `Dead` ..
    pub state: String,
    /// How partitions are assigned.
    pub assignor: String,
    /// Who is in it.
    pub members: Vec<Member>,
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What the coordinator calls it.
    pub id: String,
    /// Its `client.id`.
    pub client: String,
    /// Where it is.
    pub host: String,
    /// The topics and partitions that it is to read.
    pub assigned: Vec<(String, u32)>,
}

fn with_offsets(request: Request, offsets: &[GroupOffset]) -> Request {
    offsets.iter().fold(request, |request, one| {
        request.text(&one.topic).number(one.partition).number(one.offset).text(&one.metadata)
    })
}

impl Client {
    /// The names of all groups.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn groups(&self) -> Result<Vec<String>, ServerError> {
        Ok(self.pipe.ask(Request::new("groups"))?.iter().map(|row| row.text(0)).collect())
    }

    /// A group, with its members and what is assigned to them.
    ///
    /// # Errors
    /// When there is no such group (`GroupIdNotFoundException`).
    pub fn describe_group(&self, group: &str) -> Result<Group, ServerError> {
        let mut found = Group { state: String::new(), assignor: String::new(), members: Vec::new() };
        for row in self.pipe.ask(Request::new("describe-group").text(group))? {
            match row.text(0).as_str() {
                "group" => (found.state, found.assignor) = (row.text(1), row.text(2)),
                "member" => found.members.push(Member {
                    id: row.text(1),
                    client: row.text(2),
                    host: row.text(3),
                    assigned: Vec::new(),
                }),
                // Of the member before it.
                _ => {
                    let partition = (row.text(1), row.number(2)?);
                    if let Some(member) = found.members.last_mut() {
                        member.assigned.push(partition);
                    }
                }
            }
        }
        for member in &mut found.members {
            member.assigned.sort();
        }
        Ok(found)
    }

    /// Deletes a group that has no members.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn delete_group(&self, group: &str) -> Result<(), ServerError> {
        self.pipe.ask(Request::new("delete-group").text(group)).map(drop)
    }

    /// What a group has committed, ordered by topic and partition. Nothing for a group that does not exist.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn group_offsets(&self, group: &str) -> Result<Vec<GroupOffset>, ServerError> {
        let mut offsets = Vec::new();
        for row in self.pipe.ask(Request::new("group-offsets").text(group))? {
            offsets.push(GroupOffset {
                topic: row.text(0),
                partition: row.number(1)?,
                offset: row.number(2)?,
                metadata: row.text(3),
            });
        }
        offsets.sort();
        Ok(offsets)
    }

    /// Sets where a group stands: it must have no members that read these topics.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn set_group_offsets(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), ServerError> {
        self.pipe.ask(with_offsets(Request::new("set-group-offsets").text(group), offsets)).map(drop)
    }

    /// Has a group forget where it stood in these partitions.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn delete_group_offsets(&self, group: &str, partitions: &[(&str, u32)]) -> Result<(), ServerError> {
        let request = partitions
            .iter()
            .fold(Request::new("delete-group-offsets").text(group), |request, (topic, partition)| {
                request.text(topic).number(*partition)
            });
        self.pipe.ask(request).map(drop)
    }

    /// Offsets into a producer's transaction.
    pub(super) fn offsets_into(
        &self,
        producer: &str,
        group: &str,
        offsets: &[GroupOffset],
    ) -> Result<(), ServerError> {
        let request = Request::new("producer-offsets").text(producer).text(group);
        self.pipe.ask(with_offsets(request, offsets)).map(drop)
    }
}
