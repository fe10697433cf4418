//! Which uploads in parts a key has, for those whose number was lost with an answer. S3's list of them, which
//! object_store does not ask for.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use reqwest::Method;

use crate::store::{Access, Kind, Secrets, Trouble};

/// How long the signature of a request is good.
const SIGNED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Uploads {
    signer: Arc<AmazonS3>,
    access: Access,
}

impl Uploads {
    pub(crate) fn new(signer: Arc<AmazonS3>, access: &Access) -> Self {
        Uploads { signer, access: access.clone() }
    }

    /// Their numbers, up to 1,000.
    pub(crate) async fn of(&self, key: &Path, secrets: &Secrets) -> Result<Vec<String>, Trouble> {
        let query = [("uploads", ""), ("prefix", key.as_ref())];
        let options = SignedUrlOptions::default().with_query(query);
        let bucket = Path::default();
        let signed = self.signer.signed_url_opts(Method::GET, &bucket, SIGNED_FOR, &options);
        let url = signed.await.map_err(|error| Trouble::of("list uploads", &error, secrets))?;
        // The address has a signature, so no text of these errors is told.
        let failed = |_| Trouble::new(Kind::Failed, "list uploads: no answer");
        let client = reqwest::Client::builder()
            .https_only(!self.access.allow_http)
            .timeout(self.access.timeout)
            .build()
            .map_err(failed)?;
        let answer = client.get(url).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            let text = format!("list uploads: {}", answer.status().as_u16());
            return Err(Trouble::new(Kind::Failed, text));
        }
        let text = answer.text().await.map_err(failed)?;
        Ok(parse(&text, key.as_ref()))
    }
}

/// Only uploads of this very key: the prefix may be that of others.
fn parse(answer: &str, key: &str) -> Vec<String> {
    let uploads = answer.split("<Upload>").skip(1);
    let of_key = uploads.filter(|upload| element(upload, "Key").as_deref() == Some(key));
    of_key.filter_map(|upload| element(upload, "UploadId")).collect()
}

fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let marks = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(marks.iter().fold(text.to_owned(), |text, (mark, sign)| text.replace(mark, sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_of_other_keys_are_left_alone() {
        let upload =
            |key, id| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>");
        let answer = [
            "<R>",
            &upload("a&amp;b", "1"),
            &upload("a&amp;b2", "2"),
            &upload("a&amp;b", "3"),
            "</R>",
        ];
        assert_eq!(parse(&answer.concat(), "a&b"), ["1", "3"]);
        assert_eq!(parse("<html>", "a"), [""; 0]);
    }
}
