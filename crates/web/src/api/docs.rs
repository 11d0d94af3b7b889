//! The API documentation, embedded in the binary.

use bytes::Bytes;
use http::header;

use super::page::Page;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::Problem;
use crate::request::context::{Document, Nothing};
use crate::request::operation::Operation;

const PAGE: &str = include_str!("../docs/page.html");
const SCRIPT: &str = include_str!("../docs/page.js");
const STYLE: &str = include_str!("../docs/page.css");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const fn about(operation: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Verb::Get, Group::About, operation, summary).undocumented()
}

/// The page, whose links begin with the path of the public URL.
pub(crate) fn page_under(public_path: &str) -> String {
    let path = public_path.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    PAGE.replace("=\"/", &format!("=\"{path}/"))
}

fn page(media_type: &'static str, body: Bytes) -> Page {
    let headers = vec![(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "public, max-age=300")];
    Page { headers, body }
}

/// The OpenAPI document.
pub(crate) struct OpenApi;

impl Operation for OpenApi {
    const ENDPOINT: Endpoint =
        about("openapi", "The OpenAPI document.").at(&[Mount::public("/openapi.json")]);

    type Context = Document;
    type Answer = Page;

    async fn handle(document: Document) -> Result<Page, Problem> {
        Ok(page("application/json", document.openapi))
    }
}

/// The page that shows the OpenAPI document.
pub(crate) struct DocsPage;

impl Operation for DocsPage {
    const ENDPOINT: Endpoint = about("docs", "The documentation of the API.").at(&[Mount::public("/docs")]);

    type Context = Document;
    type Answer = Page;

    async fn handle(document: Document) -> Result<Page, Problem> {
        let mut page = page("text/html; charset=utf-8", document.page);
        page.headers.push((header::CONTENT_SECURITY_POLICY, POLICY));
        Ok(page)
    }
}

/// The script of the page.
pub(crate) struct Script;

impl Operation for Script {
    const ENDPOINT: Endpoint =
        about("docs_script", "The script of the page.").at(&[Mount::public("/docs/page.js")]);

    type Context = Nothing;
    type Answer = Page;

    async fn handle(_: Nothing) -> Result<Page, Problem> {
        Ok(page("text/javascript; charset=utf-8", Bytes::from_static(SCRIPT.as_bytes())))
    }
}

/// The style sheet of the page.
pub(crate) struct Style;

impl Operation for Style {
    const ENDPOINT: Endpoint =
        about("docs_style", "The style sheet of the page.").at(&[Mount::public("/docs/page.css")]);

    type Context = Nothing;
    type Answer = Page;

    async fn handle(_: Nothing) -> Result<Page, Problem> {
        Ok(page("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes())))
    }
}
