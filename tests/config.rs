//! Configuration as a whole: what a file and flags come to, and what each mistake is answered with.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use torana::config::{
    Admin, Config, Flags, GroupConfig, HostPort, Limits, MonitorLimits, PoolLimits, load, parse,
};

const SHORT: &str = "uri = \"mongodb://db1,db2,db3/?replicaSet=rs0\"\n";

fn read(text: &str) -> Config {
    parse("t.toml", text, &Flags::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn errors(text: &str) -> Vec<String> {
    errors_with(text, &Flags::default())
}

fn errors_with(text: &str, flags: &Flags) -> Vec<String> {
    let error = parse("t.toml", text, flags).expect_err("accepted");
    error.to_string().lines().map(str::to_owned).collect()
}

fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn two_sets(first: &str, second: &str) -> String {
    format!(
        "[[sets]]\nuri = \"mongodb://a1,a2,a3/?replicaSet=a\"\n{first}\n\
         [[sets]]\nuri = \"mongodb://b1,b2,b3/?replicaSet=b\"\n{second}\n"
    )
}

#[test]
fn a_connection_string_is_all_that_is_needed() {
    let flags = Flags { uri: Some("mongodb://db1,db2/?replicaSet=rs0".to_owned()), ..Flags::default() };
    let config = load(None, &flags).unwrap();
    assert_eq!(config.admin, Some(at("127.0.0.1:9216")));
    assert_eq!(config.threads, 1);
    assert_eq!(config.limits, Limits::default());
    let [set] = config.sets.as_slice() else { panic!("{config:?}") };
    assert_eq!((set.name.as_str(), set.set_name.as_deref(), set.direct), ("rs0", Some("rs0"), false));
    assert_eq!(set.seeds, [at("db1:27017"), at("db2:27017")]);
    assert_eq!((&set.pool, &set.monitor), (&PoolLimits::default(), &MonitorLimits::default()));
    let group = GroupConfig {
        name: "default".to_owned(),
        listen: at("127.0.0.1:27117"),
        ports: 50,
        advertise_host: "127.0.0.1".to_owned(),
        members: Default::default(),
    };
    assert_eq!(set.groups, [group]);
}

#[test]
fn nothing_at_all_says_what_is_needed() {
    let error = load(None, &Flags::default()).unwrap_err().to_string();
    assert!(error.contains("no replica set is named"), "{error}");
    let missing = std::path::Path::new("/nonexistent/torana.toml");
    let error = load(Some(missing), &Flags::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nonexistent/torana.toml: No such file"), "{error}");
}

#[test]
fn a_whole_file_is_read() {
    let config = read(
        r#"
        uri = "mongodb://db1,db2/?replicaSet=rs0"
        name = "orders"
        admin = "off"
        threads = 4
        [pool]
        max = 32
        min_idle = 4
        idle_timeout = "off"
        per_application = true
        [monitor]
        poll_interval = "250ms"
        [limits]
        login_timeout = "1m30s"
        request_buffer_max = "512MiB"
        [[listeners]]
        name = "inside"
        listen = "0.0.0.0:27117"
        advertise = "Mongo.Inside"
        [listeners.members."db2"]
        listen = "0.0.0.0:28000"
        advertise = "mongo-2.inside:30000"
        [[listeners]]
        name = "outside"
        listen = "0.0.0.0:27217"
        advertise = "mongo.example"
        "#,
    );
    assert_eq!((config.admin, config.threads), (None, 4));
    assert_eq!(config.limits.login_timeout, Duration::from_secs(90));
    assert_eq!(config.limits.request_buffer_max, 512 << 20);
    let set = &config.sets[0];
    assert_eq!((set.name.as_str(), set.set_name.as_deref()), ("orders", Some("rs0")));
    assert_eq!((set.pool.max, set.pool.min_idle, set.pool.idle_timeout), (32, 4, None));
    assert!(set.pool.per_application);
    assert_eq!(set.monitor.poll_interval, Duration::from_millis(250));
    let [inside, outside] = set.groups.as_slice() else { panic!("{set:?}") };
    assert_eq!((inside.ports, outside.ports), (50, 50));
    assert_eq!(inside.advertised(&at("db1:27017"), 27117), at("mongo.inside:27117"));
    assert_eq!(inside.advertised(&at("db2:27017"), 28000), at("mongo-2.inside:30000"));
    assert_eq!(inside.members[&at("db2:27017")].listen, Some(at("0.0.0.0:28000")));
    assert_eq!(outside.advertised(&at("db2:27017"), 27218), at("mongo.example:27218"));
}

#[test]
fn members_of_the_short_form_belong_to_its_only_group() {
    let own = "[members.\"DB1:27018\"]\nlisten = \"127.0.0.2:1\"\n";
    for (before, wanted) in [
        ("", "127.0.0.2:1"),
        ("advertise = \"gate\"\n", "gate:1"),
        ("[[listeners]]\nname = \"x\"\nadvertise = \"gate\"\n", "gate:1"),
    ] {
        let config = read(&format!("{SHORT}{before}{own}"));
        assert_eq!(config.sets[0].groups[0].advertised(&at("db1:27018"), 1), at(wanted), "{before}");
    }
}

#[test]
fn flags_win_over_the_connection_string_and_that_over_the_file() {
    let text = "uri = \"mongodb://db1/?maxPoolSize=20&maxIdleTimeMS=0&connectTimeoutMS=3000\"\n\
                listen = \"127.0.0.1:1000\"\nadmin = \"127.0.0.1:1\"\nthreads = 2\n\
                [pool]\nmax = 10\nwait_timeout = \"3s\"\n";
    let set = &read(text).sets[0];
    assert_eq!((set.pool.max, set.pool.idle_timeout, set.pool.wait_timeout.as_secs()), (20, None, 3));
    assert_eq!((set.pool.connect_timeout.as_secs(), set.monitor.connect_timeout.as_secs()), (3, 3));
    let flags = Flags {
        uri: Some("mongodb://other:1/".to_owned()),
        listen: Some(at("127.0.0.9:2000")),
        advertise: Some("gate".parse().unwrap()),
        admin: Some(Admin(None)),
        tags: Vec::new(),
        zookeeper: None,
        pool_max: Some(30),
        threads: Some(3),
    };
    let config = parse("t.toml", text, &flags).unwrap();
    let set = &config.sets[0];
    assert_eq!((set.seeds.as_slice(), set.pool.max), ([at("other:1")].as_slice(), 30));
    assert_eq!(
        (set.groups[0].listen.clone(), set.groups[0].advertise_host.as_str()),
        (at("127.0.0.9:2000"), "gate")
    );
    assert_eq!((config.admin, config.threads), (None, 3));
}

#[test]
fn sections_of_a_set_win_over_those_for_all() {
    let text = two_sets("listen = \"127.0.0.1:1000\"\n[sets.pool]\nmax = 7", "listen = \"127.0.0.1:2000\"")
        + "[pool]\nmax = 9\nmin_idle = 2\n";
    let pools: Vec<(usize, usize)> =
        read(&text).sets.iter().map(|set| (set.pool.max, set.pool.min_idle)).collect();
    assert_eq!(pools, [(7, 2), (9, 2)]);
}

#[test]
fn a_group_ends_where_the_next_claim_begins() {
    let text = two_sets("listen = \"127.0.0.1:9200\"", "listen = \"127.0.0.1:9206\"");
    let ports: Vec<u16> = read(&text).sets.iter().map(|set| set.groups[0].ports).collect();
    assert_eq!(ports, [6, 10], "the second ends before the admin endpoint's 9216");
    let far = two_sets("listen = \"127.0.0.1:9000\"", "listen = \"127.0.0.2:9001\"");
    assert_eq!(read(&far).sets[0].groups[0].ports, 50);
    assert_eq!(read(&format!("{SHORT}listen = \"127.0.0.1:65530\"\n")).sets[0].groups[0].ports, 6);
}

#[test]
fn a_mistake_is_named_with_its_line_and_what_may_be_meant() {
    for (text, wanted) in [
        ("lisen = \"127.0.0.1:1\"\n", "t.toml:2: unknown field `lisen`"),
        ("lisen = \"127.0.0.1:1\"\n", "; did you mean `listen`?"),
        ("[pool]\nmaxx = 5\n", "t.toml:3: unknown field `maxx`"),
        ("[pool]\nmaxx = 5\n", "did you mean `max`?"),
        (
            "[limits]\nlogin_timeout = 10\n",
            "t.toml:3: invalid type: integer `10`, expected a duration with its unit",
        ),
        ("[limits]\nlogin_timeout = \"10\"\n", "t.toml:3: \"10\" is not a duration with its unit"),
        ("[limits]\nlogin_timeout = \"off\"\n", "t.toml:3: \"off\" is not a duration with its unit"),
        (
            "[limits]\nmessage_max = \"64MB\"\n",
            "t.toml:3: limits.message_max is 64MB, which is outside 17MiB to 48MB",
        ),
        ("[pool]\nmax = 1\n", "t.toml:3: pool.max is 1, which is outside 2 to 10000"),
        ("[pool]\nmax = -1\n", "t.toml:3: invalid value: integer `-1`, expected a whole number from 0 on"),
        (
            "[capture]\nfolder = \"/c\"\ndatabases = \"app\"\n",
            "t.toml:4: invalid type: string \"app\", expected a list, such as",
        ),
        ("[pool]\nmax = 4\nmin_idle = 5\n", "t.toml:4: pool.min_idle is 5, above pool.max, which is 4"),
        (
            "[pool]\nbackoff_min = \"2s\"\n",
            "t.toml:3: pool.backoff_min is 2s, above pool.backoff_max, which is 1s",
        ),
        ("listen = \"127.0.0.1\"\n", "t.toml:2: \"127.0.0.1\" has no port: write host:port"),
        ("listen = 27017\n", "expected an address of the form \"host:port\""),
        ("listen = \"0.0.0.0:27117\"\n", "t.toml:2: 0.0.0.0 is every address of this machine"),
        ("advertise = \"gate:1\"\n", "t.toml:2: \"gate:1\" has a port: write the host alone"),
        ("threads = 0\n", "t.toml:2: threads is 0, which is outside 1 to 1024"),
        ("threads = 1\nthreads = 2\n", "t.toml:3: duplicate key"),
        ("name = \"\"\n", "name is empty"),
        ("= 5\n", "t.toml:2: "),
    ] {
        let found = errors(&format!("{SHORT}{text}"));
        assert!(found.len() == 1 && found[0].contains(wanted), "{text:?}: {found:?}, wanted {wanted:?}");
    }
}

#[test]
fn a_mistake_in_a_connection_string_is_named_with_its_line_or_as_the_argument() {
    let found = errors("threads = 1\nuri = \"mongodb://db1/?maxPoolSiz=5\"\n");
    assert_eq!(found, ["t.toml:2: option maxPoolSiz is unknown, did you mean maxPoolSize?"]);
    let found = errors("uri = \"mongodb://db1/?maxPoolSize=1\"\n");
    assert_eq!(found, ["t.toml:1: pool.max is 1, which is outside 2 to 10000"]);
    let flags = Flags { uri: Some("mongodb://db1/?tls=true".to_owned()), ..Flags::default() };
    let found = errors_with("", &flags);
    assert!(found[0].starts_with("URI: option tls is not supported yet"), "{found:?}");
    let flags = Flags { uri: Some("mongodb://db1".to_owned()), pool_max: Some(1), ..Flags::default() };
    assert_eq!(errors_with("", &flags), ["--pool-max: pool.max is 1, which is outside 2 to 10000"]);
}

#[test]
fn all_mistakes_are_named_at_once() {
    let found = errors(&format!("{SHORT}threads = 0\n[pool]\nmax = 1\n[limits]\nclients_max = 0\n"));
    let lines: Vec<&str> = found.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(lines, ["t.toml:2", "t.toml:4", "t.toml:6"]);
}

#[test]
fn two_sets_in_one_place_of_zookeeper_are_refused() {
    let section = |hosts: &str| format!("zookeeper = {{ hosts = \"{hosts}\" }}");
    let text = |first: &str, second: &str| {
        two_sets(
            &format!("listen = \"127.0.0.1:1000\"\n{}", section(first)),
            &format!("listen = \"127.0.0.1:2000\"\n{}", section(second)),
        )
    };
    let found = errors(&text("zk1,zk2/torana", "zk2:2181/torana"));
    assert!(
        found.len() == 1 && found[0].contains("\"a\" and \"b\" have one place in ZooKeeper"),
        "{found:?}"
    );
    for (first, second) in [("zk1", "zk1"), ("zk1/a", "zk1/b"), ("zk1/a", "zk2/a")] {
        assert_eq!(read(&text(first, second)).sets.len(), 2, "{first} {second}");
    }
}

#[test]
fn two_sets_with_one_name_are_refused_unless_one_is_renamed() {
    let with = |name: &str| {
        format!(
            "[[sets]]\nuri = \"mongodb://a1/?replicaSet=rs0\"\nlisten = \"127.0.0.1:1000\"\n\
             [[sets]]\nuri = \"mongodb://b1/?replicaSet=rs0\"\nlisten = \"127.0.0.1:2000\"\n{name}"
        )
    };
    assert_eq!(errors(&with("")), ["t.toml:5: two sets are called \"rs0\": give one of them another `name`"]);
    assert_eq!(read(&with("name = \"other\"\n")).sets[1].name, "other");
}

#[test]
fn ports_that_two_need_are_refused() {
    for (first, second) in [
        ("", ""),
        ("listen = \"127.0.0.1:1000\"", "listen = \"127.0.0.1:1002\""),
        ("listen = \"127.0.0.1:1002\"", "listen = \"127.0.0.1:1000\""),
        ("listen = \"127.0.0.1:1000\"", "listen = \"0.0.0.0:1001\"\nadvertise = \"gate\""),
        ("listen = \"127.0.0.1:9215\"", "listen = \"127.0.0.1:1000\""),
        (
            "listen = \"127.0.0.1:1000\"",
            "listen = \"127.0.0.1:2000\"\nmembers.b1.listen = \"127.0.0.1:1001\"",
        ),
    ] {
        let found = errors(&two_sets(first, second));
        assert!(found.len() == 1 && found[0].contains("also needs"), "{first} {second}: {found:?}");
    }
    let found = errors(&format!("{SHORT}listen = \"127.0.0.1:65534\"\n"));
    assert!(found[0].contains("above 65535"), "{found:?}");
}

#[test]
fn a_port_that_clients_would_not_find_again_is_refused() {
    let zero = "listen = \"127.0.0.1:0\"\n";
    let found = errors(&format!("{SHORT}{zero}"));
    assert_eq!(
        found,
        [
            "t.toml:2: listener group \"default\" of set \"rs0\": port 0 is any free port, which clients would not find \
          again: name one"
        ]
    );
    let found = errors(&format!("{SHORT}[members.db1]\n{zero}"));
    assert!(found[0].contains("the listener of db1:27017") && found[0].contains("port 0"), "{found:?}");
    let flags = Flags { listen: Some(at("127.0.0.1:0")), ..Flags::default() };
    assert!(errors_with(SHORT, &flags)[0].starts_with("--listen: "), "{:?}", errors_with(SHORT, &flags));
    let admin = format!("{SHORT}admin = \"127.0.0.1:0\"\n");
    assert_eq!(read(&admin).admin, Some(at("127.0.0.1:0")));
}

#[test]
fn a_members_own_port_may_lie_among_those_of_its_group_but_not_twice() {
    let own = |port| format!("members.db{port}.listen = \"127.0.0.1:{port}\"\n");
    assert_eq!(read(&format!("{SHORT}{}", own(27118))).sets[0].groups[0].ports, 50);
    let twice =
        format!("{SHORT}members.db1.listen = \"127.0.0.1:5\"\nmembers.db2.listen = \"127.0.0.1:5\"\n");
    assert!(errors(&twice)[0].contains("also needs"), "{:?}", errors(&twice));
}

#[test]
fn what_could_mean_several_is_refused() {
    let groups = "[[listeners]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\n\
                  [[listeners]]\nname = \"b\"\nlisten = \"127.0.0.1:100\"\n";
    let found = errors(&format!("{SHORT}{groups}[members.db1]\nadvertise = \"x\"\n"));
    assert!(found[0].contains("[members] does not say which listener group is meant"), "{found:?}");
    let same = groups.replace("\"b\"", "\"a\"");
    let found = errors(&format!("{SHORT}{same}"));
    assert_eq!(found, ["t.toml:6: two listener groups are called \"a\": give each its `name`"]);
    let found = errors(&format!("{SHORT}listen = \"127.0.0.1:5\"\n{groups}"));
    assert!(found[0].starts_with("t.toml:2: listen stands beside [[listeners]]"), "{found:?}");
    let sets = two_sets("listen = \"127.0.0.1:1000\"", "listen = \"127.0.0.1:2000\"");
    let found = errors(&format!("{SHORT}{sets}"));
    assert!(found[0].starts_with("t.toml:1: uri stands beside [[sets]]"), "{found:?}");
    let flags = Flags { listen: Some(at("127.0.0.1:5")), ..Flags::default() };
    assert!(errors_with(&sets, &flags)[0].starts_with("--listen: the file has 2 replica sets"));
    let found = errors_with(&format!("{SHORT}{groups}"), &flags);
    assert!(found[0].starts_with("--listen: does not say which of the file's listener groups"), "{found:?}");
}

#[test]
fn a_member_that_differs_in_nothing_or_is_named_twice_is_refused() {
    let found = errors(&format!("{SHORT}[members.db1]\n"));
    assert!(
        found[0].starts_with("t.toml:2: neither listen nor advertise is said for db1:27017"),
        "{found:?}"
    );
    let twice = "members.db1.advertise = \"x\"\nmembers.\"DB1:27017\".advertise = \"y\"\n";
    let found = errors(&format!("{SHORT}{twice}"));
    assert!(found[0].contains("db1:27017 is named twice"), "{found:?}");
}

#[test]
fn the_files_that_the_readme_shows_are_right() {
    let readme = include_str!("../README.md");
    let shown: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(shown.len() >= 2, "{shown:?}");
    for file in shown {
        read(file);
    }
}
