//! A request as the application sees it. All values borrow from hyper's buffers: a value that outlives the request has
//! to be copied, or it keeps 8 KiB alive.

use std::borrow::Cow;

use hyper::header::{AUTHORIZATION, ORIGIN};
use hyper::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use crate::admission::token::{self, FoundToken};

/// The head of a request.
///
/// Decoding is lossy: bytes that are not UTF-8 become U+FFFD. No name, number or token contains that character, so that
/// the value is refused where it is parsed.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    method: &'r str,
    uri: &'r Uri,
    headers: &'r HeaderMap,
    offered: &'r [&'r str],
}

impl<'r> Request<'r> {
    pub(super) fn new<B>(request: &'r hyper::Request<B>, offered: &'r [&'r str]) -> Self {
        Self { method: request.method().as_str(), uri: request.uri(), headers: request.headers(), offered }
    }

    /// Returns the method, in capitals as it came.
    #[must_use]
    pub fn method(&self) -> &'r str {
        self.method
    }

    /// Returns the path as it came, without the query. See [`segment_after`].
    #[must_use]
    pub fn path(&self) -> &'r str {
        self.uri.path()
    }

    /// Returns the first query parameter of this name, decoded (`%XX`, and `+` for a space). A name without `=`, as in
    /// `?raw`, has an empty value. The query holds secrets (`token`, `session`) and must not be logged.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'r, str>> {
        let pairs = self.uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| decode_form(key) == name).map(|(_, value)| decode_form(value)).next()
    }

    /// Returns the query parameters in order, decoded as [`Request::query`] decodes them.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'r, str>, Cow<'r, str>)> + use<'r> {
        let query = self.uri.query().filter(|query| !query.is_empty());
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name), decode_form(value))
        })
    }

    /// Returns the values of all headers of this name (lower case), in order.
    pub fn headers(&self, name: &str) -> impl DoubleEndedIterator<Item = &'r [u8]> + use<'r> {
        self.headers.get_all(name).into_iter().map(|value| value.as_bytes())
    }

    /// Returns the values of all `Origin` headers, for
    /// [`OriginList::check`](crate::admission::origin::OriginList::check).
    pub fn origins(&self) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        self.headers.get_all(ORIGIN).into_iter().map(|value| value.as_bytes())
    }

    /// Returns the offered subprotocols in order, the token after `bearer` included; empty for a page.
    #[must_use]
    pub fn offered(&self) -> &'r [&'r str] {
        self.offered
    }

    /// Looks for a token in the three positions where it may be; see [`token::find`].
    #[must_use]
    pub fn token(&self) -> FoundToken {
        let authorization = self.headers.get_all(AUTHORIZATION).into_iter().map(|value| value.as_bytes());
        token::find(authorization, self.offered, self.query("token").as_deref())
    }
}

/// Returns the one segment after `prefix`, decoded: `segment_after("/ws/chat/a%2Fb", "/ws/chat/")` is `a/b`. Returns
/// `None` where the path has another prefix or more segments; an empty segment is `Some("")`. Decoding is lossy, see
/// [`Request`].
#[must_use]
pub fn segment_after<'p>(path: &'p str, prefix: &str) -> Option<Cow<'p, str>> {
    let segment = path.strip_prefix(prefix)?;
    if segment.contains('/') { None } else { Some(percent_decode_str(segment).decode_utf8_lossy()) }
}

/// Returns the segments after `prefix`, each decoded as in [`segment_after`]; none where the path has another prefix.
pub fn segments_after<'p>(path: &'p str, prefix: &str) -> impl Iterator<Item = Cow<'p, str>> {
    let segments = path.strip_prefix(prefix).into_iter().flat_map(|rest| rest.split('/'));
    segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy())
}

fn decode_form(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(uri: &str, name: &str) -> Option<String> {
        let request = hyper::Request::builder().uri(uri).body(()).unwrap();
        Request::new(&request, &[]).query(name).map(Cow::into_owned)
    }

    #[test]
    fn query_parameters_are_decoded_and_the_first_counts() {
        let uri = "/ws/chat/u?room=a%2Eb&room=c&raw&empty=&x%79=1+2%2b3&bad=%ff&cut=%2";
        for (name, value) in [
            ("room", Some("a.b")),
            ("raw", Some("")),
            ("empty", Some("")),
            ("xy", Some("1 2+3")),
            ("bad", Some("\u{fffd}")),
            ("cut", Some("%2")),
            ("Room", None),
            ("none", None),
        ] {
            assert_eq!(query(uri, name).as_deref(), value, "{name}");
        }
        assert_eq!(query("/ws", "room"), None);
    }

    #[test]
    fn a_segment_is_split_before_it_is_decoded() {
        let user = |path| segment_after(path, "/ws/chat/").map(Cow::into_owned);
        assert_eq!(user("/ws/chat/alice").as_deref(), Some("alice"));
        assert_eq!(user("/ws/chat/a%2Fb").as_deref(), Some("a/b"));
        assert_eq!(user("/ws/chat/%C3%A4%ff").as_deref(), Some("ä\u{fffd}"));
        assert_eq!(user("/ws/chat/").as_deref(), Some(""));
        assert_eq!(user("/ws/chat/a/b"), None);
        assert_eq!(user("/ws/chat"), None);
    }
}
