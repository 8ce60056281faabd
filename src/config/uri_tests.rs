use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<ConnectionString, UriError> {
    ConnectionString::parse(text)
}

fn seeds_of(text: &str) -> Vec<String> {
    parse(text).unwrap().seeds.iter().map(HostPort::to_string).collect()
}

fn error_of(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn seeds_are_hosts_with_or_without_ports() {
    assert_eq!(seeds_of("mongodb://db1"), ["db1:27017"]);
    assert_eq!(seeds_of("mongodb://DB1:1,db2,10.0.0.3:3/"), ["db1:1", "db2:27017", "10.0.0.3:3"]);
    assert_eq!(seeds_of("mongodb://[::1],[fe80::1]:5/"), ["[::1]:27017", "[fe80::1]:5"]);
    assert_eq!(seeds_of("mongodb://d%62%31,db1"), ["db1:27017"]);
}

#[test]
fn options_of_the_server_hop_are_taken_whatever_their_case() {
    let parsed = parse(
        "mongodb://db1/?REPLICASET=rs%200&maxPoolSize=32&minpoolsize=4&maxConnecting=3&connectTimeoutMS=2000\
         &heartbeatFrequencyMS=5000&maxIdleTimeMS=0&waitQueueTimeoutMS=700&socketTimeoutMS=9000&appName=gate",
    )
    .unwrap();
    let ms = Duration::from_millis;
    let wanted = ConnectionString {
        seeds: parsed.seeds.clone(),
        replica_set: Some("rs 0".to_owned()),
        direct_connection: false,
        app_name: Some("gate".to_owned()),
        connect_timeout: Some(ms(2000)),
        heartbeat_frequency: Some(ms(5000)),
        max_pool_size: Some(32),
        min_pool_size: Some(4),
        max_connecting: Some(3),
        max_idle_time: Some(None),
        wait_queue_timeout: Some(ms(700)),
        socket_timeout: Some(Some(ms(9000))),
    };
    assert_eq!(parsed, wanted);
    assert!(parse("mongodb://db1?directConnection=true").unwrap().direct_connection);
}

#[test]
fn what_torana_does_not_act_on_is_refused_by_name() {
    for (text, wanted) in [
        ("mongodb+srv://cluster.example/", "mongodb+srv is not supported yet"),
        ("mongodb://db1/?tls=true", "option tls is not supported yet: torana speaks plain TCP"),
        ("mongodb://db1/?SSL=false", "option ssl is not supported yet"),
        ("mongodb://db1/?authSource=admin", "option authSource is not supported yet"),
        ("mongodb://db1/?readPreference=nearest", "option readPreference belongs in the applications'"),
        ("mongodb://db1/?localThresholdMS=15", "option localThresholdMS has no meaning here"),
        ("mongodb://db1/?compressors=zstd", "option compressors is not supported yet"),
        ("mongodb://db1/?loadBalanced=true", "option loadBalanced is not supported yet"),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock", "Unix domain sockets are not supported"),
        ("mongodb://db1/test", "a database after the slash is not supported"),
    ] {
        assert!(error_of(text).starts_with(wanted), "{text}: {}", error_of(text));
    }
}

#[test]
fn an_unknown_option_is_named_with_what_may_be_meant() {
    assert_eq!(
        error_of("mongodb://db1/?maxPoolSiz=5"),
        "option maxPoolSiz is unknown, did you mean maxPoolSize?"
    );
    assert_eq!(
        error_of("mongodb://db1/?replicasets=a"),
        "option replicasets is unknown, did you mean replicaSet?"
    );
    assert_eq!(error_of("mongodb://db1/?bananas=5"), "option bananas is unknown");
}

#[test]
fn what_the_specification_forbids_is_refused() {
    for (text, wanted) in [
        ("postgres://db1", "begin with mongodb://"),
        ("mongodb://", "names no server"),
        ("mongodb:///?w=1", "names no server"),
        ("mongodb://db1,,db2", "has no host"),
        ("mongodb://db1:0", "no port from 1"),
        ("mongodb://db1:70000", "no port from 1"),
        ("mongodb://::1", "not a host"),
        ("mongodb://d%zz", "is not percent-encoded UTF-8"),
        ("mongodb://db1/?replicaSet=%ff", "replicaSet is not percent-encoded UTF-8"),
        ("mongodb://db1/?replicaSet", "options have the form"),
        ("mongodb://db1/?=5", "options have the form"),
        ("mongodb://db1/?replicaSet=a&&appName=b", "options have the form"),
        ("mongodb://db1/?replicaSet=", "option replicaSet is \"\""),
        ("mongodb://db1/?replicaSet=a&replicaset=a", "option replicaSet is given twice"),
        ("mongodb://db1/?maxPoolSize=0", "torana's pools are finite"),
        ("mongodb://db1/?maxPoolSize=+5", "expected a number"),
        ("mongodb://db1/?waitQueueTimeoutMS=0", "waits for nothing without end"),
        ("mongodb://db1/?directConnection=yes", "expected true or false"),
        ("mongodb://db1,db2/?directConnection=true", "names 2 servers"),
    ] {
        assert!(error_of(text).contains(wanted), "{text}: {}", error_of(text));
    }
    let long = format!("mongodb://db1/?appName={}", "x".repeat(129));
    assert!(error_of(&long).contains("at most 128 bytes"));
}

#[test]
fn no_error_repeats_a_secret() {
    for text in [
        "mongodb://user:s3cret@db1/",
        "mongodb://user:s3cret/x@db1/?w=1",
        "mongodb://user:s3c%zzret@db1",
        "mongodb://user:s3c?ret@db1",
        "mongodb://db1/?tlsCertificateKeyFilePassword=s3cret",
        "mongodb://db1/?proxyPassword=s3cret",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3c"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(mongodb://)?\\PC{0,40}(\\?\\PC{0,40})?") {
        let _ = parse(&text);
    }

    #[test]
    fn seeds_are_read_back(ports in proptest::collection::vec(1_u16.., 1..5)) {
        let wanted: Vec<String> = ports.iter().enumerate().map(|(at, port)| format!("db{at}:{port}")).collect();
        prop_assert_eq!(seeds_of(&format!("mongodb://{}/", wanted.join(","))), wanted);
    }
}
