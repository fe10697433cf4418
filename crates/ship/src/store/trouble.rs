//! What a store's error means, in a text that holds no credential.
//!
//! Answers of stores repeat keys and signed strings, and errors of clients repeat addresses with signatures. So no text
//! of theirs is passed on but the status, the code, and the innermost cause.

use std::fmt;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object may be there: compare.
    Exists,
    /// Go slower, and try again.
    Throttled,
    /// Try again.
    Failed,
    /// The file is not what it was: try again, from its beginning.
    Changed,
    /// Somebody took the file.
    Gone,
}

/// An error of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: Kind,
    text: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Trouble {
    pub(crate) fn new(kind: Kind, text: impl fmt::Display) -> Self {
        Trouble { kind, text: text.to_string() }
    }

    pub(crate) fn of(
        operation: &'static str,
        error: &object_store::Error,
        secrets: &Secrets,
    ) -> Self {
        let whole = error.to_string();
        let status = status(&whole);
        let kind = match (error, status) {
            // Also 409, which S3 says while another request for the key is under way.
            (
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
                _,
            ) => Kind::Exists,
            (_, Some(429 | 503)) => Kind::Throttled,
            _ => Kind::Failed,
        };
        let text = match status {
            Some(status) => format!("{operation}: {status} {}", code(&whole)),
            None => format!("{operation}: {}", secrets.scrub(&innermost(error))),
        };
        Trouble { kind, text: text.trim_end().to_owned() }
    }
}

/// The status of HTTP in the text of an error of object_store, whose type is not public.
fn status(text: &str) -> Option<u16> {
    text.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// The code in an answer of S3 and its like: a word.
fn code(text: &str) -> &str {
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    let is_word = code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_word { code } else { "" }
}

/// The last cause. An address in it is left out.
fn innermost(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    let words = text.split_whitespace().filter(|word| !word.contains("://"));
    words.collect::<Vec<_>>().join(" ")
}

/// Values of the environment that no text may hold.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn of_environment() -> Self {
        const WORDS: [&str; 6] = ["KEY", "SECRET", "TOKEN", "SAS", "PASSWORD", "CREDENTIAL"];
        let is_secret = |name: &str| WORDS.iter().any(|word| name.contains(word));
        let all = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.to_str()?.to_ascii_uppercase();
            value.into_string().ok().filter(|value| is_secret(&name) && value.len() >= 6)
        });
        Secrets(all.collect())
    }

    pub(crate) fn scrub(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "..."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn only_status_and_code_of_an_answer_are_told() {
        let body = "status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
            <AWSAccessKeyId>SESAME</AWSAccessKeyId></Error>";
        let trouble = Trouble::of("put", &generic(body), &Secrets::default());
        assert_eq!(trouble, Trouble::new(Kind::Failed, "put: 403 SignatureDoesNotMatch"));
        let slow = Trouble::of(
            "put",
            &generic("status code: 503 x: <Code>a b</Code>"),
            &Secrets::default(),
        );
        assert_eq!(slow, Trouble::new(Kind::Throttled, "put: 503"));
    }

    #[test]
    fn addresses_and_secrets_are_left_out() {
        let secrets = Secrets(vec!["SESAME".to_owned()]);
        let error = generic("no SESAME at https://host/x?sig=OPEN now");
        assert_eq!(Trouble::of("head", &error, &secrets).to_string(), "head: no ... at now");
    }
}
