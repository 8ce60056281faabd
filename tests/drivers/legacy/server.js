// What names the members and the server: isMaster, status, configuration, operations, counters.
'use strict';
const { call, forget } = require('./harness');

const COMMENT = 'torana-drivers';
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

function roleOf(one) {
  if (!one) return 'Unknown';
  if (one.ismaster) return 'RSPrimary';
  return one.secondary ? 'RSSecondary' : 'Other';
}

// What discovery ends with: waits for every member of the set to be known by its role.
async function topology(c) {
  const { hosts, setName } = await c.admin({ isMaster: 1 }).then((reply) => reply.documents[0]);
  const { _state: state } = c.db.serverConfig;
  let members = {};
  for (let i = 0; state && i < 300; i += 1) {
    members = Object.fromEntries(Object.entries(state.addresses || {}).map(([address, one]) => [address, roleOf(one.isMasterDoc)]));
    if (hosts.every((one) => members[one] && members[one] !== 'Unknown')) break;
    await pause(20);
  }
  forget();
  return { set: setName, members, count: Object.keys(members).length };
}

// The reply of an admin command, with the header of its OP_REPLY among the step's events.
const admin = (command) => (c) => c.admin(command).then((reply) => reply.documents[0]);

module.exports = {
  first: {
    topology, is_master: admin({ isMaster: 1 }), hello: admin({ hello: 1 }), ping: admin({ ping: 1 }), build_info: admin({ buildInfo: 1 }), whatsmyuri: admin({ whatsmyuri: 1 }),
  },
  last: {
    repl_set_get_status: admin({ replSetGetStatus: 1 }), repl_set_get_config: admin({ replSetGetConfig: 1 }),
    system_replset: (c) => call((done) => c.db.db('local').collection('system.replset').find().toArray(done)), server_status: admin({ serverStatus: 1 }),
    current_op: admin({ currentOp: true, comment: COMMENT }), host_info: admin({ hostInfo: 1 }),
    db_stats: (c) => call((done) => c.db.command({ dbStats: 1 }, done)), coll_stats: (c) => call((done) => c.db.command({ collStats: 'crud' }, done)),
    own_database: (c) => c.admin({ listDatabases: 1, nameOnly: true, filter: { name: c.name } }).then((reply) => reply.documents[0]),
  },
};
