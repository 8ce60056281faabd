use proptest::prelude::*;

use super::*;

fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn map(span: u16) -> PortMap {
    let listen = at("127.0.0.1:27117");
    PortMap::new(PortOptions { listen, advertise: "Gate".into(), span, overrides: HashMap::new() })
}

fn members(all: &[(&str, i64)]) -> Vec<(HostPort, Option<i64>)> {
    all.iter().map(|(host, id)| (at(host), Some(*id))).collect()
}

fn ports(map: &PortMap) -> Vec<u16> {
    map.assignments().iter().map(|assignment| assignment.listen.port()).collect()
}

#[test]
fn ports_are_consecutive_in_the_order_of_the_configuration() {
    let mut map = map(50);
    map.update(&members(&[("c:1", 2), ("A:1", 0), ("b:1", 1)])).unwrap();
    assert_eq!(ports(&map), [27117, 27118, 27119]);
    assert_eq!(map.names().to_client("a:1"), Some("gate:27118"));
    assert_eq!(map.names().to_server("GATE:27118"), Some("A:1"));
}

#[test]
fn who_stays_keeps_its_port_and_who_is_new_gets_one_that_nobody_had() {
    let mut map = map(50);
    map.update(&members(&[("a:1", 0), ("b:1", 1), ("c:1", 2)])).unwrap();
    map.update(&members(&[("d:1", 3), ("a:1", 0), ("c:1", 2)])).unwrap();
    assert_eq!(ports(&map), [27120, 27117, 27119]);
    map.update(&members(&[("a:1", 0), ("b:1", 4), ("c:1", 2), ("d:1", 3)])).unwrap();
    assert_eq!(ports(&map), [27117, 27118, 27119, 27120]);
}

#[test]
fn a_renamed_member_keeps_its_port() {
    let mut map = map(50);
    map.update(&members(&[("a:1", 0), ("b:1", 1)])).unwrap();
    map.update(&members(&[("a:1", 0), ("new:1", 1)])).unwrap();
    assert_eq!(ports(&map), [27117, 27118]);
    assert_eq!(map.names().to_client("b:1"), None);
}

#[test]
fn two_members_that_swap_ids_swap_no_ports() {
    let mut map = map(50);
    map.update(&members(&[("a:1", 0), ("b:1", 1)])).unwrap();
    map.update(&members(&[("a:1", 1), ("b:1", 0)])).unwrap();
    assert_eq!(ports(&map), [27117, 27118]);
}

#[test]
fn a_removed_members_port_is_reused_only_when_no_other_is_left_the_longest_gone_first() {
    let mut map = map(4);
    map.update(&members(&[("a:1", 0), ("b:1", 1), ("c:1", 2)])).unwrap();
    map.update(&members(&[("a:1", 0), ("c:1", 2)])).unwrap();
    map.update(&members(&[("c:1", 2)])).unwrap();
    map.update(&members(&[("c:1", 2), ("d:1", 3)])).unwrap();
    assert_eq!(ports(&map), [27119, 27120]);
    map.update(&members(&[("c:1", 2), ("d:1", 3), ("e:1", 4)])).unwrap();
    assert_eq!(ports(&map), [27119, 27120, 27118]);
}

#[test]
fn a_set_that_is_larger_than_the_range_is_an_error_that_names_who_is_left_out() {
    let mut map = map(1);
    let error = map.update(&members(&[("a:1", 0), ("b:1", 1)])).unwrap_err();
    assert!(error.to_string().contains("b:1"), "{error}");
    assert_eq!(ports(&map), [27117]);
}

#[test]
fn what_the_operator_placed_takes_no_port_of_the_range() {
    let mut map = map(50);
    let fixed = PortOverride { listen: Some(at("127.0.0.1:27118")), advertise: None };
    map.options.overrides.insert(at("b:1"), fixed);
    let named = PortOverride { listen: None, advertise: Some(at("c.example:1")) };
    map.options.overrides.insert(at("c:1"), named);
    map.update(&members(&[("a:1", 0), ("b:1", 1), ("c:1", 2)])).unwrap();
    assert_eq!(ports(&map), [27117, 27118, 27119]);
    assert_eq!(map.names().to_client("b:1"), Some("gate:27118"));
    assert_eq!(map.names().to_client("c:1"), Some("c.example:1"));
}

proptest! {
    #[test]
    fn through_any_changes_ports_are_unique_and_members_that_stay_keep_theirs(
        steps in proptest::collection::vec(proptest::collection::btree_map(0u8..12, 0i64..12, 1..8), 1..40)
    ) {
        let mut map = map(9);
        let mut before: HashMap<HostPort, u16> = HashMap::new();
        for step in steps {
            let mut seen = std::collections::HashSet::new();
            let all: Vec<_> = step.iter().filter(|(_, id)| seen.insert(**id))
                .map(|(host, id)| (at(&format!("h{host}:1")), Some(*id))).collect();
            map.update(&all).unwrap();
            let now: HashMap<HostPort, u16> =
                map.assignments().iter().map(|a| (a.member.clone(), a.listen.port())).collect();
            prop_assert_eq!(now.len(), all.len());
            let distinct: std::collections::HashSet<u16> = now.values().copied().collect();
            prop_assert_eq!(distinct.len(), now.len());
            for (member, port) in &now {
                prop_assert!(before.get(member).is_none_or(|old| old == port), "{member} moved");
            }
            before = now;
        }
    }
}
