//! Reference pages, generated from the endpoints: who may call what, and the rules of input.

use std::fmt::Write as _;

use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::Value;

use crate::api::ROUTES;
use crate::endpoint::Endpoint;
use crate::problem::ProblemKind;
use crate::request::operation::Route;

/// A member of a body.
struct Member {
    name: String,
    about: String,
    required: bool,
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator()
}

/// The members of an object, or of the objects of an array.
fn members(schema: &Schema) -> Vec<Member> {
    let schema = schema.as_value();
    let object = if schema.get("items").is_some() { &schema["items"] } else { schema };
    let required = |name: &str| {
        let list = object.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|required| required == name))
    };

    let properties = object.get("properties").and_then(Value::as_object);
    let named = properties.into_iter().flatten().map(|(name, member)| Member {
        name: name.clone(),
        about: about(member),
        required: required(name),
    });
    let others = object.get("additionalProperties");
    let others = others.map(|rest| Member { name: "others".into(), about: about(rest), required: false });
    named.chain(others).collect()
}

fn about(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn names(members: &[Member]) -> String {
    let names: Vec<_> = members.iter().map(|member| format!("`{}`", member.name)).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn paths(endpoint: &Endpoint) -> String {
    let paths = endpoint.mounts.iter().map(|mount| format!("`{} {}`", endpoint.verb.as_str(), mount.path));
    paths.collect::<Vec<_>>().join(", ")
}

fn documented() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| route.endpoint.documented)
}

/// The authorization matrix: the caller of each operation, and the members that it writes and reads.
pub fn authorization() -> String {
    let mut page = String::from(
        "# Authorization\n\n\
         The caller of each operation, and the members of its request and response. A member that is not \
         listed for the request is ignored, so that `role`, `is_active` and `id` never take effect.\n\n\
         A user reads and writes only the account and the sessions of the access token, and ends the session \
         of a refresh token. The rules of `others` are in [input-rules.md](input-rules.md); those of \
         introspection are the claims of the token.\n\n\
         Pages without data (`/docs`, `/openapi.json`) and `/metrics`, on the operations listener only, take \
         no credentials.\n\n\
         | operation | routes | caller | members of the request | members of the response |\n\
         |---|---|---|---|---|\n",
    );

    for route in documented() {
        let (endpoint, mut schemas) = (route.endpoint, generator());
        let body = (route.describe_request)(&mut schemas).body;
        let written = body.map(|body| members(&body.schema)).unwrap_or_default();
        let answer = (route.describe_answer)(&mut schemas);
        let read = answer.map(|(_, schema)| members(&schema)).unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            endpoint.operation,
            paths(endpoint),
            route.caller().as_str(),
            names(&written),
            names(&read),
        );
    }
    page
}

/// The rules of input: members of bodies, fixed bounds, and the expensive operations with their defence.
pub fn input_rules() -> String {
    let mut page = String::from(
        "# Rules of input\n\nWhat a request may contain, how much of it, and what the server spends on it. \
         Bounds that an operator may set are in [configuration.md](configuration.md).\n\n## Members\n\n\
         Every member is a string unless its rule says otherwise. Wrong types and missing members are \
         answered 422, all of them at once; if there are none, broken rules are, all of them at once. \
         Introspection answers 400.\n\n\
         | operation | route | member | required | rule |\n|---|---|---|---|---|\n",
    );
    for route in documented() {
        let body = (route.describe_request)(&mut generator()).body;
        for member in body.map(|body| members(&body.schema)).unwrap_or_default() {
            let required = if member.required { "yes" } else { "no" };
            let Endpoint { operation, mounts, .. } = route.endpoint;
            let path = mounts.first().map_or("", |mount| mount.path);
            let (name, about) = (member.name, member.about);
            let _ = writeln!(page, "| {operation} | `{path}` | `{name}` | {required} | {about} |");
        }
    }

    page.push_str("\n## Fixed bounds\n\n| bound | value |\n|---|---|\n");
    for (about, value) in model::bounds::all() {
        let _ = writeln!(page, "| {about} | {} |", value.replace("..=", " to "));
    }

    page.push_str(
        "\n## Cost of operations\n\nA request holds one database connection, and only while it uses it. \
         `server.max_connections` bounds the connections and also the requests at a time (HTTP/2 has several \
         on one connection): more connections wait, more requests are answered 503 at once, \
         except for health checks. An operation that hashes a password waits in a bounded queue that is fair \
         between client addresses and accounts, with a deadline (`passwords.queue_deadline`); when the \
         predicted wait is longer, the answer is 503 at once, with `Retry-After`.\n\n\
         | operation | round trips to the database, usually | hashes a password |\n|---|---|---|\n",
    );
    for route in documented().filter(|route| route.endpoint.round_trips > 0) {
        let endpoint = route.endpoint;
        let hashes = if endpoint.problems.contains(&ProblemKind::Busy) { "yes" } else { "no" };
        let _ = writeln!(page, "| {} | {} | {hashes} |", endpoint.operation, endpoint.round_trips);
    }
    page
}
