use super::{PHRASE, Place};

fn add(place: &Place, email: &str, more: &[&str]) -> serde_json::Value {
    place.json(&[&["user", "add", email, "--password-file", "-"], more].concat(), PHRASE)
}

#[test]
fn an_account_is_made_changed_and_erased() {
    let place = Place::new();
    let made = add(&place, "Anna@example.org", &["--username", "anna", "--role", "admin"]);
    assert_eq!((&made["id"], &made["role"]), (&1.into(), &"admin".into()));
    let shown = |name: &str| place.json(&["user", "show", name], "");
    for name in ["1", "anna", "ANNA@example.org"] {
        assert_eq!(shown(name), made, "{name}");
    }
    assert_eq!(place.json(&["user", "set-role", "anna", "basic_user"], "")["role"], "basic_user");
    assert_eq!(place.json(&["user", "deactivate", "anna"], "")["state"], "inactive");
    assert_eq!(place.json(&["user", "activate", "anna"], "")["state"], "active");
    let file = place.path().join("password");
    std::fs::write(&file, "another fine phrase\n").unwrap();
    place.good(&["user", "set-password", "anna", "--password-file", file.to_str().unwrap()], "");
    assert_eq!(place.json(&["user", "delete", "1", "--yes"], "")["state"], "erased");
    assert_eq!(shown("1")["email"], serde_json::Value::Null);
    let again = place.bad(1, &["user", "delete", "1", "--yes"], "");
    assert_eq!(again, "gatewright: there is no such user");
}

#[test]
fn a_name_that_means_two_users_is_refused_and_can_be_made_exact() {
    let place = Place::new();
    let anna = add(&place, "anna@example.org", &["--username", "anna"]);
    let file = place.path().join("users.jsonl");
    std::fs::write(&file, "{\"email\": \"old@example.org\", \"username\": \"100\"}\n").unwrap();
    place.good(&["user", "import", file.to_str().unwrap()], "");
    std::fs::write(&file, "{\"id\": 100, \"email\": \"late@example.org\"}\n").unwrap();
    place.good(&["user", "import", file.to_str().unwrap()], "");

    let refused = place.bad(2, &["user", "show", "100"], "");
    assert!(refused.contains("more than one user") && refused.contains("`id:`"), "{refused}");
    let email = |name: &str| place.json(&["user", "show", name], "")["email"].clone();
    assert_eq!(email("number:100"), "late@example.org");
    assert_eq!(email("id:100"), "late@example.org");
    assert_eq!(email("username:100"), "old@example.org");
    assert_eq!(email(&format!("uuid:{}", anna["uuid"].as_str().unwrap())), "anna@example.org");
    assert_eq!(email(anna["uuid"].as_str().unwrap()), "anna@example.org");
    assert_eq!(email("email:anna@example.org"), "anna@example.org");
}

