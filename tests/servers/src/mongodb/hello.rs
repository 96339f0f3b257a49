//! Whether a server answers, asked by the least of its protocol: one message, `hello`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The code of the message that both questions and answers are.
const OP_MSG: i32 = 2013;

/// No answer to `hello` is longer.
const LONGEST: usize = 1 << 20;

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    /// It takes writes.
    pub(super) writable: bool,
    /// It belongs to a replica set.
    pub(super) replica_set: bool,
}

/// Asks the server at `address`.
pub(super) fn ask(address: &str, limit: Duration) -> io::Result<Hello> {
    let address = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(&question())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if !(26..=LONGEST).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut answer = vec![0; length - 4];
    stream.read_exact(&mut answer)?;
    Ok(Hello { writable: is_true(&answer, "isWritablePrimary"), replica_set: has_text(&answer, "setName") })
}

/// `{hello: 1, $db: "admin"}` as a message.
fn question() -> Vec<u8> {
    let mut document = Vec::new();
    document.extend_from_slice(b"\x10hello\0");
    document.extend_from_slice(&1_i32.to_le_bytes());
    document.extend_from_slice(b"\x02$db\0");
    document.extend_from_slice(&6_i32.to_le_bytes());
    document.extend_from_slice(b"admin\0\0");
    let mut message = Vec::new();
    // The length, the number of the question, that of what it answers, the code, the flags, and that one document follows.
    let document_length = document.len() + 4;
    for number in [21 + document_length as i32, 1, 0, OP_MSG, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.push(0);
    message.extend_from_slice(&(document_length as i32).to_le_bytes());
    message.extend_from_slice(&document);
    message
}

/// Whether the answer has a field of this type and name; where its value begins.
fn field(answer: &[u8], kind: u8, name: &str) -> Option<usize> {
    let mut wanted = vec![kind];
    wanted.extend_from_slice(name.as_bytes());
    wanted.push(0);
    answer.windows(wanted.len()).position(|window| window == wanted).map(|at| at + wanted.len())
}

fn is_true(answer: &[u8], name: &str) -> bool {
    field(answer, 8, name).is_some_and(|at| answer.get(at) == Some(&1))
}

fn has_text(answer: &[u8], name: &str) -> bool {
    field(answer, 2, name).is_some()
}
