//! Paths of one route: what clients and proxies send becomes the path that the router knows.

use axum::extract::Request;
use http::Uri;
use http::uri::PathAndQuery;

use crate::api::well_known::METADATA_PATH;

/// The path of a URL, without a trailing slash; empty if it has none.
pub(crate) fn path_of(url: &str) -> String {
    url.parse::<Uri>().map(|uri| uri.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// The paths that precede and follow those of the router.
#[derive(Clone, Debug)]
pub(crate) struct Spellings {
    /// The path of the public URL, for a proxy that does not remove it.
    pub(crate) public: String,
    /// The path of the issuer, which follows that of the metadata (RFC 8414 §3.1).
    pub(crate) issuer: String,
}

impl Spellings {
    /// The path of the router: without the path of the public URL and the issuer, and without a trailing
    /// slash. `None` if it is the same.
    fn known<'a>(&self, path: &'a str) -> Option<&'a str> {
        let own =
            path.strip_prefix(self.public.as_str()).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let slashless = own.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(own);
        let issuer = slashless.strip_prefix(METADATA_PATH).filter(|issuer| !issuer.is_empty());
        let known = if issuer == Some(self.issuer.as_str()) { METADATA_PATH } else { slashless };
        (known.len() != path.len()).then_some(known)
    }

    /// The request with the path that the router knows.
    pub(crate) fn rewrite(&self, mut request: Request) -> Request {
        if let Some(known) = self.known(request.uri().path()) {
            let text = match request.uri().query() {
                Some(query) => format!("{known}?{query}"),
                None => known.to_owned(),
            };
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = text.parse::<PathAndQuery>().ok();
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        let spellings = Spellings { public: "/id".to_owned(), issuer: "/id".to_owned() };

        for (sent, known) in [
            ("/me", "/me"),
            ("/me/", "/me"),
            ("/me//", "/me/"),
            ("/", "/"),
            ("//", "/"),
            ("/id/me?a=/", "/me?a=/"),
            ("/id/me/?a", "/me?a"),
            ("/id/", "/"),
            ("/id", "/id"),
            ("/idea", "/idea"),
            ("/id/id/me", "/id/me"),
            ("/.well-known/oauth-authorization-server/id", METADATA_PATH),
            ("/id/.well-known/oauth-authorization-server", METADATA_PATH),
            (
                "/.well-known/oauth-authorization-server/ideas",
                "/.well-known/oauth-authorization-server/ideas",
            ),
        ] {
            let request = Request::get(sent).body(Body::empty()).unwrap();
            assert_eq!(spellings.rewrite(request).uri().to_string(), known, "{sent}");
        }

        assert_eq!(path_of("https://auth.example/a/b/"), "/a/b");
        assert_eq!(path_of("https://auth.example"), "");
    }

    #[test]
    fn without_paths_only_the_trailing_slash_goes() {
        let spellings = Spellings { public: String::new(), issuer: String::new() };
        for (sent, known) in
            [("/me/", "/me"), ("/me", "/me"), ("/.well-known/oauth-authorization-server/", METADATA_PATH)]
        {
            let request = Request::get(sent).body(Body::empty()).unwrap();
            assert_eq!(spellings.rewrite(request).uri().path(), known, "{sent}");
        }
    }
}