#[test]
fn a_list_goes_page_by_page() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        add(&place, &format!("{name}@example.org"), &[]);
    }
    let ids = |args: &[&str]| -> Vec<i64> {
        let list = place.json(&[&["user", "list"], args].concat(), "");
        list.as_array().unwrap().iter().map(|user| user["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&[]), [1, 2, 3]);
    assert_eq!(ids(&["--limit", "2"]), [1, 2]);
    assert_eq!(ids(&["--limit", "2", "--after", "2"]), [3]);
    let table = place.good(&["user", "list"], "");
    assert!(table.starts_with("ID  EMAIL") && table.lines().count() == 4, "{table}");
    let page = place.good(&["user", "list", "--limit", "2"], "");
    assert!(page.ends_with("There are more: go on with `--after 2`.\n"), "{page}");
    assert_eq!(place.good(&["user", "list", "--limit", "3"], ""), table, "there are no more");
}

#[test]
fn accounts_are_searched_and_filtered() {
    let place = Place::new();
    add(&place, "Anna@Example.org", &["--username", "anna_b", "--role", "admin"]);
    add(&place, "bob%x@example.org", &[]);
    add(&place, "carol@example.net", &["--username", "Carolä"]);
    add(&place, "gone@example.org", &[]);
    place.good(&["user", "deactivate", "3"], "");
    place.good(&["user", "delete", "4", "--yes"], "");
    let file = place.path().join("users.jsonl");
    let rows = "{\"email\": \"old@example.org\", \"created_at\": \"2020-01-01T00:00:00Z\"}\n";
    std::fs::write(&file, rows).unwrap();
    place.good(&["user", "import", file.to_str().unwrap()], "");

    let ids = |args: &[&str]| -> Vec<i64> {
        let list = place.json(&[&["user", "list"], args].concat(), "");
        list.as_array().unwrap().iter().map(|user| user["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&[]), [1, 2, 3, 5], "erased ones are not listed");
    assert_eq!(ids(&["--state", "any"]), [1, 2, 3, 4, 5]);
    assert_eq!(ids(&["--state", "erased"]), [4]);
    assert_eq!(ids(&["--state", "inactive"]), [3]);
    assert_eq!(ids(&["--state", "active"]), [1, 2, 5]);
    assert_eq!(ids(&["--role", "admin"]), [1]);
    assert_eq!(ids(&["--search", "EXAMPLE.ORG"]), [1, 2, 5]);
    assert_eq!(ids(&["--search", "%"]), [2], "no pattern");
    assert_eq!(ids(&["--search", "a_b"]), [1]);
    assert_eq!(ids(&["--search", "olÄ"]), [3]);
    assert_eq!(ids(&["--created-before", "2021-01-01"]), [5]);
    assert_eq!(ids(&["--created-from", "2021-01-01", "--search", "example"]), [1, 2, 3]);
    assert_eq!(ids(&["--without-password"]), [5]);
    assert_eq!(ids(&["--unverified", "--limit", "1", "--after", "1"]), [2]);
    place.bad(2, &["user", "list", "--role", "emperor"], "");
}
#[test]
fn failures_are_reported_in_one_sentence() {
    let place = Place::new();
    let none = place.bad(1, &["user", "list"], "");
    assert!(none.contains("there is no database at") && none.contains("gatewright serve"), "{none}");
    add(&place, "a@example.org", &["--username", "anna"]);
    let fails = |args: &[&str], input: &str| place.bad(1, args, input);
    assert_eq!(fails(&["user", "show", "nobody"], ""), "gatewright: there is no user \"nobody\"");
    let add = |email, password| fails(&["user", "add", email, "--password-file", "-"], password);
    assert!(add("b@example.org", "password123\n").contains("common passwords"));
    assert!(add("not an address", PHRASE).starts_with("gatewright: email: "));
    assert!(add("A@Example.org", PHRASE).contains("is taken"));
    assert!(add("b@example.org", "\n").contains("no password"));
    let usage = place.bad(2, &["user", "set-role", "anna", "emperor"], "");
    assert!(!usage.is_empty());
}

#[test]
fn a_client_shows_its_secret_once() {
    let place = Place::new();
    let added = place.json(&["client", "add", "api", "--name", "The \u{1b}[2J API"], "");
    let secret = added["client_secret"].as_str().unwrap();
    assert!(secret.starts_with("gwc_") && secret.len() > 40);
    let rotated = place.json(&["client", "rotate", "api"], "");
    assert_ne!(rotated["client_secret"], added["client_secret"]);
    let list = place.good(&["client", "list"], "");
    assert!(list.contains("api") && !list.contains("gwc_") && !list.contains('\u{1b}'), "{list}");
    assert!(list.starts_with("CLIENT ID") && list.contains("introspect"), "{list}");
    assert!(!list.contains("feed"), "{list}");
    let listed = place.json(&["client", "list"], "")[0].clone();
    assert_eq!(
        (&listed["client_id"], &listed["rights"]),
        (&"api".into(), &serde_json::json!(["introspect"]))
    );

    place.good(&["client", "set-rights", "api", "--allow", "feed,introspect"], "");
    assert!(place.good(&["client", "list"], "").contains("introspect, feed"));
    place.good(&["client", "set-rights", "api", "--allow", "feed"], "");
    assert!(!place.good(&["client", "list"], "").contains("introspect"));
    place.bad(2, &["client", "set-rights", "api", "--allow", "everything"], "");
    place.bad(2, &["client", "set-rights", "api"], "");
    assert!(
        place.bad(1, &["client", "set-rights", "other", "--allow", "feed"], "").contains("no such client")
    );

    assert!(place.bad(1, &["client", "add", "api", "--name", "x"], "").contains("already"));
    assert!(place.bad(2, &["client", "add", "a b", "--name", "x"], "").contains("id is"));
    place.good(&["client", "remove", "api", "--yes"], "");
    assert!(place.bad(1, &["client", "remove", "api", "--yes"], "").contains("no such client"));
}

#[test]
fn every_change_is_in_the_trail_without_its_secret() {
    let place = Place::new();
    place.good(&["user", "add", "a@example.org", "--password-file", "-"], PHRASE);
    place.good(&["client", "add", "api", "--name", "API"], "");
    place.good(&["client", "list"], "");
    place.good(&["keys", "list"], "");
    let audit = place.audit();
    for kind in ["user_registered", "client_added", "clients_listed", "keys_listed"] {
        assert!(audit.contains(&format!("\"kind\":\"{kind}\"")), "{audit}");
    }
    assert!(!audit.contains("gwc_") && !audit.contains(PHRASE.trim()) && !audit.contains("a@example.org"));
}
