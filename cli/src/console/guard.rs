//! Guard: decides which requests the console answers.
//!
//! The console listens on 127.0.0.1, where any web page that the developer has open can send requests, and any name can be made
//! to lead (DNS rebinding). So each request must name the console as its host, must not come from another site, and must carry
//! this run's token: in the link that is printed, in the cookie that the link sets, or as a bearer token from a script.
//!
//! **Invariant:** no page and no part of the API is reached without `Guard::check`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use receiver::verify::Digest;

/// What every answer carries. No script but the console's own runs, and nothing is loaded from elsewhere.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Not `no-referrer`, with which a form would be sent with the origin `null`.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

#[derive(Debug)]
pub(super) struct Guard {
    port: u16,
    token: String,
}

/// A request that may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Answer,
    /// It used the link: set the cookie, and redirect to the address without the token.
    SetCookie {
        cookie: String,
        location: String,
    },
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this is not the console's address; open the link that was printed in the terminal")]
    Host,
    #[error("the console takes no requests from other sites")]
    Origin,
    #[error("the token is missing or of another run; open the link that was printed in the terminal")]
    Token,
}

impl Guard {
    pub(super) fn new(port: u16, token: String) -> Self {
        Self { port, token }
    }

    /// The link with the token.
    pub(super) fn link(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }

    pub(super) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Pass, Refusal> {
        let get = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let hosts = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{}", self.port));
        if !get(header::HOST).is_some_and(|host| hosts.iter().any(|own| own == host)) {
            return Err(Refusal::Host);
        }
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let bearer = get(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let is_from_here = match get(header::ORIGIN) {
            Some(origin) => hosts.iter().any(|own| origin.strip_prefix("http://") == Some(own)),
            // Browsers send the origin with each write. Scripts do not, and have no cookie.
            None => is_read || bearer.is_some(),
        };
        // A link on another page may lead here; nothing else on it may.
        let fetch = |name: &'static str| get(HeaderName::from_static(name));
        let is_link =
            is_read && fetch("sec-fetch-mode") == Some("navigate") && fetch("sec-fetch-dest") == Some("document");
        let is_own_fetch = matches!(fetch("sec-fetch-site"), None | Some("same-origin" | "none"));
        if !is_from_here || !(is_own_fetch || is_link) {
            return Err(Refusal::Origin);
        }
        let linked = query_token(uri).filter(|_| is_read);
        if let Some(token) = linked.filter(|token| self.is_token(token)) {
            return Ok(Pass::SetCookie {
                cookie: format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name()),
                location: without_token(uri),
            });
        }
        let cookies =
            get(header::COOKIE).unwrap_or_default().split(';').filter_map(|cookie| cookie.trim().split_once('='));
        let mut tokens = cookies.filter(|(name, _)| *name == self.cookie_name()).map(|(_, token)| token).chain(bearer);
        if tokens.any(|token| self.is_token(token)) { Ok(Pass::Answer) } else { Err(Refusal::Token) }
    }

    /// Browsers send a cookie to all ports of a host, so that two consoles need two names.
    fn cookie_name(&self) -> String {
        format!("console-{}", self.port)
    }

    /// Compares digests, so that the time tells nothing about the token.
    fn is_token(&self, token: &str) -> bool {
        Digest::of(token.as_bytes()) == Digest::of(self.token.as_bytes())
    }
}

fn query_token(uri: &Uri) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == "token").map(|(_, token)| token.into_owned())
}

