//! Prompts, on a real terminal.

use testkit::Terminal;
use testkit::process::{Server, gatewright};

use super::{PHRASE, Place};

const ADD: &str = "\"$0\" user add anna@example.org";

fn at_the_prompt(place: &Place, script: &str) -> Terminal {
    let mut terminal = Terminal::run(&gatewright(), script, place.path());
    terminal.wait_for("New password");
    terminal.wait_for_echo(false);
    terminal
}

#[test]
fn a_password_is_typed_twice_and_not_shown() {
    let place = Place::new();
    let mut terminal = at_the_prompt(&place, ADD);
    terminal.type_keys(PHRASE);
    terminal.wait_for("Repeat");
    terminal.wait_for_echo(false);
    terminal.type_keys(PHRASE);
    assert!(terminal.wait().success(), "{}", terminal.text());
    assert!(terminal.echoes() && !terminal.text().contains(PHRASE.trim()), "{}", terminal.text());
}

#[test]
fn a_signal_at_a_prompt_leaves_the_terminal_as_it_was_and_nothing_behind() {
    for (keys, status) in [("\x03", 130), ("\x1c", 131)] {
        let place = Place::new();
        let mut terminal = at_the_prompt(&place, ADD);
        terminal.type_keys(keys);
        assert_eq!(terminal.wait().code(), Some(status), "{}", terminal.text());
        assert!(terminal.echoes(), "{keys:?}");
        assert!(!place.path().join("gatewright-data").exists());
    }
    for (signal, status) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let place = Place::new();
        let mut terminal = at_the_prompt(&place, &format!("{ADD} & echo $! > pid; fg > job"));
        let kill = format!("kill -{signal} \"$(cat pid)\"");
        assert!(Server::builder("sh").args(["-c", &kill]).folder(place.path()).run("").status.success());
        assert_eq!(terminal.wait().code(), Some(status), "{}", terminal.text());
        assert!(terminal.echoes(), "{signal}");
    }
}

#[test]
fn a_stopped_command_gives_the_echo_back_and_takes_it_again() {
    let place = Place::new();
    let mut terminal = at_the_prompt(&place, &format!("{ADD}; echo stopped; read line; fg > job"));
    terminal.type_keys("\x1a");
    terminal.wait_for("stopped");
    assert!(terminal.echoes());

    terminal.type_keys("\n");
    terminal.wait_for_echo(false);
    terminal.type_keys("\x03");
    assert_eq!(terminal.wait().code(), Some(130), "{}", terminal.text());
    assert!(terminal.echoes());
}

#[test]
fn a_prompt_of_a_command_that_no_shell_could_continue_is_not_stopped() {
    let place = Place::new();
    let mut terminal = at_the_prompt(&place, "exec \"$0\" user add anna@example.org");
    terminal.type_keys("\x1a\x03");
    assert_eq!(terminal.wait().code(), Some(130), "{}", terminal.text());
}

#[test]
fn arguments_are_checked_before_anything_is_asked() {
    let place = Place::new();
    let refused = |args: &str, why: &str| {
        let mut terminal = Terminal::run(&gatewright(), &format!("\"$0\" {args}"), place.path());
        assert!(!terminal.wait().success());
        terminal.wait_for(why);
        let text = terminal.text();
        assert!(!text.contains("password of") && !text.contains("Type `yes`"), "{args}: {text}");
    };
    refused("user add notanemail", "email: an email address has one @");
    refused("user add a@example.org --username 'a b'", "username: ");
    refused("user set-password anna", "there is no database");
    refused("client remove 'a b'", "id is");
    refused("keys rotate --compromised", "there is no database");
    assert!(!place.path().join("gatewright-data").exists());

    place.good(&["user", "add", "anna@example.org", "--username", "anna", "--password-file", "-"], PHRASE);
    place.good(&["user", "add", "b@example.org", "--password-file", "-"], PHRASE);
    place.good(&["user", "delete", "b@example.org", "--yes"], "");
    refused("user add Anna@example.org", "the email is taken");
    refused("user add c@example.org --username anna", "the username is taken");
    refused("user set-password absent", "there is no user");
    refused("user set-password 2", "there is no such user");
    refused("user delete 2", "there is no such user");
    refused("user delete absent", "there is no user");
    refused("client remove api", "no such client");
}
