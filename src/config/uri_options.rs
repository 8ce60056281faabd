//! Every option that MongoDB's specifications know, and what torana does with it.
//!
//! Source: the "URI options" specification. A connection string for torana describes the connections from torana to
//! the servers; what an application decides for itself stays in the application's own connection string.

/// What torana does with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It acts on it.
    Used,
    /// It refuses the whole connection string, for this reason.
    Refused(&'static str),
}

use Treatment::{Refused, Used};

const TLS: Treatment = Refused(
    "is not supported yet: torana speaks plain TCP to the servers; leave it out or put a TLS tunnel between",
);
const CREDENTIALS: Treatment =
    Refused("is not supported yet: torana's own connections do not authenticate; leave it out");
const CLIENTS: Treatment = Refused(
    "belongs in the applications' connection strings: torana passes on what each client asks for; leave it out here",
);
const COMPRESSION: Treatment = Refused("is not supported yet: torana does not compress; leave it out");
const SRV: Treatment = Refused("goes with mongodb+srv, which is not supported yet; leave it out");
const PROXY: Treatment = Refused("is not supported: torana dials the servers itself; leave it out");
const LOAD_BALANCED: Treatment =
    Refused("is not supported yet: name the members of the replica set instead of a load balancer");
const SELECTION: Treatment = Refused(
    "has no meaning here: each client selects among torana's listeners with its own value; leave it out here",
);
const MONITORING: Treatment =
    Refused("has no meaning here: torana always uses a streaming and a polling monitor; leave it out");
const OLD: Treatment = Refused("is obsolete, and no current driver knows it; leave it out");

/// Names as the specification spells them, sorted without regard to case.
const OPTIONS: &[(&str, Treatment)] = &[
    ("appName", Used),
    ("authMechanism", CREDENTIALS),
    ("authMechanismProperties", CREDENTIALS),
    ("authSource", CREDENTIALS),
    ("compressors", COMPRESSION),
    ("connectTimeoutMS", Used),
    ("directConnection", Used),
    ("enableOverloadRetargeting", CLIENTS),
    ("fsync", OLD),
    ("gssapiServiceName", CREDENTIALS),
    ("heartbeatFrequencyMS", Used),
    ("j", CLIENTS),
    ("journal", CLIENTS),
    ("loadBalanced", LOAD_BALANCED),
    ("localThresholdMS", SELECTION),
    ("maxAdaptiveRetries", CLIENTS),
    ("maxConnecting", Used),
    ("maxIdleTimeMS", Used),
    ("maxPoolSize", Used),
    ("maxStalenessSeconds", CLIENTS),
    ("minPoolSize", Used),
    ("proxyHost", PROXY),
    ("proxyPassword", PROXY),
    ("proxyPort", PROXY),
    ("proxyUsername", PROXY),
    ("readConcernLevel", CLIENTS),
    ("readPreference", CLIENTS),
    ("readPreferenceTags", CLIENTS),
    ("replicaSet", Used),
    ("retryReads", CLIENTS),
    ("retryWrites", CLIENTS),
    ("safe", OLD),
    ("serverMonitoringMode", MONITORING),
    ("serverSelectionTimeoutMS", SELECTION),
    ("serverSelectionTryOnce", SELECTION),
    ("slaveOk", OLD),
    ("socketTimeoutMS", Used),
    ("srvMaxHosts", SRV),
    ("srvServiceName", SRV),
    ("ssl", TLS),
    ("sslVerify", TLS),
    ("timeoutMS", CLIENTS),
    ("tls", TLS),
    ("tlsAllowInvalidCertificates", TLS),
    ("tlsAllowInvalidHostnames", TLS),
    ("tlsCAFile", TLS),
    ("tlsCertificateKeyFile", TLS),
    ("tlsCertificateKeyFilePassword", TLS),
    ("tlsCRLFile", TLS),
    ("tlsDisableCertificateRevocationCheck", TLS),
    ("tlsDisableOCSPEndpointCheck", TLS),
    ("tlsInsecure", TLS),
    ("uuidRepresentation", CLIENTS),
    ("w", CLIENTS),
    ("waitQueueMultiple", OLD),
    ("waitQueueTimeoutMS", Used),
    ("wtimeoutMS", CLIENTS),
    ("zlibCompressionLevel", COMPRESSION),
];

/// The option called `name`, whatever the case of its letters, as the specification spells it.
pub(super) fn named(name: &str) -> Option<(&'static str, Treatment)> {
    OPTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).copied()
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_stands_there_once_in_order() {
        let lower: Vec<String> = names().map(str::to_ascii_lowercase).collect();
        assert!(lower.windows(2).all(|pair| pair[0] < pair[1]), "{lower:?}");
    }
}
