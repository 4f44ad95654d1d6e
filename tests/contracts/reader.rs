//! The reader of OpenAPI files, shown to find what it is there to find: each kind of mistake, once.

use std::collections::BTreeMap;

use runbook::drill::{Answering, Asking};
use serde_json::json;

use crate::openapi::{Contract, Declared};

fn contract() -> Contract {
    let document = json!({
        "openapi": "3.0.3",
        "servers": [{ "url": "https://api.example.com/v1" }],
        "paths": {
            "/things/{id}": {
                "patch": {
                    "parameters": [
                        { "name": "id", "in": "path", "required": true, "schema": { "type": "string", "pattern": "^t_" } },
                        { "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 10 } },
                        { "name": "kind", "in": "query", "required": true, "schema": { "type": "array", "items": { "enum": ["a", "b"] } } },
                        { "name": "idempotency-key", "in": "header", "schema": { "type": "string", "minLength": 3 } },
                    ],
                    "requestBody": { "required": true, "content": { "application/json": { "schema": {
                        "type": "object", "additionalProperties": false, "required": ["name"],
                        "properties": { "name": { "type": "string" }, "at": { "type": "string", "format": "date-time" } },
                    } } } },
                    "responses": {
                        "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } } },
                        "204": { "description": "" },
                    },
                },
            },
            "/things/count": { "get": { "responses": { "200": { "description": "" } } } },
        },
        "components": { "schemas": { "Thing": {
            "type": "object", "required": ["id", "owner", "state"],
            "properties": {
                "id": { "type": "string" },
                "owner": { "type": "string", "nullable": true },
                "state": { "type": "string", "enum": ["on", "off"], "nullable": true },
                "parent": { "allOf": [{ "$ref": "#/components/schemas/Thing" }], "nullable": true },
                "size": { "anyOf": [{ "type": "integer" }, { "type": "object", "required": ["w"] }] },
            },
        } } },
    });
    Contract::read("example", &document.to_string())
}

/// What is wrong with a request; `None` when there is no such operation.
fn wrong(method: &str, path: &str, query: &[(&str, &str)], header: Option<&str>, body: &str) -> Option<Vec<String>> {
    let mut headers = BTreeMap::from([("content-type".to_owned(), "application/json; charset=utf-8".to_owned())]);
    headers.extend(header.map(|value| ("idempotency-key".to_owned(), value.to_owned())));
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = Asking { method: method.to_owned(), path: path.to_owned(), query, headers, body: body.to_owned() };
    let contract = contract();
    let operation = contract.operation(method, path)?;
    Some(contract.wrong_with_request(operation, &request))
}

#[test]
fn a_good_request_has_nothing_wrong_with_it() {
    let body = json!({ "name": "x", "at": "2026-11-23T03:00:00Z" }).to_string();
    for query in [&[("kind", "a")][..], &[("kind", "a"), ("kind", "b"), ("limit", "10")]] {
        assert_eq!(wrong("PATCH", "/v1/things/t_1", query, Some("abc"), &body), Some(Vec::new()), "{query:?}");
    }
    assert_eq!(wrong("GET", "/v1/things/count", &[], None, ""), Some(Vec::new()), "before `/things/{{id}}`");
}

#[test]
fn each_mistake_in_a_request_is_told() {
    let good = r#"{"name":"x"}"#;
    let kind: &[(&str, &str)] = &[("kind", "a")];
    for (path, query, header, body, words) in [
        ("/v1/things/x", kind, None, good, "the path parameter `id` cannot be"),
        ("/v1/things/t_%2", kind, None, good, ""),
        ("/v1/things/t_1", &[][..], None, good, "the query parameter `kind` is missing"),
        ("/v1/things/t_1", &[("kind", "c")], None, good, "the query parameter `kind` cannot be [\"c\"]"),
        ("/v1/things/t_1", &[("kind", "a"), ("limit", "11")], None, good, "`limit` cannot be"),
        ("/v1/things/t_1", &[("kind", "a"), ("limit", "ten")], None, good, "`limit` cannot be"),
        ("/v1/things/t_1", &[("kind", "a"), ("limits", "1")], None, good, "there is no query parameter `limits`"),
        ("/v1/things/t_1", kind, Some("ab"), good, "the header parameter `idempotency-key` cannot be"),
        ("/v1/things/t_1", kind, None, "", "the body is missing"),
        ("/v1/things/t_1", kind, None, "{", "it is no JSON"),
        ("/v1/things/t_1", kind, None, "{}", "\"name\" is a required property"),
        ("/v1/things/t_1", kind, None, r#"{"name":7}"#, "`/name`: 7 is not of type \"string\""),
        ("/v1/things/t_1", kind, None, r#"{"name":"x","nmae":1}"#, "'nmae' was unexpected"),
        ("/v1/things/t_1", kind, None, r#"{"name":"x","at":"yesterday"}"#, "is not a \"date-time\""),
    ] {
        let found = wrong("PATCH", path, query, header, body).unwrap();
        if words.is_empty() {
            assert_eq!(found, [""; 0]);
        } else {
            assert!(found.len() == 1 && found[0].contains(words), "{path} {query:?} {body}: {found:?}");
        }
    }
    assert_eq!(wrong("PUT", "/v1/things/t_1", kind, None, good), None, "no such method");
    assert_eq!(wrong("PATCH", "/things/t_1", kind, None, good), None, "outside the server's path");
    assert_eq!(wrong("GET", "/v1/things/count", &[], None, "{}"), Some(vec!["there is no body: {}".to_owned()]));
}

#[test]
fn each_mistake_in_an_answer_is_told() {
    let contract = contract();
    let operation = contract.operation("PATCH", "/v1/things/t_1").unwrap();
    let found = |status: u16, kind: &str, body: &str| {
        let (content_type, headers) = (format!("{kind}; charset=utf-8"), BTreeMap::new());
        contract.wrong_with_answer(operation, &Answering { status, content_type, headers, body: body.to_owned() })
    };
    let json = "application/json";
    for good in [
        r#"{"id":"t_1","owner":null,"state":null,"parent":null,"more":1}"#,
        r#"{"id":"t_1","owner":"x","state":"on","parent":{"id":"t_2","owner":"y","state":"off"},"size":{"w":1}}"#,
    ] {
        assert_eq!(found(200, json, good), (Declared::Fits, Vec::new()), "{good}");
    }
    assert_eq!(found(204, json, ""), (Declared::Fits, Vec::new()));
    assert_eq!(found(201, json, "{}").0, Declared::Undeclared);
    for (status, kind, body, words) in [
        (200, json, r#"{"owner":null,"state":"on"}"#, "\"id\" is a required property"),
        (200, json, r#"{"id":null,"owner":null,"state":"on"}"#, "null is not of type \"string\""),
        (200, json, r#"{"id":"t_1","owner":null,"state":"maybe"}"#, "\"maybe\" is not one of"),
        (200, json, r#"{"id":"t_1","owner":null,"state":"on","parent":{"id":"t_2"}}"#, "required property"),
        (200, json, r#"{"id":"t_1","owner":null,"state":"on","size":{"h":1}}"#, "fits none of the forms"),
        (200, json, "<html>", "it is no JSON"),
        (200, "text/html", "<html>", "cannot be `text/html`"),
        (204, json, "{}", "has no body"),
    ] {
        let (_, wrong) = found(status, kind, body);
        assert!(wrong.iter().any(|one| one.contains(words)), "{body}: {wrong:?}");
    }
}
