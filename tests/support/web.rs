//! A web server on loopback that answers as it is told, wrongly too.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
};

/// What is at a path.
#[derive(Debug, Clone)]
pub enum Page {
    /// These bytes.
    Of(Vec<u8>),
    /// This status and nothing else.
    Status(u16),
    /// These bytes, of a body that was said to be longer.
    CutShort(Vec<u8>),
    /// A body that is said to have this many bytes; none of them is sent.
    Claimed(u64),
    /// A body of zeros that nobody said the length of: it ends when the reader goes away.
    Endless,
}

/// Serves `page` of each path for as long as the process lives. Returns the URL of `/`, without the slash.
pub fn serve(page: impl Fn(&str) -> Page + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A reader that goes away ends its answer, and nothing else.
            let _ = answer(&stream, &page);
        }
    });
    url
}

fn answer(mut stream: &TcpStream, page: &impl Fn(&str) -> Page) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let head = |length: u64| format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    match page(first.split(' ').nth(1).unwrap_or_default()) {
        Page::Of(body) => stream.write_all(&[head(body.len() as u64).as_bytes(), &body].concat()),
        Page::Status(status) => {
            stream.write_all(format!("HTTP/1.1 {status} .\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes())
        }
        Page::CutShort(body) => stream.write_all(&[head(body.len() as u64 + 1).as_bytes(), &body].concat()),
        Page::Claimed(length) => stream.write_all(head(length).as_bytes()),
        Page::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            let zeros = vec![0; 1 << 16];
            loop {
                stream.write_all(&zeros)?;
            }
        }
    }
}
