//! From an address to a store. Credentials come from the environment, never from the address.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{
    ClientOptions, HeaderMap, HeaderValue, ObjectStore, ObjectStoreScheme, RetryConfig,
};
use url::Url;

use crate::report::Error;
use crate::store::condition::Honours;
use crate::store::uploads::Uploads;
use crate::store::{Access, Destination, Large, Secrets};

pub(crate) fn open(address: &str, access: &Access) -> Result<Destination, Error> {
    let secrets = Secrets::of_environment();
    let url = parse(address)?;
    access.endpoint.as_deref().map_or(Ok(()), check_endpoint)?;
    // What the address holds besides is no credential by now.
    let refuse = |error: &dyn std::fmt::Display| {
        Error::new("open", address, secrets.scrub(&error.to_string()))
    };
    let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|e| refuse(&e))?;
    // Nobody else may have chosen; a program that did has its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(endpoint) = endpoint(&scheme, access).filter(|_| !access.allow_http) {
        if endpoint.trim_start().to_ascii_lowercase().starts_with("http://") {
            return Err(refuse(&"its service is at http://, which --allow-http permits"));
        }
    }
    let made = match scheme {
        ObjectStoreScheme::AmazonS3 => amazon(address, access),
        ObjectStoreScheme::GoogleCloudStorage => google(address, access),
        ObjectStoreScheme::MicrosoftAzure => azure(address, access),
        ObjectStoreScheme::Local => {
            let local = LocalFileSystem::new().with_fsync(true);
            Ok((Arc::new(local) as Arc<dyn ObjectStore>, Large::Staged, false))
        }
        ObjectStoreScheme::Memory => {
            Ok((Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, Large::Whole, true))
        }
        _ => return Err(refuse(&"permitted are s3, gs, az, file and memory")),
    };
    let (store, large, has_metadata) = made.map_err(|e| refuse(&e))?;
    let name = address.trim_end_matches('/').to_owned();
    let honours = Honours::default();
    Ok(Destination { store, large, prefix, has_metadata, honours, name, secrets })
}

fn parse(address: &str) -> Result<Url, Error> {
    let url = if address.starts_with('/') {
        Url::from_file_path(address).map_err(|()| url::ParseError::EmptyHost)
    } else {
        Url::parse(address)
    };
    // The address is left out: it may hold what must not be shown.
    let url = url.map_err(|e| Error::new("parse", "the address", e))?;
    let is_container = matches!(url.scheme(), "abfs" | "abfss" | "az");
    refuse_credentials(&url, "the address", is_container)?;
    Ok(url)
}

/// What everybody sees in a list of processes, and what stands in messages.
fn refuse_credentials(url: &Url, what: &str, user_is_name: bool) -> Result<(), Error> {
    let why = if url.password().is_some() || (!url.username().is_empty() && !user_is_name) {
        "it holds a user or a password: credentials belong into the environment"
    } else if url.query().is_some() || url.fragment().is_some() {
        "it holds a query or a fragment: credentials belong into the environment"
    } else {
        return Ok(());
    };
    Err(Error::new("parse", what, why))
}

/// The same for a service's address, which is of HTTP.
fn check_endpoint(endpoint: &str) -> Result<(), Error> {
    let what = "the endpoint";
    let url = Url::parse(endpoint.trim()).map_err(|e| Error::new("parse", what, e))?;
    refuse_credentials(&url, what, false)?;
    match url.scheme() {
        "http" | "https" => Ok(()),
        _ => Err(Error::new("parse", what, "permitted are https:// and http://")),
    }
}

