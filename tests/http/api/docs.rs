//! The OpenAPI document.

use std::collections::BTreeSet;

use fixtures::{TestApp, on_both};
use http::Method;

on_both! {
    every_documented_operation_is_routed,
}

async fn every_documented_operation_is_routed(app: &TestApp) {
    let document = app.get("/openapi.json", None).await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");

    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let concrete = path.replace("{id}", &uuid::Uuid::nil().to_string());
            let answer = app.call(method.to_uppercase().parse().unwrap(), &concrete, None, None).await;
            assert!(!matches!(answer.status.as_u16(), 405 | 500), "{method} {path}: {}", answer.text);
            assert_ne!(answer.json()["code"], "not_found", "{method} {path}");
            assert!(
                item[method]["responses"].as_object().unwrap().contains_key(answer.status.as_str())
                    || answer.status == 401,
                "{method} {path} answers {}",
                answer.status
            );
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }

    // Every method that a documented path allows is documented.
    for path in document["paths"].as_object().unwrap().keys() {
        let concrete = path.replace("{id}", &uuid::Uuid::nil().to_string());
        let allow = app.call(Method::TRACE, &concrete, None, None).await.expect(405);
        for method in allow.header("allow").split(',').filter(|method| *method != "HEAD") {
            assert!(documented.contains(&format!("{method} {path}")), "{method} {path}");
        }
    }
}
