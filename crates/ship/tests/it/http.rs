//! As much of HTTP/1.1 as clients of object stores speak.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Whoever answers.
pub trait Upstream: Send + Sync {
    fn answer(&self, request: &Request) -> Response;
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// `None` if the client has closed.
    pub fn read(from: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
        let Some((first, headers)) = read_head(from)? else { return Ok(None) };
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Request { method, target, headers, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body = vec![0; length];
        from.read_exact(&mut request.body)?;
        Ok(Some(request))
    }
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response { status, headers: Vec::new(), body: body.into() }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Response {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Without a body after HEAD, but with its length.
    pub fn bytes(&self, is_head: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Answer\r\n", self.status);
        let mut has_length = false;
        for (name, value) in &self.headers {
            has_length |= name.eq_ignore_ascii_case("content-length");
            text += &format!("{name}: {value}\r\n");
        }
        if !has_length {
            text += &format!("content-length: {}\r\n", self.body.len());
        }
        text += "\r\n";
        let body = if is_head { &[][..] } else { &self.body };
        [text.as_bytes(), body].concat()
    }
}

/// Another server.
pub struct Forward(pub SocketAddr);

impl Upstream for Forward {
    fn answer(&self, request: &Request) -> Response {
        self.ask(request).unwrap_or_else(|error| Response::new(502, error.to_string()))
    }
}

impl Forward {
    fn ask(&self, request: &Request) -> io::Result<Response> {
        let mut stream = TcpStream::connect(self.0)?;
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        for (name, value) in &request.headers {
            if !name.eq_ignore_ascii_case("connection") {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += "connection: close\r\n\r\n";
        stream.write_all(&[head.as_bytes(), &request.body].concat())?;
        let mut reader = BufReader::new(stream);
        let (first, mut headers) = read_head(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(502);
        let mut body = Vec::new();
        reader.read_to_end(&mut body)?;
        headers.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("connection")
                && !name.eq_ignore_ascii_case("transfer-encoding")
        });
        Ok(Response { status, headers, body })
    }
}

type Head = (String, Vec<(String, String)>);

fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let first = line.trim_end().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => return Ok(Some((first, headers))),
        }
    }
}
