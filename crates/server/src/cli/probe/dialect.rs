//! The requests of each dialect.

use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use model::Secret;
use serde_json::{Value, json};

/// The protocol of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Dialect {
    /// `/api/v1/auth` of this server; the URL is its origin, with a path in front if it has one
    Gatewright,
    /// GoTrue, as Supabase has it; the URL is that of `/token` without `/token`, such as
    /// `https://PROJECT.supabase.co/auth/v1`
    Gotrue,
    /// A token endpoint of OAuth 2.0 (RFC 6749 §6); the URL is the issuer, or the token endpoint itself
    Oauth,
}

/// A user who logs in by a password.
#[derive(Clone)]
pub(super) struct User {
    pub(super) email: String,
    pub(super) password: Secret<String>,
}

/// A client of the server, where the server knows it.
#[derive(Default)]
pub(super) struct Credentials {
    /// RFC 6749 §2.2.
    pub(super) client_id: Option<String>,
    /// RFC 6749 §2.3.1, sent in the body.
    pub(super) client_secret: Option<Secret<String>>,
    /// The scopes to ask for at a login.
    pub(super) scope: Option<String>,
    /// The header `apikey`, which Supabase's gateway asks for.
    pub(super) api_key: Option<Secret<String>>,
}

/// A server and how it is spoken to.
pub(super) struct Target {
    pub(super) dialect: Dialect,
    /// Without a slash at the end.
    pub(super) url: String,
    /// The endpoint that answers tokens.
    pub(super) token_endpoint: String,
    pub(super) credentials: Credentials,
}

/// A request that is sent by the program of this user agent.
pub(super) type Sent = Result<Request<Vec<u8>>, http::Error>;

impl Target {
    /// Where the metadata of an OAuth server may be: RFC 8414 §3.1, then OpenID Connect Discovery §4.
    pub(super) fn metadata(url: &str) -> Vec<String> {
        let after = url.find("://").map_or(0, |at| at + 3);
        let path = url.get(after..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after + at);
        let (origin, path) = url.split_at(path);
        vec![
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{url}/.well-known/openid-configuration"),
        ]
    }

    /// Logs in by a password.
    pub(super) fn login(&self, user: &User, agent: &str) -> Sent {
        let password = user.password.expose().as_str();
        match self.dialect {
            Dialect::Gatewright => {
                self.form(agent, &self.token_endpoint, &[("username", &user.email), ("password", password)])
            }
            Dialect::Gotrue => {
                let url = format!("{}?grant_type=password", self.token_endpoint);
                self.json(Method::POST, agent, &url, &json!({"email": user.email, "password": password}))
            }
            Dialect::Oauth => {
                let mut fields =
                    vec![("grant_type", "password"), ("username", &user.email), ("password", password)];
                fields.extend(self.credentials.scope.as_deref().map(|scope| ("scope", scope)));
                self.form(agent, &self.token_endpoint, &fields)
            }
        }
    }

    /// Exchanges a refresh token.
    pub(super) fn refresh(&self, token: &Secret<String>, agent: &str) -> Sent {
        let token = token.expose().as_str();
        let body = json!({"refresh_token": token});
        match self.dialect {
            Dialect::Gatewright => self.json(Method::POST, agent, &self.own("refresh"), &body),
            Dialect::Gotrue => {
                let url = format!("{}?grant_type=refresh_token", self.token_endpoint);
                self.json(Method::POST, agent, &url, &body)
            }
            Dialect::Oauth => {
                let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
                self.form(agent, &self.token_endpoint, &fields)
            }
        }
    }

    /// Reads the user with an access token, where the dialect has such a route.
    pub(super) fn user(&self, access: &Secret<String>, agent: &str) -> Option<Sent> {
        let url = match self.dialect {
            Dialect::Gatewright => self.own("me"),
            Dialect::Gotrue => format!("{}/user", self.url),
            Dialect::Oauth => return None,
        };
        let bearer = format!("Bearer {}", access.expose());
        Some(self.request(Method::GET, agent, &url).header(AUTHORIZATION, bearer).body(Vec::new()))
    }

    /// Registers a user, where the dialect can.
    pub(super) fn register(&self, user: &User, agent: &str) -> Option<Sent> {
        let password = user.password.expose().as_str();
        let (url, body) = match self.dialect {
            Dialect::Gatewright => {
                let name = user.email.split('@').next();
                let body = json!({"email": user.email, "username": name, "password": password});
                (self.own("register"), body)
            }
            Dialect::Gotrue => {
                (format!("{}/signup", self.url), json!({"email": user.email, "password": password}))
            }
            Dialect::Oauth => return None,
        };
        Some(self.json(Method::POST, agent, &url, &body))
    }

    /// Erases the user of an access token, where the dialect can.
    pub(super) fn erase(&self, user: &User, access: &Secret<String>, agent: &str) -> Option<Sent> {
        match self.dialect {
            Dialect::Gatewright => {
                let request = self.request(Method::POST, agent, &self.own("me/delete"));
                let request = request.header(AUTHORIZATION, format!("Bearer {}", access.expose()));
                let body = json!({"password": user.password.expose().as_str()});
                Some(request.header(CONTENT_TYPE, "application/json").body(body.to_string().into_bytes()))
            }
            Dialect::Gotrue | Dialect::Oauth => None,
        }
    }

    fn own(&self, name: &str) -> String {
        format!("{}/api/v1/auth/{name}", self.url)
    }

    fn request(&self, method: Method, agent: &str, url: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(url).header(USER_AGENT, agent);
        match &self.credentials.api_key {
            Some(key) => request.header("apikey", key.expose()),
            None => request,
        }
    }

    fn json(&self, method: Method, agent: &str, url: &str, body: &Value) -> Sent {
        let request = self.request(method, agent, url).header(CONTENT_TYPE, "application/json");
        request.body(body.to_string().into_bytes())
    }

    fn form(&self, agent: &str, url: &str, fields: &[(&str, &str)]) -> Sent {
        let credentials = &self.credentials;
        let id = credentials.client_id.as_deref().map(|id| ("client_id", id));
        let secret =
            credentials.client_secret.as_ref().map(|secret| ("client_secret", secret.expose().as_str()));
        let fields = fields.iter().copied().chain(id).chain(secret);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = "application/x-www-form-urlencoded";
        self.request(Method::POST, agent, url).header(CONTENT_TYPE, kind).body(body.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_issuer_follows_the_well_known_path_of_its_metadata() {
        for (url, first) in [
            ("https://a.example", "https://a.example/.well-known/oauth-authorization-server"),
            ("https://a.example/b/c", "https://a.example/.well-known/oauth-authorization-server/b/c"),
        ] {
            assert_eq!(Target::metadata(url)[0], first);
        }
        assert_eq!(
            Target::metadata("https://a.example/b")[1],
            "https://a.example/b/.well-known/openid-configuration"
        );
    }
}