/// The address of a service, if somebody has set one.
fn endpoint(scheme: &ObjectStoreScheme, access: &Access) -> Option<String> {
    let names: &[&str] = match scheme {
        ObjectStoreScheme::AmazonS3 => &["AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
        ObjectStoreScheme::MicrosoftAzure => &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
        _ => &[],
    };
    let set = access.endpoint.clone().filter(|_| *scheme == ObjectStoreScheme::AmazonS3);
    set.or_else(|| names.iter().find_map(|name| std::env::var(name).ok()))
}

type Made = object_store::Result<(Arc<dyn ObjectStore>, Large, bool)>;

fn options(access: &Access) -> ClientOptions {
    ClientOptions::new().with_allow_http(access.allow_http).with_timeout(access.timeout)
}

/// Each request is sent once: the shipper itself decides when to try again.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn amazon(address: &str, access: &Access) -> Made {
    let build = |options: ClientOptions| {
        let mut builder = AmazonS3Builder::from_env().with_url(address).with_retry(once());
        if let Some(endpoint) = &access.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &access.region {
            builder = builder.with_region(region);
        }
        // After the options, which it would be a part of.
        builder.with_client_options(options).with_allow_http(access.allow_http).build()
    };
    let store = Arc::new(build(options(access))?);
    // `complete_multipart` of object_store has no mode. A header on each request of a client of its own is one.
    let mut headers = HeaderMap::new();
    headers.insert("if-none-match", HeaderValue::from_static("*"));
    let last = Arc::new(build(options(access).with_default_headers(headers))?);
    let uploads = Uploads::new(Arc::clone(&store), access);
    let large = Large::Conditional { parts: store.clone(), last, uploads };
    Ok((store, large, true))
}

fn google(address: &str, access: &Access) -> Made {
    let builder = GoogleCloudStorageBuilder::from_env().with_url(address).with_retry(once());
    let store = builder.with_client_options(options(access)).build()?;
    Ok((Arc::new(store), Large::Staged, true))
}

fn azure(address: &str, access: &Access) -> Made {
    let builder = MicrosoftAzureBuilder::from_env().with_url(address).with_retry(once());
    let builder = builder.with_client_options(options(access)).with_allow_http(access.allow_http);
    // Its copies may go on after the answer, and its list of blocks has no condition in object_store.
    Ok((Arc::new(builder.build()?), Large::Whole, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_credentials_are_refused_without_showing_them() {
        for address in [
            "s3://key:SESAME@bucket/prefix",
            "s3://SESAME@bucket/prefix",
            "s3://bucket/prefix?X-Amz-Signature=SESAME",
            "https://account.blob.core.windows.net/c?sig=SESAME",
            "gs://bucket#SESAME",
            "SESAME",
        ] {
            let error = open(address, &Access::default()).unwrap_err().to_string();
            assert!(!error.contains("SESAME"), "{error}");
        }
    }

    #[test]
    fn endpoints_with_credentials_are_refused_without_showing_them() {
        for (endpoint, why) in [
            ("https://key:SESAME@host", "a user or a password"),
            ("https://SESAME@host:9000", "a user or a password"),
            ("https://host/?sig=SESAME", "a query or a fragment"),
            ("https://host#SESAME", "a query or a fragment"),
            ("SESAME@host", "parse the endpoint"),
            ("SESAME:9000", "permitted are https:// and http://"),
        ] {
            let access = Access { endpoint: Some(endpoint.into()), ..Access::default() };
            let error = open("s3://bucket/x", &access).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("SESAME"), "{error}");
        }
    }

    #[test]
    fn plain_http_is_refused_unless_it_is_asked_for() {
        let mut access =
            Access { endpoint: Some("http://127.0.0.1:9".into()), ..Access::default() };
        let error = open("s3://bucket/x", &access).unwrap_err().to_string();
        assert!(error.contains("--allow-http"), "{error}");
        access.allow_http = true;
        open("s3://bucket/x", &access).unwrap();
    }

    #[test]
    fn addresses_of_other_kinds_are_refused() {
        let error = open("ftp://host/x", &Access::default()).unwrap_err().to_string();
        assert!(error.contains("ftp://host/x"), "{error}");
        let error = open("https://host/x", &Access::default()).unwrap_err().to_string();
        assert!(error.contains("permitted are"), "{error}");
    }
}
