//! A server whose answer to one command is another one than its own: what `mongod` says where our server has other words, or cannot be brought to say anything.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bson::{Document, RawDocument};

/// The code of the message that both questions and answers are.
const OP_MSG: i32 = 2013;

/// What is answered: told the name of a command and the command, the document that the client gets in place of the server's.
type Answer = dyn Fn(&str, &RawDocument) -> Option<Document> + Send + Sync;

/// Stands between a client and a server. Ends with the process.
pub struct Answering {
    uri: String,
    answer: Arc<Mutex<Option<Box<Answer>>>>,
}

impl Answering {
    /// Before the server at `uri`, which has no user and no TLS.
    pub fn before(uri: &str) -> Self {
        let server = uri.trim_start_matches("mongodb://").split(['/', '?']).next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Else the client asks where the members of the set are, and goes there.
        let uri = format!("mongodb://{}/?directConnection=true", listener.local_addr().unwrap());
        let answer: Arc<Mutex<Option<Box<Answer>>>> = Arc::default();
        let shared = Arc::clone(&answer);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, answer) = (server.clone(), Arc::clone(&shared));
                thread::spawn(move || drop(serve(client, &server, &answer)));
            }
        });
        Self { uri, answer }
    }

    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// From now on `answer` is asked first.
    pub fn answer(&self, answer: impl Fn(&str, &RawDocument) -> Option<Document> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Some(Box::new(answer));
    }
}

/// One connection. A question has one answer: the client asks for no more than one at a time, apart from the `hello` that waits, whose later answers
/// come by themselves.
fn serve(mut client: TcpStream, server: &str, answer: &Mutex<Option<Box<Answer>>>) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || io::copy(&mut from_server, &mut to_client));
    loop {
        let question = message(&mut client)?;
        let other = command(&question).and_then(|(name, command)| {
            answer.lock().unwrap().as_ref().and_then(|answer| answer(&name, command))
        });
        match other {
            Some(document) => client.write_all(&reply(&question, &document))?,
            None => server.write_all(&question)?,
        }
    }
}

/// The next message, whole.
fn message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::try_from(i32::from_le_bytes(length)).unwrap()];
    message[..4].copy_from_slice(&length);
    stream.read_exact(&mut message[4..])?;
    Ok(message)
}

/// The command in a message, if it is of the kind that has one first.
fn command(message: &[u8]) -> Option<(String, &RawDocument)> {
    if number(message, 12) != OP_MSG || message[20] != 0 {
        return None;
    }
    let length = usize::try_from(number(message, 21)).ok()?;
    let document = RawDocument::from_bytes(&message[21..21 + length]).ok()?;
    let (name, _) = document.iter().next()?.ok()?;
    Some((name.as_str().to_owned(), document))
}

fn number(message: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(message[at..at + 4].try_into().unwrap())
}

fn reply(question: &[u8], document: &Document) -> Vec<u8> {
    let body = bson::serialize_to_vec(document).unwrap();
    let mut reply = Vec::new();
    // Length, number, which question it answers, code, flags; and that one document follows.
    for number in [21 + body.len() as i32, 1, number(question, 4), OP_MSG, 0] {
        reply.extend_from_slice(&number.to_le_bytes());
    }
    reply.push(0);
    reply.extend_from_slice(&body);
    reply
}
