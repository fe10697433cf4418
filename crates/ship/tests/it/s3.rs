//! A store that answers as S3 does, in memory. It notes what must never happen.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::http::{Request, Response, Upstream};
use crate::proxy::error;

#[derive(Default)]
pub struct S3(Mutex<State>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub body: Vec<u8>,
    pub checksum: Option<String>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    begun: u64,
    overwritten: Vec<String>,
}

#[derive(Default)]
struct Upload {
    key: String,
    checksum: Option<String>,
    parts: BTreeMap<usize, Vec<u8>>,
}

impl S3 {
    /// Keys without the bucket.
    pub fn objects(&self) -> BTreeMap<String, Object> {
        self.0.lock().unwrap().objects.clone()
    }

    /// Puts one there, whatever there is.
    pub fn set(&self, key: &str, body: &[u8]) {
        let object = Object { body: body.to_vec(), checksum: None };
        self.0.lock().unwrap().objects.insert(key.to_owned(), object);
    }

    pub fn clear(&self) {
        *self.0.lock().unwrap() = State::default();
    }

    pub fn uploads(&self) -> usize {
        self.0.lock().unwrap().uploads.len()
    }

    /// Keys of objects that others replaced.
    pub fn overwritten(&self) -> Vec<String> {
        self.0.lock().unwrap().overwritten.clone()
    }
}

impl State {
    /// Whether the condition of the request rules it out.
    fn is_refused(&self, request: &Request, key: &str) -> bool {
        request.header("if-none-match") == Some("*") && self.objects.contains_key(key)
    }

    fn create(&mut self, key: &str, object: Object) {
        if self.objects.insert(key.to_owned(), object).is_some() {
            self.overwritten.push(key.to_owned());
        }
    }

    fn begin(&mut self, key: &str, checksum: Option<String>) -> Response {
        self.begun += 1;
        let id = format!("upload{}", self.begun);
        let answer = format!(
            "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>"
        );
        self.uploads.insert(id, Upload { key: key.to_owned(), checksum, parts: BTreeMap::new() });
        Response::new(200, answer)
    }

    fn complete(&mut self, request: &Request, key: &str, id: &str) -> Response {
        if self.is_refused(request, key) {
            return error(412, "PreconditionFailed");
        }
        let Some(upload) = self.uploads.remove(id) else { return error(404, "NoSuchUpload") };
        let body = upload.parts.into_values().flatten().collect();
        self.create(key, Object { body, checksum: upload.checksum });
        let answer =
            "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
        Response::new(200, answer)
    }

    fn list_uploads(&self, prefix: &str) -> Response {
        let mut answer = "<ListMultipartUploadsResult>".to_owned();
        for (id, upload) in self.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix))
        {
            answer +=
                &format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", upload.key);
        }
        Response::new(200, answer + "</ListMultipartUploadsResult>")
    }
}

impl Upstream for S3 {
    fn answer(&self, request: &Request) -> Response {
        let mut state = self.0.lock().unwrap();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = unescaped(path.trim_start_matches('/'));
        let key = path.split_once('/').map_or("", |(_, key)| key);
        let of = |name: &str| {
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let mut found = pairs.filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| unescaped(value))
        };
        let checksum = request.header("x-amz-meta-crc32c").map(str::to_owned);
        match (request.method.as_str(), of("uploadId"), of("uploads")) {
            ("GET", _, Some(_)) => state.list_uploads(&of("prefix").unwrap_or_default()),
            ("POST", _, Some(_)) => state.begin(key, checksum),
            ("PUT", Some(id), _) => match state.uploads.get_mut(&id) {
                None => error(404, "NoSuchUpload"),
                Some(upload) => {
                    let nth = of("partNumber").unwrap().parse().unwrap();
                    upload.parts.insert(nth, request.body.clone());
                    Response::new(200, "").with("etag", "\"e\"")
                }
            },
            ("POST", Some(id), _) => state.complete(request, key, &id),
            ("DELETE", Some(id), _) => match state.uploads.remove(&id) {
                Some(_) => Response::new(204, ""),
                None => error(404, "NoSuchUpload"),
            },
            ("PUT", ..) if state.is_refused(request, key) => error(412, "PreconditionFailed"),
            ("PUT", ..) => {
                state.create(key, Object { body: request.body.clone(), checksum });
                Response::new(200, "").with("etag", "\"e\"")
            }
            ("DELETE", ..) => {
                state.objects.remove(key);
                Response::new(204, "")
            }
            ("GET" | "HEAD", ..) => match state.objects.get(key) {
                None => error(404, "NoSuchKey"),
                Some(object) => answer_with(object),
            },
            _ => error(400, "NotImplemented"),
        }
    }
}

fn answer_with(object: &Object) -> Response {
    let mut response = Response::new(200, object.body.clone())
        .with("etag", "\"e\"")
        .with("last-modified", "Mon, 30 Nov 2026 20:00:00 GMT")
        .with("content-length", object.body.len());
    if let Some(checksum) = &object.checksum {
        response = response.with("x-amz-meta-crc32c", checksum);
    }
    response
}

fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| first == b'%');
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}
