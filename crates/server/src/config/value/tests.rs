use super::*;

fn round<T: Value>(text: &str) -> String {
    T::parse(text).expect(text).text()
}

#[test]
fn durations_and_sizes_come_back_in_their_largest_unit() {
    for (text, back) in [("250ms", "250ms"), ("1000ms", "1s"), ("10 s", "10s"), ("90d", "90d"), ("0s", "0s")]
    {
        assert_eq!(round::<Duration>(text), back);
    }
    for (text, back) in [("64KiB", "64KiB"), ("19 mib", "19MiB"), ("1kB", "1000B"), ("0B", "0B")] {
        assert_eq!(round::<ByteSize>(text), back);
    }
}

#[test]
fn durations_and_sizes_without_unit_or_number_are_refused_with_the_reason() {
    assert_eq!(Duration::parse("10").unwrap_err(), "the unit is missing: `10s`?");
    assert_eq!(Duration::parse("10 weeks").unwrap_err(), "`weeks` is not a unit of time");
    assert!(Duration::parse("-1s").is_err() && Duration::parse("").is_err());
    assert!(
        Duration::parse("99999999999999999999d").is_err()
            && Duration::parse("18446744073709551615d").is_err()
    );
    assert_eq!(ByteSize::parse("64").unwrap_err(), "the unit is missing: `64KiB`?");
    assert!(ByteSize::parse("18446744073709551615GiB").is_err());
}

#[test]
fn lists_come_from_commas_or_arrays_and_networks_from_addresses() {
    assert_eq!(round::<Vec<IpNet>>("10.1.2.3/8, ::1,"), "10.0.0.0/8,::1/128");
    assert_eq!(round::<IpNet>("::ffff:10.0.0.1"), "10.0.0.1/32", "an IPv4 address in IPv6 is IPv4");
    for bad in ["", "10.0.0.0/33", "proxy.example"] {
        assert!(IpNet::parse(bad).is_err(), "{bad}");
    }
    let list = RawValue::List(vec!["192.0.2.7".to_owned()]);
    assert_eq!(Vec::<IpNet>::read(&list).unwrap().text(), "192.0.2.7/32");
    assert!(Vec::<IpNet>::parse("").unwrap().is_empty());
    assert!(IpNet::read(&list).is_err(), "a list where one value is expected");
}

#[test]
fn scopes_of_roles_read_from_text() {
    let scopes = RoleScopes::parse("admin=users:read users:write, basic_user=").unwrap();
    assert_eq!(scopes.toml(), r#"{ "admin" = ["users:read", "users:write"], "basic_user" = [] }"#);
    assert_eq!(RoleScopes::parse(&scopes.text()).unwrap(), scopes);
    assert!(RoleScopes::parse("admin").is_err() && RoleScopes::parse("admin=a\\b").is_err());
}

#[test]
fn an_address_without_a_host_gets_a_hint() {
    assert!(SocketAddr::parse(":8080").unwrap_err().contains("0.0.0.0:8080"));
    assert!(SocketAddr::parse("localhost:8080").unwrap_err().contains("127.0.0.1"));
}