fn without_token(uri: &Uri) -> String {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut rest = form_urlencoded::Serializer::new(String::new());
    rest.extend_pairs(pairs.filter(|(name, _)| name != "token"));
    // `//host` would lead to another site.
    format!("/{}?{}", uri.path().trim_start_matches('/'), rest.finish()).trim_end_matches('?').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: (&str, &str) = ("host", "127.0.0.1:9");
    const COOKIE: (&str, &str) = ("cookie", "other=1; console-9=s3cret");
    const BEARER: (&str, &str) = ("authorization", "Bearer s3cret");
    const ORIGIN: (&str, &str) = ("origin", "http://127.0.0.1:9");

    fn check(method: &Method, uri: &str, headers: &[(&'static str, &str)]) -> Result<Pass, Refusal> {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Guard::new(9, "s3cret".to_owned()).check(method, &uri.parse().unwrap(), &headers.collect())
    }

    fn get(headers: &[(&'static str, &str)]) -> Result<Pass, Refusal> {
        check(&Method::GET, "/", headers)
    }

    fn post(headers: &[(&'static str, &str)]) -> Result<Pass, Refusal> {
        check(&Method::POST, "/send", headers)
    }

    #[test]
    fn another_host_is_refused_even_with_the_token() {
        for host in ["evil.test:9", "127.0.0.1", "127.0.0.1:10", "127.0.0.1:9.evil.test", "localhost", "[::1]:9"] {
            assert_eq!(get(&[("host", host), COOKIE]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(get(&[COOKIE]), Err(Refusal::Host));
        for host in ["127.0.0.1:9", "localhost:9"] {
            assert_eq!(get(&[("host", host), COOKIE]), Ok(Pass::Answer), "{host}");
        }
    }

    #[test]
    fn a_request_without_this_runs_token_is_refused() {
        for wrong in
            [("cookie", "console-9=s3cret2"), ("cookie", "console-8=s3cret"), ("authorization", "Bearer "), ORIGIN]
        {
            assert_eq!(get(&[OWN, wrong]), Err(Refusal::Token), "{wrong:?}");
        }
        assert_eq!(check(&Method::GET, "/?token=s3cre", &[OWN]), Err(Refusal::Token));
        assert_eq!(get(&[OWN, BEARER]), Ok(Pass::Answer));
    }

    #[test]
    fn a_write_from_another_origin_is_refused() {
        for origin in
            ["http://evil.test", "null", "http://127.0.0.1:3000", "https://127.0.0.1:9", "http://127.0.0.1:9.evil.test"]
        {
            assert_eq!(post(&[OWN, COOKIE, ("origin", origin)]), Err(Refusal::Origin), "{origin}");
            assert_eq!(post(&[OWN, BEARER, ("origin", origin)]), Err(Refusal::Origin), "{origin}");
        }
        assert_eq!(post(&[OWN, COOKIE]), Err(Refusal::Origin));
        assert_eq!(post(&[OWN, COOKIE, ORIGIN, ("sec-fetch-site", "same-site")]), Err(Refusal::Origin));
        assert_eq!(post(&[OWN, COOKIE, ORIGIN, ("sec-fetch-site", "same-origin")]), Ok(Pass::Answer));
        assert_eq!(post(&[OWN, BEARER]), Ok(Pass::Answer));
        assert_eq!(check(&Method::POST, "/send?token=s3cret", &[OWN, ORIGIN]), Err(Refusal::Token));
    }

    #[test]
    fn another_site_may_link_here_and_nothing_else() {
        let site = ("sec-fetch-site", "cross-site");
        let of = |mode, dest| get(&[OWN, COOKIE, site, ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]);
        assert_eq!(of("navigate", "document"), Ok(Pass::Answer));
        for (mode, dest) in [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")] {
            assert_eq!(of(mode, dest), Err(Refusal::Origin), "{mode}");
        }
    }

    #[test]
    fn the_link_sets_a_cookie_and_the_token_leaves_the_address() {
        let pass = |uri| match check(&Method::GET, uri, &[OWN]) {
            Ok(Pass::SetCookie { cookie, location }) => (cookie, location),
            other => panic!("{other:?}"),
        };
        let (cookie, location) = pass("/?token=s3cret");
        assert_eq!(cookie, "console-9=s3cret; Path=/; HttpOnly; SameSite=Strict");
        assert_eq!(location, "/");
        assert_eq!(pass("/?q=a%20b&token=s3cret").1, "/?q=a+b");
        assert_eq!(pass("//evil.test/?token=s3cret").1, "/evil.test/");
    }
}
