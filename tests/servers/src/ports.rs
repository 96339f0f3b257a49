//! Ports of the loopback interface for servers that may be killed and must come back at the same ones.
//!
//! They lie below those that systems give to connections that clients open. One from there could be taken, while its server is down, by
//! any client's connection, even by one that tries to reach just this server: such a connection is then connected to itself.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process;

use crate::error::ServerError;
use crate::place::{self, Lock};

const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

/// So many ports that nobody listens at. The next call, of whichever process, gives others: a file says how far we are in the range, so
/// that no two servers that are starting, or are down, come by the same ones.
pub(crate) fn free(count: usize) -> Result<Vec<u16>, ServerError> {
    let _lock = Lock::take("ports")?;
    let file = place::servers()?.join("ports");
    // Other checkouts on this machine have files of their own: they begin elsewhere.
    let told = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let mut next: u32 = told.unwrap_or(process::id().wrapping_mul(2_654_435_761) % COUNT);
    let mut ports = Vec::with_capacity(count);
    for _ in 0..COUNT {
        if ports.len() == count {
            break;
        }
        next = (next + 1) % COUNT;
        let port = u16::try_from(FIRST + next).unwrap_or(u16::MAX);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            ports.push(port);
        }
    }
    place::write(&file, &next.to_string())?;
    Ok(ports)
}
