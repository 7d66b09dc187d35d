//! From what a request says to what a store needs to know of it.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::canonical;
use super::digest::{Digest, DigestBuilder};
use super::key::{InvalidKey, parse_key};

/// The body of a request, as the server parsed it.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// None was sent.
    Absent,
    /// The JSON text of a parsed value; its key order and white space do not matter.
    Json(&'a str),
    /// The JSON text of a form's parsed fields.
    Form(&'a str),
    /// Bytes or text that nobody parsed further.
    Raw(&'a [u8]),
    /// `Content-Digest` (RFC 9530), standing for a body that is not at hand.
    ContentDigest(&'a str),
    /// There is one, but nobody knows what is in it. What is known instead: its `Content-Length`, empty where it has
    /// none; or a text unlike any other, where no two such bodies may be taken for one.
    Unread(&'a str),
}

/// What a request says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path with its query, never relative to where a router is mounted.
    pub original_url: &'a str,
    /// The key header, or `None` to derive a key.
    pub key: Option<&'a str>,
    /// The `Content-Type` header.
    pub content_type: &'a str,
    /// Whose key it is; `None` or empty where the application did not say.
    pub scope: Option<&'a str>,
    /// Who asks, by credentials and host name, or as the application says.
    pub caller: Option<&'a str>,
    /// The body.
    pub body: Body<'a>,
}

/// A request as a store knows it. None of it leads back to the key, the caller or the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Which record.
    pub key: Digest,
    /// What is asked for.
    pub fingerprint: Digest,
    /// Who asks. The same for everyone where the application named a scope, which then says all about whose key it is.
    pub identity: Digest,
    /// The client's key and its scope, whatever the endpoint: what an operator knows of a record.
    pub name: Digest,
}

/// What an operator knows of a record: a key and its scope. For a derived key there is no such thing.
#[must_use]
pub fn name(scope: Option<&str>, key: &str) -> Digest {
    scoped(DigestBuilder::new("name"), scope).field(key.as_bytes()).finish()
}

/// An empty scope names nobody: it is none.
fn scoped(digest: DigestBuilder, scope: Option<&str>) -> DigestBuilder {
    let scope = scope.unwrap_or_default();
    digest.field(if scope.is_empty() { b"-" } else { b"+" }).field(scope.as_bytes())
}

/// Makes the three digests of `semantics.md` §2.2 to §2.4.
///
/// # Errors
///
/// The key header is there and is no key.
pub fn identify(request: &Request<'_>, max_key_length: usize) -> Result<Identified, InvalidKey> {
    let key = request.key.map(|header| parse_key(header, max_key_length)).transpose()?;
    let media_type = media_type(request.content_type);
    let is_scoped = request.scope.is_some_and(|scope| !scope.is_empty());
    let identity = match request.caller {
        Some(caller) if !is_scoped => DigestBuilder::new("identity").field(caller.as_bytes()).finish(),
        _ => Digest([0; 32]),
    };
    let fingerprint = body(
        DigestBuilder::new("fingerprint")
            .field(request.method.as_bytes())
            .field(request.original_url.as_bytes())
            .field(media_type.as_bytes()),
        request,
    )
    .finish();
    let Some(key) = key else {
        // The fingerprint stands for method, URL, media type and body.
        let derived = scoped(DigestBuilder::new("derived key"), request.scope)
            .field(&identity.0)
            .field(&fingerprint.0)
            .finish();
        return Ok(Identified { key: derived, fingerprint, identity, name: derived });
    };
    let name = name(request.scope, &key);
    let key = DigestBuilder::new("key")
        .field(&name.0)
        .field(request.method.as_bytes())
        .field(path(request.original_url).as_bytes())
        .finish();
    Ok(Identified { key, fingerprint, identity, name })
}

/// The path of a URL: all before its query.
fn path(url: &str) -> &str {
    url.split_once('?').map_or(url, |(path, _)| path)
}

/// The media type in one spelling. A multipart boundary is chosen anew for each attempt and says nothing; JSON knows
/// no parameters (RFC 8259 §11).
fn media_type(content_type: &str) -> Cow<'_, str> {
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let essence = lower_case(essence.trim());
    if parameters.is_empty() || essence.ends_with("/json") || essence.ends_with("+json") {
        return essence;
    }
    parameters
        .split(';')
        .map(|parameter| lower_case(parameter.trim()))
        .filter(|parameter| !parameter.is_empty() && !parameter.starts_with("boundary="))
        .fold(essence, |all, parameter| format!("{all};{parameter}").into())
}

/// Most are in lower case as they come.
fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

fn body(digest: DigestBuilder, request: &Request<'_>) -> DigestBuilder {
    match request.body {
        Body::Absent => digest.field(b"absent"),
        // The type as it was sent: of a body that nobody knows, a boundary says something after all.
        Body::Unread(known) => {
            digest.field(b"unread").field(known.as_bytes()).field(request.content_type.as_bytes())
        }
        Body::Raw(bytes) => digest.field(b"raw").field(bytes),
        Body::ContentDigest(value) => digest.field(b"content-digest").field(value.as_bytes()),
        Body::Json(text) => json(digest.field(b"json"), text),
        Body::Form(text) => json(digest.field(b"form"), text),
    }
}

fn json(digest: DigestBuilder, text: &str) -> DigestBuilder {
    match canonical::canonicalize(text) {
        Ok(canonical) => digest.field(&canonical),
        // Not JSON after all: its own bytes are what is known of it. The extra field keeps the two apart.
        Err(_) => digest.field(b"not json").field(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'_> = Request {
        method: "POST",
        original_url: "/orders?x=1",
        key: Some("k"),
        content_type: "application/json",
        scope: None,
        caller: Some("Bearer a"),
        body: Body::Json("{\"a\":1}"),
    };

    fn of(request: &Request<'_>) -> Identified {
        identify(request, 255).unwrap()
    }

    #[test]
    fn the_query_is_in_the_fingerprint_and_not_in_the_key() {
        let one = of(&REQUEST);
        let other = of(&Request { original_url: "/orders?x=2", ..REQUEST });
        assert_eq!(one.key, other.key);
        assert_ne!(one.fingerprint, other.fingerprint);
    }

    #[test]
    fn scope_method_path_and_key_make_the_key() {
        let one = of(&REQUEST);
        for other in [
            Request { method: "PUT", ..REQUEST },
            Request { original_url: "/refunds?x=1", ..REQUEST },
            Request { key: Some("l"), ..REQUEST },
            Request { key: None, ..REQUEST },
        ] {
            assert_ne!(of(&other).key, one.key, "{other:?}");
        }
        assert_ne!(
            of(&Request { scope: Some("a"), ..REQUEST }).key,
            of(&Request { scope: Some("b"), ..REQUEST }).key
        );
        assert_eq!(of(&Request { key: Some("\"k\""), ..REQUEST }), one);
        assert_eq!(of(&Request { caller: Some("Bearer b"), ..REQUEST }).key, one.key);
    }

    #[test]
    fn an_empty_scope_is_none() {
        for one in [REQUEST, Request { key: None, ..REQUEST }] {
            assert_eq!(of(&Request { scope: Some(""), ..one }), of(&one));
        }
    }

    #[test]
    fn a_body_that_nobody_knows_is_known_by_its_length_and_the_type_as_it_was_sent() {
        let unread =
            Request { content_type: "multipart/form-data; boundary=a", body: Body::Unread("9"), ..REQUEST };
        let one = of(&unread).fingerprint;
        assert_eq!(of(&unread).fingerprint, one);
        for other in [
            Request { body: Body::Unread("10"), ..unread },
            Request { body: Body::Unread(""), ..unread },
            Request { content_type: "multipart/form-data; boundary=b", ..unread },
        ] {
            assert_ne!(of(&other).fingerprint, one, "{other:?}");
        }
    }

    #[test]
    fn a_scope_says_all_about_whose_key_it_is() {
        let alice = Request { scope: Some("alice"), ..REQUEST };
        assert_eq!(of(&alice).identity, of(&Request { caller: Some("Bearer b"), ..alice }).identity);
        assert_ne!(of(&REQUEST).identity, of(&Request { caller: Some("Bearer b"), ..REQUEST }).identity);
        assert_ne!(of(&REQUEST).identity, of(&Request { caller: None, ..REQUEST }).identity);
    }

    #[test]
    fn a_derived_key_is_made_of_identity_scope_and_all_that_is_asked_for() {
        let derived = Request { key: None, ..REQUEST };
        let one = of(&derived).key;
        for other in [
            Request { caller: Some("Bearer b"), ..derived },
            Request { scope: Some("a"), ..derived },
            Request { method: "PUT", ..derived },
            Request { original_url: "/orders?x=2", ..derived },
            Request { content_type: "text/plain", ..derived },
            Request { body: Body::Json("{\"a\":2}"), ..derived },
            Request { body: Body::Absent, ..derived },
        ] {
            assert_ne!(of(&other).key, one, "{other:?}");
        }
        assert_eq!(of(&Request { body: Body::Json(" { \"a\" : 1.0 } "), ..derived }).key, one);
    }

    #[test]
    fn one_spelling_of_a_media_type() {
        for (header, spelling) in [
            ("", ""),
            ("application/json", "application/json"),
            ("Application/JSON; charset=utf-8", "application/json"),
            ("application/problem+json;x=1", "application/problem+json"),
            ("multipart/form-data; boundary=abc", "multipart/form-data"),
            ("text/plain ; Charset=UTF-8", "text/plain;charset=utf-8"),
        ] {
            assert_eq!(media_type(header), spelling);
        }
    }

    #[test]
    fn bodies_of_different_kinds_never_agree() {
        let bodies = [
            Body::Absent,
            Body::Unread("{}"),
            Body::Raw(b"{}"),
            Body::Json("{}"),
            Body::Form("{}"),
            Body::ContentDigest("{}"),
            Body::Json("not json"),
            Body::Raw(b"not json"),
        ];
        let fingerprints: std::collections::BTreeSet<_> =
            bodies.iter().map(|&body| of(&Request { body, ..REQUEST }).fingerprint).collect();
        assert_eq!(fingerprints.len(), bodies.len());
    }
}
